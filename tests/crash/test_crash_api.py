# SPDX-License-Identifier: GPL-2.0-or-later
"""`ft.crash`: what it refuses, and what it returns."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

import freezingtime as ft

DISK = "constant:10us,size=64MiB,mount=/data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"disks": ()}, "disk: none is given"),
        ({"save": "later"}, "save='later': is not for power cuts; leave it out"),
        ({"collect": ("*.log",)}, "collect=('*.log',): is not for power cuts; leave it out"),
        ({"depth": 3}, "depth 3: must be one of: 1, 2"),
        ({"states": 0}, "states 0: must be at least 1"),
        ({"points": "some"}, "points some: no such points"),
        ({"values": ["zeros"]}, "values zeros: no such value"),
        ({"chek": "true"}, "check"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ft.InputError, TypeError)) as refused:
        ft.crash(**{"disks": [DISK], "job": "true", "out": tmp_path / "out", **arguments})
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_directory_is_no_check(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    with pytest.raises(ft.InputError, match="is a directory; name a script"):
        ft.crash(disks=[DISK], job="true", check=tmp_path)


@pytest.mark.guest
@pytest.mark.slow
def test_a_result_has_its_failures(tmp_path: Path) -> None:
    result = ft.crash(
        disks=[ft.Disk("constant:10us", size="64MiB", mount="/data")],
        job="cd /data; echo paid >order; echo ACK order; sync",
        points="after=ACK order",
        states=1,
        progress=False,
    )
    assert not result.passed
    (failure,) = result.failures
    assert failure.reason == "the check exited with 1: lost after it was acknowledged: order"
    assert all(Path(image).stat().st_size == 64 << 20 for image in failure.images)
    assert (result.summary.run, result.summary.failed, result.recoveries) == (1, 1, None)
    path = result.path
    assert repr(result) == f"<CrashResult {path}: 1 state at 1 point, 1 failed>"
    del result, failure
    gc.collect()
    assert not path.exists()
