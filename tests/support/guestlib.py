# SPDX-License-Identifier: GPL-2.0-or-later
"""Running jobs in real guests, for tests: in process, with everything the run returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from freezingtime.disk.spec import parse_disk
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import RunObserver, run
from freezingtime.trace.record_paths import RECORD_NAME


@dataclass
class Output(RunObserver):
    """An observer that keeps what the job prints."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)

    def output(self, stdout: bytes, stderr: bytes) -> None:
        self.stdout += stdout
        self.stderr += stderr


@dataclass
class GuestRun:
    result: RunResult
    stdout: bytes
    stderr: bytes

    def fio(self) -> dict[str, Any]:
        """fio's one job, of its JSON output."""
        text = self.stdout.decode()
        jobs = json.loads(text[text.index("{") :])["jobs"]
        assert len(jobs) == 1
        job: dict[str, Any] = jobs[0]
        assert job["error"] == 0
        return job


def run_guest(script: str, *disks: str, check: bool = True, **plan: Any) -> GuestRun:
    """Run a shell script in a guest with these disks; by default it must succeed, exactly."""
    output = Output()
    result = run(
        RunPlan([parse_disk(disk) for disk in disks], f"#!/bin/sh\n{script}\n".encode(), **plan),
        output,
    )
    ran = GuestRun(result, bytes(output.stdout), bytes(output.stderr))
    if check:
        assert result.job.exit_status == 0, ran.stderr.decode() + ran.stdout.decode()
        assert result.job.complaints == []
        assert result.totals.late_count == 0
    return ran


def fio_command(**options: object) -> str:
    """A fio command line on the first disk that prints JSON."""
    settings: Mapping[str, object] = {
        "name": "t",
        "filename": "/dev/vda",
        "direct": 1,
        "bs": "4k",
        "ioengine": "psync",
        "size": "256m",
        "output-format": "json",
        **options,
    }
    return "fio " + " ".join(f"--{name}={value}" for name, value in settings.items())


def mean_latency_ns(job: Mapping[str, Any], operation: str) -> float:
    """fio's mean completion latency of reads or writes, or its mean latency of flushes."""
    if operation == "flush":
        return float(job["sync"]["lat_ns"]["mean"])
    return float(job[operation]["clat_ns"]["mean"])


def read_record(out: Path) -> list[dict[str, Any]]:
    """The rows of a run directory's record."""
    rows: list[dict[str, Any]] = pq.read_table(out / RECORD_NAME).to_pylist()
    return rows


def make_file(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path
