# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run under the KVM clock says of itself: of its job, not of the boot before."""

from __future__ import annotations

from collections import Counter

import pytest

from freezingtime.clock.base import KvmAccount
from freezingtime.emulator.loop import Totals
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.result import RunResult
from freezingtime.vm.job import JobResult

AT_START = KvmAccount(7, 70_000, 6_000_000, 30, 500, 60, 3598, 3480, 1_000_000, 1)
AT_END = KvmAccount(10, 90_000, 6_000_100, 37, 2_500, 90, 3598, 3480, 1_000_000, 1)


def totals(kvm: KvmAccount | None, warped_ns: int, **more: object) -> Totals:
    return Totals(kvm=kvm, warped_ns=warped_ns, **more)  # type: ignore[arg-type]


def test_the_boot_is_not_counted() -> None:
    of_job = totals(AT_END, 900, request_count=4).since(totals(AT_START, 200))
    assert of_job.kvm == KvmAccount(3, 20_000, 100, 7, 2_000, 30, 3598, 3480, 1_000_000, 1)
    assert (of_job.warped_ns, of_job.request_count) == (700, 4)
    assert totals(None, 900).since(totals(None, 200)) == totals(None, 700)


@pytest.mark.parametrize(
    ("lateness", "p50_ns", "p99_ns"),
    [
        ({}, 0, 0),
        ({0: 1}, 0, 0),
        ({14: 99, 3_000: 1}, 14, 14),
        ({3_000: 2, 14: 98}, 14, 3_000),
        ({5: 1, 7: 1, 9: 1}, 7, 9),
    ],
)
def test_percentiles_of_lateness(lateness: dict[int, int], p50_ns: int, p99_ns: int) -> None:
    job = JobResult(0, 0, 0, 0, 0.0, Totals(lateness=Counter(lateness)), ())
    result = RunResult(RunPlan([], b""), job, 0.0, None, "", "", 0)  # type: ignore[arg-type]
    assert result.late_percentile_ns(50_000) == p50_ns
    assert result.late_percentile_ns(99_000) == p99_ns
