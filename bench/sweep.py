# SPDX-License-Identifier: GPL-2.0-or-later
"""Costs of a sweep: results read back, and points on two processes against one.

``python bench/sweep.py`` prints a table; all results go to a temporary store.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from freezingtime.explore.sweep.points import make_points
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.sweep import (
    Sweep,
    SweepObserver,
    SweepOptions,
    SweepProgress,
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
WORKERS_MAX = 2
JOB = Command(line="dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct")
LINE = "randrw,bs=4k,qd=8,count=200k"
DEVICE = "samsung-870-evo-1tb"


def replays(line: str, device: str) -> ReplayRequest:
    return ReplayRequest([device], line, None, ReplayOptions())


class CpuTime(SweepObserver):
    """The CPU time of this process and all below it, while a sweep's workers still live."""

    def __init__(self) -> None:
        self._start_s = _cpu_s(os.getpid())
        self.spent_s = 0.0

    def sweeping(self, progress: SweepProgress) -> None:
        if progress.done == progress.points:
            self.spent_s = _cpu_s(os.getpid()) - self._start_s


def _cpu_s(root: int) -> float:
    """CPU time in s of a process, of those below it, and of those that they have waited for."""
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            parents[pid], spent[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    below = [root]
    for pid in below:
        below += [child for child, parent in parents.items() if parent == pid]
    return sum(spent.get(pid, 0) for pid in below) / os.sysconf("SC_CLK_TCK")


def timed(
    request: SweepRequest, count: int, store: ResultStore, workers: int
) -> tuple[float, float, Sweep]:
    """Host and CPU time in s of a sweep over as many seeds, and its outcomes."""
    sweep = new_sweep(make_points([parse_set(f"seed=range({count})")]))
    start_s, cpu = time.monotonic(), CpuTime()
    run_sweep(sweep, request, SweepOptions(store=store, workers=workers), cpu)
    spent_s = time.monotonic() - start_s
    if sweep.has_failed:
        raise SystemExit(next(o.reason for o in sweep.outcomes if o.reason))
    return spent_s, cpu.spent_s, sweep


def bench_cache(scratch: Path) -> None:
    request = replays("randread,count=100", "constant:10us")
    store = ResultStore(scratch / "cached")
    timed(request, CACHED_POINTS, store, 1)
    spent_s, cpu_s, sweep = timed(request, CACHED_POINTS, store, 1)
    if sweep.progress.cached != CACHED_POINTS:
        raise SystemExit("not all results were read back")
    print(f"{CACHED_POINTS} results read back: {spent_s:.2f} s, {cpu_s:.2f} s of CPU")


def bench_scaling(scratch: Path, what: str, request: SweepRequest, count: int) -> None:
    timed(request, 2, ResultStore(scratch / f"warm {what}"), 1)  # compiles, boots, fills caches
    spent = {
        workers: timed(request, count, ResultStore(scratch / f"{workers} {what}"), workers)
        for workers in (1, WORKERS_MAX)
    }
    (one_s, one_cpu_s, _), (two_s, two_cpu_s, _) = spent[1], spent[WORKERS_MAX]
    print(
        f"{count} {what}: {one_s:.1f} s with one worker, {two_s:.1f} s with two, "
        f"{two_s / (one_s / 2):.2f} times half of it; "
        f"{one_cpu_s:.1f} s and {two_cpu_s:.1f} s of CPU"
    )
    if (load := os.getloadavg()[0]) > WORKERS_MAX + 0.5:
        print(f"a load of {load:.1f}: others were at work on this machine, so that CPU time counts")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="freezingtime-bench-") as place:
        scratch = Path(place)
        bench_cache(scratch)
        bench_scaling(scratch, "replays", replays(LINE, DEVICE), REPLAYS)
        runs = RunRequest(RunOptions(disks=["constant:10us"]), JOB)
        bench_scaling(scratch, "runs in a guest", runs, RUNS)


if __name__ == "__main__":
    main()
