# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's synchronous I/O: what the application saw, what the device did, what it should do."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from freezingtime.cli.guest.progress import RunProgress
from freezingtime.clock.kind import ClockKind
from freezingtime.disk.spec import parse_disk
from freezingtime.errors import RunError
from freezingtime.request import Operation
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import run
from freezingtime.simulate.replay import TraceSource, replay
from freezingtime.trace.readers.fio.latency_log import read_latency_log
from freezingtime.trace.record_columns import read_disk
from freezingtime.trace.run_directory import STDOUT_NAME

SEED = 1
OPERATIONS = ("read", "write")
#: Of every disk: small, so that saving and comparing it costs nothing.
DISK_SIZE = "size=64MiB"

_COLUMNS = ("operation", "arrival_ns", "delivery_ns", "sequence")


@dataclass(frozen=True)
class Measured:
    """4 KiB synchronous reads, then as many writes, one at a time; values are in ns.

    The keys are :data:`OPERATIONS`, the values in order of arrival.
    """

    application: Mapping[str, NDArray[np.int64]]
    """From system call to return, as fio in the guest measured it."""
    device: Mapping[str, NDArray[np.int64]]
    """From the doorbell to the delivered interrupt (D2C), from the record."""
    target: Mapping[str, NDArray[np.int64]]
    """What the device model says of these requests, alone: no guest, no medium."""
    late_count: int
    """Under KVM: requests that were not delivered within ``--max-leak``."""


def measure(
    device: str,
    disk_options: str = "",
    *,
    count: int,
    cpus: int = 1,
    frontend: str = "virtio-blk",
    clock: ClockKind = ClockKind.EXACT,
) -> Measured:
    """Run ``count`` reads and writes in the mini guest, on a device over a medium.

    Raises:
        RunError: fio failed, or a completion was late under the exact clock.
    """
    disk = f"{device},{DISK_SIZE},frontend={frontend}{disk_options}"
    with tempfile.TemporaryDirectory(prefix="freezingtime-paper-") as directory:
        plan = RunPlan(
            [parse_disk(disk)],
            _script(count),
            clock=clock,
            cpu_count=cpus,
            seed=SEED,
            out=Path(directory) / "run",
        )
        result, _ = run_quietly(plan)
        assert plan.out is not None
        log = read_latency_log(plan.out / STDOUT_NAME)
        application = _of_job(log.operation, log.latency_ns, count)
        of_device = _device_ns(plan.out, count)
        target = _target_ns(plan.out, f"{device},{DISK_SIZE}", count)
    for operation in OPERATIONS:
        if np.any(application[operation] < of_device[operation]):
            raise RunError(f"{disk}: fio says of a {operation} that it was faster than the disk")
    return Measured(application, of_device, target, result.totals.late_count)


def text_of(output: BinaryIO) -> str:
    """All that a job has printed."""
    output.seek(0)
    return output.read().decode(errors="replace")


def run_quietly(plan: RunPlan) -> tuple[RunResult, str]:
    """Run a job that must succeed; returns what it printed as well.

    Raises:
        RunError: it failed, or its figures are not valid under the exact clock.
    """
    with RunProgress(quiet=not sys.stderr.isatty(), forward_output=False) as progress:
        result = run(plan, progress)
    is_exact = plan.clock is ClockKind.EXACT
    if result.job.exit_status or (is_exact and not result.valid):
        disks = ", ".join(disk.text for disk in plan.disks)
        raise RunError(
            f"the job on {disks} ended with {result.job.exit_status}, "
            f"{result.totals.late_count} late: {text_of(progress.stderr)}"
        )
    return result, text_of(progress.stdout)


def _script(count: int) -> bytes:
    return f"""#!/bin/sh
set -eu
for operation in read write; do
    fio --name=$operation --filename=$(echo /dev/disk/by-id/*-disk1) --direct=1 \\
        --ioengine=psync --bs=4k --rw=rand$operation --number_ios={count} --randseed={SEED} \\
        --write_lat_log=/tmp/$operation --output=/dev/null >&2
    cat /tmp/${{operation}}_lat.1.log
done
""".encode()


def _device_ns(record: Path, count: int) -> dict[str, NDArray[np.int64]]:
    columns = read_disk(record, _COLUMNS, disk=None, option="", notify=_fail).columns
    order = np.argsort(columns["sequence"])
    latency_ns = (columns["delivery_ns"] - columns["arrival_ns"])[order]
    return _of_job(columns["operation"][order], latency_ns, count)


def _target_ns(record: Path, device: str, count: int) -> dict[str, NDArray[np.int64]]:
    """The same requests, at the same times, on the same device without a guest or a medium."""
    (replayed,) = replay(
        TraceSource(record), [device], seed=SEED, observer=lambda *_: None, notify=_fail
    )
    simulation = replayed.simulation
    return _of_job(simulation.trace.operation, simulation.service_ns, count)


def _of_job(
    operation: NDArray[np.uint8], latency_ns: NDArray[np.int64], count: int
) -> dict[str, NDArray[np.int64]]:
    """The job's own requests: the last ones. The kernel looked for partitions before."""
    return {name: latency_ns[operation == Operation[name.upper()]][-count:] for name in OPERATIONS}


def _fail(text: str) -> None:
    raise RunError(text)
