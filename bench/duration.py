# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a run takes: guest time against the host's, by CPUs, device and load.

Printed is the CPU time of all processes of a run, without what a start takes: on an idle host
with two cores or more a run takes about as long, and on a shared one wall time says less.
"""

from __future__ import annotations

import os
import resource
import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from freezingtime.disk.spec import parse_disk
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.run import run

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))

SSD = "micron-7450-pro-960gb"
HARD_DISK = "seagate-cheetah-15k5-300gb"


@dataclass(frozen=True)
class Load:
    """What a guest does, with how many CPUs, on which device."""

    title: str
    disk: str
    cpus: int
    script: str


def _fio(count: int, *, depth: int = 1, jobs: int = 1) -> str:
    engine = f"--ioengine=libaio --iodepth={depth}" if depth > 1 else "--ioengine=psync"
    return (
        "fio --name=t --filename=/dev/vda --direct=1 --bs=4k --size=512m --rw=randread "
        f"--output=/dev/null {engine} --numjobs={jobs} --number_ios={count}"
    )


def _hash(jobs: int) -> str:
    one = "dd if=/dev/zero bs=1M count=16 2>/dev/null | sha256sum >/dev/null &\n"
    return one * jobs + "wait"


LOADS = (
    Load("200 reads, depth 1", HARD_DISK, 1, _fio(200)),
    Load("4000 reads, depth 1", SSD, 1, _fio(4000)),
    Load("4000 reads, depth 1", "constant:10us", 1, _fio(4000)),
    Load("4000 reads, depth 32", SSD, 1, _fio(4000, depth=32)),
    Load("4 x 1000 reads, depth 8", SSD, 4, _fio(1000, depth=8, jobs=4)),
    Load("SHA-256 of 16 MiB", "constant:10us", 1, _hash(1)),
    Load("4 x SHA-256 of 16 MiB", "constant:10us", 4, _hash(4)),
)


def measure(load: Load, script: str) -> tuple[float, float]:
    """Return the job's guest time and the CPU time of the whole run, both in s."""
    before_s = _cpu_s()
    plan = RunPlan([parse_disk(load.disk)], f"#!/bin/sh\n{script}\n".encode(), cpu_count=load.cpus)
    result = run(plan, RunObserver())
    if result.job.exit_status or not result.valid:
        raise SystemExit(f"duration: {load.title} on {load.disk} failed or is not valid")
    return (result.job.end_ns - result.job.start_ns) / 1e9, _cpu_s() - before_s


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Print one row for each load."""
    table = Table("load", "device", "CPUs", "guest s", "CPU s", "CPU s per guest s")
    for load in LOADS:
        measure(load, "true")  # image, snapshot, compiled models
        rounds = [(measure(load, "true")[1], *measure(load, load.script)) for _ in range(ROUNDS)]
        guest_s = rounds[0][1]
        cpu_s = statistics.median(whole_s - start_s for start_s, _, whole_s in rounds)
        table.add_row(
            *(load.title, load.disk, str(load.cpus)),
            *(f"{guest_s:.3f}", f"{cpu_s:.1f}", f"{cpu_s / guest_s:.1f}"),
        )
    load_average = f"load average of the last 5 minutes {os.getloadavg()[1]:.1f}"
    Console(width=120).print(table, f"{ROUNDS} rounds, {os.cpu_count()} cores, {load_average}")


if __name__ == "__main__":
    main()
