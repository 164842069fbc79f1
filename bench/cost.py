# SPDX-License-Identifier: GPL-2.0-or-later
"""What exactness costs: the same jobs here and in stock QEMU on its own null-co disk.

Both run the same guest image under icount; boot is excluded on both sides: the time is
taken from the guest's STARTED message to its EXIT message. Rounds alternate, and the
ratio is taken round by round, so that the machine's mood cancels out. The limits hold for
the device that is like null-co, with no latency; one with latency, which the guest has to be
woken from, is shown beside it. Both cost one exchange with the emulator per request. The emulator
is a process of its own: where other work keeps the second core busy, the ratio grows.
"""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from stock_qemu import stock_s

from freezingtime.disk.spec import parse_disk
from freezingtime.images.build import build_mini_image
from freezingtime.images.debian.suite import DEFAULT
from freezingtime.images.guest_image import find_image
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.run import run

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
READS = 20_000
HASHED_MIB = 192


#: The guest's addresses, random otherwise, decide whether its stack and its data meet in one
#: entry of QEMU's TLB: the same work then takes up to 1.7 times as long, in stock QEMU too.
FIXED_LAYOUT = (
    b"#!/bin/sh\n"
    b'if [ -z "$FIXED" ]; then\n'
    b"    echo 0 >/proc/sys/kernel/randomize_va_space\n"
    b'    FIXED=1 exec sh "$0"\n'
    b"fi\n"
)


@dataclass(frozen=True)
class Job:
    """What is run, and how many times as long as stock QEMU it may take."""

    title: str
    script: bytes
    limit_ratio: float


JOBS = (
    Job(
        f"{READS} 4 KiB random reads at queue depth 1",
        b"#!/bin/sh\nexec fio --name=cost --filename=/dev/vda --direct=1 --rw=randread --bs=4k "
        b"--ioengine=psync --size=512m --output=/dev/null --number_ios=%d\n" % READS,
        limit_ratio=1.5,
    ),
    Job(
        f"no disk: SHA-256 of {HASHED_MIB} MiB",
        FIXED_LAYOUT
        + b"dd if=/dev/zero bs=1M count=%d 2>/dev/null | sha256sum >/dev/null\n" % HASHED_MIB,
        limit_ratio=1 / 0.9,
    ),
)
SUBJECTS = (
    ("constant:0, 1 GHz", "constant:0", 1_000_000_000),
    ("constant:0, 4 GHz", "constant:0", 4_000_000_000),
    ("constant:10us, 4 GHz", "constant:10us", 4_000_000_000),
)
#: The device that is like null-co.
LIMITED = "constant:0"


class _Quiet(RunObserver):
    def output(self, stdout: bytes, stderr: bytes) -> None:
        if stderr:
            sys.stderr.write(stderr.decode(errors="replace"))


def ours_s(script: bytes, disk: str, rate_hz: int) -> float:
    """Host seconds of the job under Freezing Time."""
    result = run(RunPlan([parse_disk(disk)], script, rate_hz=rate_hz), _Quiet())
    if result.job.exit_status or not result.valid:
        raise SystemExit(f"cost: the run on {disk} failed or is not valid")
    return result.job.host_s


def compare(job: Job) -> float:
    """Print a job's table; returns the worst ratio of those that have a limit."""
    image = find_image() or build_mini_image(DEFAULT)
    for _, disk, rate_hz in SUBJECTS:
        ours_s(job.script, disk, rate_hz)  # warm up: image, snapshot, page cache
    stock: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name, _, _ in SUBJECTS}
    for _ in range(ROUNDS):
        stock.append(stock_s(image, job.script))
        for name, disk, rate_hz in SUBJECTS:
            ours[name].append(ours_s(job.script, disk, rate_hz))

    # The job is the same, so its instructions per wall second are as the inverse of its time.
    table = Table("disk", "wall s (median)", "x stock (median of rounds)", "speed, x stock")
    table.add_row("stock QEMU, null-co", f"{statistics.median(stock):.2f}", "1.00", "1.00")
    worst = 0.0
    for name, disk, _ in SUBJECTS:
        ratio = statistics.median(s / t for s, t in zip(ours[name], stock, strict=True))
        if disk == LIMITED:
            worst = max(worst, ratio)
        median_s = statistics.median(ours[name])
        table.add_row(name, f"{median_s:.2f}", f"{ratio:.2f}", f"{1 / ratio:.2f}")
    load = f"load average of the last 5 minutes {os.getloadavg()[1]:.1f}"
    Console().print(f"{job.title}, {ROUNDS} rounds", table, f"{os.cpu_count()} cores, {load}")
    return worst


def main() -> None:
    """Print the tables; exit 1 if a cost is above its limit."""
    worst = {job: compare(job) for job in JOBS}
    for job, ratio in worst.items():
        if ratio > job.limit_ratio:
            raise SystemExit(
                f"cost: {job.title}: {ratio:.2f} x stock QEMU is above {job.limit_ratio:.2f}"
            )


if __name__ == "__main__":
    main()
