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
from freezingtime.explore.sweep.worker import PointOutcome
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


class Spent(SweepObserver):
    """What a sweep takes: its host time, and the CPU time of its processes while they live."""

    def __init__(self) -> None:
        self._start_cpu_s = _cpu_s(os.getpid())
        self._start_s = time.monotonic()
        self.host_s = 0.0
        self.cpu_s = 0.0
        self.first_s = 0.0
        """Until the first point has ended: workers have to start before."""

    def ended(self, number: int, outcome: PointOutcome) -> None:
        self.first_s = self.first_s or time.monotonic() - self._start_s

    def sweeping(self, progress: SweepProgress) -> None:
        if progress.done == progress.points:
            self.cpu_s = _cpu_s(os.getpid()) - self._start_cpu_s

    def finish(self) -> None:
        self.host_s = time.monotonic() - self._start_s


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
) -> tuple[Spent, Sweep]:
    """What a sweep over as many seeds takes, and its outcomes."""
    sweep = new_sweep(make_points([parse_set(f"seed=range({count})")]))
    spent = Spent()
    run_sweep(sweep, request, SweepOptions(store=store, workers=workers), spent)
    spent.finish()
    if sweep.has_failed:
        raise SystemExit(next(o.reason for o in sweep.outcomes if o.reason))
    return spent, sweep


def bench_cache(scratch: Path) -> None:
    request = replays("randread,count=100", "constant:10us")
    store = ResultStore(scratch / "cached")
    timed(request, CACHED_POINTS, store, 1)
    spent, sweep = timed(request, CACHED_POINTS, store, 1)
    if sweep.progress.cached != CACHED_POINTS:
        raise SystemExit("not all results were read back")
    print(f"{CACHED_POINTS} results read back: {spent.host_s:.2f} s, {spent.cpu_s:.2f} s of CPU")


def bench_scaling(scratch: Path, what: str, request: SweepRequest, count: int) -> None:
    timed(request, 2, ResultStore(scratch / f"warm {what}"), 1)  # compiles, boots, fills caches
    one, two = (
        timed(request, count, ResultStore(scratch / f"{workers} {what}"), workers)[0]
        for workers in (1, WORKERS_MAX)
    )
    print(
        f"{count} {what}: {one.host_s:.1f} s with one worker, {two.host_s:.1f} s with two, "
        f"{two.host_s / (one.host_s / 2):.2f} times half of it; "
        f"{one.cpu_s:.1f} s and {two.cpu_s:.1f} s of CPU; "
        f"the first had ended after {one.first_s:.1f} s and {two.first_s:.1f} s"
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
