# SPDX-License-Identifier: GPL-2.0-or-later
"""Costs of a sweep: results read back, and points on two processes against one.

``python bench/sweep.py`` prints a table; all results go to a temporary store.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from freezingtime.explore.sweep.points import make_points
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.sweep import (
    Sweep,
    SweepObserver,
    SweepOptions,
    new_sweep,
    run_sweep,
)
from freezingtime.explore.sweep.values import parse_set
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions
from freezingtime.store.results.result_store import ResultStore

CACHED_POINTS = 1000
REPLAYS = 200
RUNS = 40
JOB = Command(line="dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct")
LINE = "randrw,bs=4k,qd=8,count=200k"
DEVICE = "samsung-870-evo-1tb"


def replays(line: str, device: str) -> ReplayRequest:
    return ReplayRequest([device], line, None, ReplayOptions())


def timed(
    request: SweepRequest, count: int, store: ResultStore, workers: int
) -> tuple[float, Sweep]:
    """Host time in s of a sweep over as many seeds, and its outcomes."""
    sweep = new_sweep(make_points([parse_set(f"seed=range({count})")]))
    start_s = time.monotonic()
    run_sweep(sweep, request, SweepOptions(store=store, workers=workers), SweepObserver())
    spent_s = time.monotonic() - start_s
    if sweep.has_failed:
        raise SystemExit(next(o.reason for o in sweep.outcomes if o.reason))
    return spent_s, sweep


def bench_cache(scratch: Path) -> None:
    request = replays("randread,count=100", "constant:10us")
    store = ResultStore(scratch / "cached")
    timed(request, CACHED_POINTS, store, 1)
    spent_s, sweep = timed(request, CACHED_POINTS, store, 1)
    if sweep.progress.cached != CACHED_POINTS:
        raise SystemExit("not all results were read back")
    print(f"{CACHED_POINTS} results read back: {spent_s:.2f} s")


def bench_scaling(scratch: Path, what: str, request: SweepRequest, count: int) -> None:
    timed(request, 2, ResultStore(scratch / f"warm {what}"), 1)  # compiles, boots, fills caches
    spent_s = {
        workers: timed(request, count, ResultStore(scratch / f"{workers} {what}"), workers)[0]
        for workers in (1, 2)
    }
    share = spent_s[2] / (spent_s[1] / 2)
    print(
        f"{count} {what}: {spent_s[1]:.1f} s with one worker, {spent_s[2]:.1f} s with two, "
        f"{share:.2f} times half of it"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="freezingtime-bench-") as place:
        scratch = Path(place)
        bench_cache(scratch)
        bench_scaling(scratch, "replays", replays(LINE, DEVICE), REPLAYS)
        runs = RunRequest(RunOptions(disks=["constant:10us"]), JOB)
        bench_scaling(scratch, "runs in a guest", runs, RUNS)


if __name__ == "__main__":
    main()
