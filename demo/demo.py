# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration: four devices that are not here, each over a fast and a slow medium.

What fio in the guest sees must be the device, whatever the medium: the last column of
differences is what the emulation adds or leaves out, and the two media's figures are equal
to the nanosecond.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from freezingtime.disk.spec import parse_disk
from freezingtime.emulator.loop import Totals
from freezingtime.errors import FreezingTimeError
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress.meter import DiskMeter
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import run
from freezingtime.units import parse_time_ns

DEVICES = ("0", "10us", "100us", "10ms")
MEDIA = {"memory": "", "3 ms each": ",delay=3ms"}
REQUESTS = 500
JOB = (
    "fio --name=demo --filename=/dev/vda --direct=1 --rw=randread --bs=4k --ioengine=psync "
    f"--size=512m --number_ios={REQUESTS} --output-format=json"
)


class Watcher(RunObserver):
    """Shows how far the demonstration is, and keeps the guest's output."""

    def __init__(self, progress: Progress) -> None:
        self.stdout = bytearray()
        self.what = ""
        self._progress = progress
        self._task = progress.add_task("")

    def preparing(self, step: str, done: int, total: int) -> None:
        amount = f" {done}/{total}" if total > 1 else ""
        self._progress.update(self._task, description=f"{step}{amount}")

    def running(self, totals: Totals, meters: Sequence[DiskMeter]) -> None:
        text = f"{self.what}: {totals.request_count} requests"
        self._progress.update(self._task, description=text)

    def output(self, stdout: bytes, stderr: bytes) -> None:
        self.stdout += stdout
        sys.stderr.write(stderr.decode(errors="replace"))


def run_one(latency: str, medium: str, watcher: Watcher) -> tuple[RunResult, dict[str, float]]:
    """Run the job on one device; return what it was and fio's completion latencies (ns)."""
    watcher.stdout.clear()
    watcher.what = f"a device of {latency}, medium: {medium}"
    disk = parse_disk(f"constant:{latency}{MEDIA[medium]}")
    result = run(RunPlan([disk], f"#!/bin/sh\nexec {JOB}\n".encode()), watcher)
    latencies = json.loads(watcher.stdout)["jobs"][0]["read"]["clat_ns"]
    return result, {"mean": latencies["mean"], "p99": latencies["percentile"]["99.000000"]}


def microseconds(time_ns: float) -> str:
    return f"{time_ns / 1000:,.3f}"


def main() -> None:
    """Run all combinations and print the table."""
    console = Console(width=max(Console().width, 118))
    table = Table(
        *("device", "medium", "mean us", "p99 us", "mean - zero - device ns"),
        *("on time", "frozen s", "warped s", "guest s", "real s"),
        title=f"{REQUESTS} random 4 KiB reads, as fio in the guest saw them",
    )
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    zero_ns: dict[str, float] = {}
    with Progress(SpinnerColumn(), *columns, console=Console(stderr=True)) as progress:
        watcher = Watcher(progress)
        for latency in DEVICES:
            for medium in MEDIA:
                result, seen = run_one(latency, medium, watcher)
                zero_ns.setdefault(medium, seen["mean"])
                added_ns = seen["mean"] - zero_ns[medium] - parse_time_ns(latency)
                job, totals = result.job, result.totals
                table.add_row(
                    *(latency, medium, microseconds(seen["mean"]), microseconds(seen["p99"])),
                    "" if latency == "0" else f"{added_ns:+.1f}",
                    f"{totals.request_count - totals.late_count}/{totals.request_count}",
                    *(f"{totals.frozen_host_ns / 1e9:.2f}", f"{totals.warped_ns / 1e9:.2f}"),
                    *(f"{(job.end_ns - job.start_ns) / 1e9:.2f}", f"{job.host_s:.2f}"),
                )
    console.print(table)


if __name__ == "__main__":
    try:
        main()
    except FreezingTimeError as error:
        raise SystemExit(f"demo: {error}") from None
