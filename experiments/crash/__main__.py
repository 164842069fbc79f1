# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts under applications: planted bugs are found, and right ones raise no alarm.

``python -m experiments.crash`` prints a row as each workload ends, and ends with 1 if a planted bug
was not found or could not be replayed, or if a right application failed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.crash.file_systems import file_system_check, make_file_system
from experiments.crash.workloads import Workload, planted, right

import freezingtime as ft
from freezingtime.errors import FreezingTimeError

_HEAD = ("workload", "points", "possible", "derived", "unique", "run", "failed", "s", "verdict")


@dataclass(slots=True)
class Row:
    """What came of a workload."""

    workload: Workload
    result: ft.CrashResult
    seconds: float
    wrong: str | None = None
    """What is not as it must be."""
    said: str = "no failure"

    def cells(self) -> Iterator[str]:
        """For the table."""
        summary = self.result.summary
        yield self.workload.name
        for number in (summary.points, summary.possible, summary.derived, summary.unique):
            yield f"{number:.2e}" if number > 1e9 else f"{number:,}"
        yield f"{summary.run:,}"
        yield f"{summary.failed:,}"
        yield f"{self.seconds:.0f}"
        yield f"WRONG: {self.wrong}" if self.wrong else self.said


def explore(workload: Workload, directory: Path, seed: int) -> Row:
    """Run it, derive the states, recover from each; disks for several are beside ``directory``."""
    start_s = time.monotonic()
    job = directory / "job"
    job.mkdir(parents=True, exist_ok=True)
    workload.write_job(job)
    if workload.fill is None:
        disk = make_file_system(workload.file_system, directory / "disk.img")
    else:
        disk = workload.fill(directory.parent)
    result = ft.crash(
        disks=[f"{workload.device},{disk}"],
        guest=workload.guest,
        job=job,
        check=workload.check or file_system_check(workload.file_system, workload.check_first, job),
        points=workload.points,
        since=workload.since,
        until=workload.until,
        states=workload.states,
        seed=seed,
        out=directory / "out",
        progress=False,
    )
    row = Row(workload, result, time.monotonic() - start_s)
    judge(row, directory / "out")
    return row


def judge(row: Row, out: Path) -> None:
    """Compare what was found with what must be found, and replay each failure."""
    finds = row.workload.finds
    failures = row.result.failures
    if finds is None:
        if failures:
            row.wrong = f"{failures[0].reason}; see {out}"
        return
    if not failures:
        row.wrong = "nothing was found"
        return
    for failure in failures:
        if not re.search(finds, failure.reason):
            row.wrong = f"another failure: {failure.reason}"
        elif not replays(out, failure.number, failure.reason, failure.images):
            row.wrong = f"failure {failure.number} is not the same when it is replayed"
    first = failures[0]
    pieces = sum(lost.pieces for lost in first.lost)
    loss = f"smallest loss: {pieces} of {first.undecided_pieces} pieces"
    if not pieces:
        loss = "nothing need be lost: it was not written yet"
    row.said = f"{first.reason.partition(': ')[2]}; {loss}; replayed"


def replays(out: Path, number: int, reason: str, images: Sequence[str]) -> bool:
    """Whether the command that replays a failure finds it again, on the same bytes."""
    before = [Path(image).read_bytes() for image in images]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "freezingtime", "crash", "--out", out),
            *("--replay", str(number), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        said = json.loads(ended.stdout)
    except ValueError:
        return False
    same_bytes = before == [Path(image).read_bytes() for image in images]
    return bool(said["reason"] == reason) and same_bytes


def main() -> int:
    """Print all; the exit status."""
    parser = argparse.ArgumentParser(prog="experiments.crash", description=__doc__)
    parser.add_argument("--only", default="", help="workloads whose name matches, a pattern")
    parser.add_argument("--scale", type=int, default=1, help="that many times the states")
    parser.add_argument("--seed", type=int, default=0, help="of the states that are chosen")
    parser.add_argument(
        "--keep",
        type=Path,
        help="keep what is found in this directory, or go on with what is there",
    )
    options = parser.parse_args()
    workloads = {
        number: workload
        for number, workload in enumerate((*planted(), *right(options.scale)))
        if re.search(options.only, workload.name)
    }
    if not workloads:
        parser.error(f"--only {options.only}: matches no workload")
    rows: list[Row] = []
    print(" | ".join(_HEAD), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        for number, workload in workloads.items():
            try:
                rows.append(explore(workload, root / str(number), options.seed))
            except FreezingTimeError as error:
                print(f"{workload.name}: {error}", file=sys.stderr)
                return 1
            print(" | ".join(rows[-1].cells()), flush=True)
            if not options.keep:
                shutil.rmtree(root / str(number))
    return conclude(rows)


def conclude(rows: Sequence[Row]) -> int:
    """Print the sums; the exit status: 1 if something is not as it must be."""
    bugs = [row for row in rows if row.workload.finds]
    found = sum(not row.wrong for row in bugs)
    clean = [row.result.summary for row in rows if not row.workload.finds]
    print(f"{found} of {len(bugs)} planted bugs found")
    print(
        f"{sum(one.derived for one in clean):,} states of applications without a bug "
        f"({sum(one.unique for one in clean):,} unique, {sum(one.run for one in clean):,} run): "
        f"{sum(one.failed for one in clean)} failed"
    )
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
