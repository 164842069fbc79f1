# SPDX-License-Identifier: GPL-2.0-or-later
"""What a state costs in an exploration of power cuts: SQLite on ext4 in the mini guest.

``python -m bench.crash``. Each round recovers once more from all states of a job, and checks them:
nothing is pruned. Printed is the CPU time of all processes for each state and, apart, what it costs
to start a guest.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from experiments.crash import sqlite
from experiments.crash.workloads import SSD

from freezingtime.explore.crash.directory import ExplorationDirectory
from freezingtime.explore.crash.explore import CrashObserver, Exploration, open_exploration
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.runs.options import RunOptions
from freezingtime.vm.job import directory_script

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
STATES_PER_S_LEAST = 5.0


def measure(exploration: Exploration) -> bool:
    """Print what states cost; whether it is little enough."""
    recoveries = exploration.recoveries
    candidates = list(exploration.candidates(exploration.points()))
    start_s = _cpu_s()
    recoveries.run(candidates[0])
    first_s = _cpu_s() - start_s
    costs = []
    begin_s = time.monotonic()
    for _ in range(ROUNDS):
        start_s = _cpu_s()
        for candidate in candidates:
            outcome, _ = recoveries.run(candidate)
            if not outcome.passed:
                raise SystemExit(f"a state did not pass: {outcome.reason}")
        costs.append((_cpu_s() - start_s) / len(candidates))
    wall_s = (time.monotonic() - begin_s) / ROUNDS / len(candidates)
    cost_s = statistics.median(costs)
    print(
        f"crash: {1 / cost_s:.1f} states per second and core: {cost_s:.2f} s of CPU time each, "
        f"{wall_s:.2f} s of wall time (median of {ROUNDS} rounds of {len(candidates)} states; "
        f"limit {STATES_PER_S_LEAST:.0f} per second)"
    )
    print(
        f"crash: the first state of a guest, which is restored for it, takes {first_s:.2f} s of "
        f"CPU time; {recoveries.guest_count} guests in all"
    )
    return 1 / cost_s >= STATES_PER_S_LEAST


def _cpu_s() -> float:
    """CPU time of this process and its children, those that still run among them."""
    times = os.times()
    return times.user + times.system + sum(map(_cpu_s_of, _children()))


def _children() -> list[int]:
    me = os.getpid()
    lists = Path(f"/proc/{me}/task").glob("*/children")
    return [int(word) for path in lists for word in path.read_text().split()]


def _cpu_s_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print all; exit 1 if the limit is exceeded."""
    with tempfile.TemporaryDirectory() as scratch:
        job, out = Path(scratch) / "job", Path(scratch) / "out"
        job.mkdir()
        sqlite.write_shop(job, synchronous="extra", journal_mode="delete", orders=1)
        request = CrashRequest(
            options=RunOptions(disks=(f"{SSD},size=64MiB,mount=/data",)),
            job=directory_script(job),
            job_directory=job,
            check=sqlite.CHECK.encode(),
            states=4,
        )
        with ExplorationDirectory(out) as directory:
            directory.begin(request.identity())
            with open_exploration(request, directory, CrashObserver()) as exploration:
                if not measure(exploration):
                    raise SystemExit("crash: below the limit")


if __name__ == "__main__":
    main()
