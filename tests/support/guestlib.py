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
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import run
from freezingtime.trace.record_paths import RECORD_NAME

#: Block sizes for fio's ``bssplit``, each with its share in percent.
MIXED_SIZES = "512/20:4k/40:12k/15:32k/15:64k/7:256k/3"


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


def run_endurance_job(**plan: Any) -> GuestRun:
    """Run 200,000 mixed requests, each verified; none may be late, the kernel may not complain."""
    common = {"bssplit": MIXED_SIZES, "size": "900m", "fsync": 64, "verify": "crc32c"}
    aio = {"ioengine": "libaio", "iodepth": 32}
    script = "set -e\n" + "\n".join(
        fio_command(**{"output": "/dev/null", "output-format": "normal", **options})
        for options in (
            {**common, "rw": "randwrite", "number_ios": 22_000, "randseed": 1},
            {**common, **aio, "rw": "randwrite", "number_ios": 54_000, "randseed": 2},
            {"rw": "randrw", "bssplit": MIXED_SIZES, "size": "900m", "fsync": 50, **aio},
        )
    )
    ran = run_guest(script, "constant:read=80us,write=20us,flush=300us,size=1GiB", **plan)
    assert ran.result.totals.request_count >= 200_000
    return ran


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
