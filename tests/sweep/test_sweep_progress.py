# SPDX-License-Identifier: GPL-2.0-or-later
"""The line of a sweep that is under way: what is done, running, found, failed, and left."""

from __future__ import annotations

import pytest

from freezingtime.explore.sweep import sweep as sweep_module
from freezingtime.explore.sweep.sweep import SweepProgress
from freezingtime.explore.sweep.worker import Status


def test_the_line_counts_what_is_done_and_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(sweep_module.time, "monotonic", lambda: now_s)
    progress = SweepProgress(10, workers=2, to_execute=8, cached=2, to_verify=1, start_s=now_s)
    progress.counts[Status.OK] = 2
    assert str(progress) == "2 of 10 points, 2 running, 2 from the store, 0 of 1 verified"
    now_s = 110.0
    for status in (Status.OK, Status.FAILED, Status.ERROR, Status.OK):
        progress.counts[status] += 1
        progress.count_executed()
    assert progress.left_host_s == 10.0
    assert str(progress) == (
        "6 of 10 points, 2 running, 2 from the store, 0 of 1 verified, 2 failed, about 10 s left"
    )
    now_s = 114.0  # nothing has ended since: what is left is less, not more
    assert progress.left_host_s == 6.0
    now_s = 200.0
    assert progress.left_host_s == 0.0
    progress.counts[Status.OK] += 4
    for _ in range(4):
        progress.count_executed()
    assert str(progress) == (
        "10 of 10 points, 0 running, 2 from the store, 0 of 1 verified, 2 failed"
    )
