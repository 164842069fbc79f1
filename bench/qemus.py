# SPDX-License-Identifier: GPL-2.0-or-later
"""What the QEMUs of Debian's suites cost: why one is pinned, and which.

Each is fetched into the cache. The same jobs run in each in turn, round by round; printed is
the CPU time of all processes of a run: where the host is shared, wall time says less.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from freezingtime.images.debian.suite import Suite
from freezingtime.images.qemu import fetch_qemu
from freezingtime.vm.qemu.probe import probe
from freezingtime.vm.qemu.program import find_qemu

SUITES = sys.argv[1:] or ["bookworm", "trixie", "sid"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PROGRAM = Path(sys.executable).with_name("freezingtime")

READS = 4_000
JOBS = {
    "start": "true",
    f"{READS} reads": (
        f"fio --name=x --filename=/dev/vda --direct=1 --rw=randread --bs=4k --number_ios={READS}"
    ),
    "SHA-256 of 32 MiB": "dd if=/dev/zero bs=1M count=32 | sha256sum",
}


def run(qemu: str, job: str) -> float:
    """The CPU time of a run, in s."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [PROGRAM, "run", "-q", "--qemu", qemu, "--disk", "constant:10us", "--", job],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one row for each QEMU; jobs without what a start costs."""
    versions = {}
    for suite in SUITES:
        fetch_qemu(Suite(suite), lambda *_: None)
        versions[suite] = probe(find_qemu(f"debian:{suite}")).version.split()[0]
        run(f"debian:{suite}", "true")  # its snapshot is made
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, job in JOBS.items():
            for suite in SUITES:
                costs[suite, name].append(run(f"debian:{suite}", job))
    table = Table("suite", "QEMU", *(f"{name}, CPU s" for name in JOBS))
    for suite in SUITES:
        medians = {name: statistics.median(costs[suite, name]) for name in JOBS}
        values = [medians["start"], *(medians[name] - medians["start"] for name in list(JOBS)[1:])]
        table.add_row(suite, versions[suite], *(f"{value:.2f}" for value in values))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
