# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring a real device with fio: the matrix of sizes and depths that ``fit`` needs.

The matrix is measured in rounds, each time in another order and for a short while, so that
what drifts in the device, or in the host, is spread over all of it and can be told from what
differs between its cells.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import platform
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from freezingtime.calibrate.measure.measurement import MeasuredJob, MeasurementManifest
from freezingtime.calibrate.measure.target import Target, opened_target, remove_created
from freezingtime.errors import InputError, RunError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.required_platform import require_linux
from freezingtime.units import format_size_bytes

#: Progress callback: the step, and how much of how much is done.
Observer: TypeAlias = Callable[[str, int, int], None]

#: The fio that is run.
FIO = "fio"

# So many requests of a job are logged at most.
_REQUESTS_MAX = 50_000
# What starting, stopping and a slow device's last requests may take on top of the run time.
_GRACE_S = 60.0
_LAYOUT_DEADLINE_S = 3600.0
_POLL_S = 0.1
_START_S = 0.5


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """Options of a measurement."""

    path: Path
    out: Path
    sizes_bytes: Sequence[int] = (4096, 65536)
    depths: Sequence[int] = (1, 4, 16)
    rounds: int = 8
    runtime_s: float = 1.0
    """Of one job; there is one for each operation, size and depth in each round."""
    write: bool = False
    overwrite: bool = False
    create_bytes: int | None = None
    seed: int = 0

    def jobs(self) -> list[MeasuredJob]:
        """All jobs, in their order."""
        operations = ("read", "write") if self.write else ("read",)
        cells = [
            (operation, size_bytes, depth)
            for operation in operations
            for size_bytes in self.sizes_bytes
            for depth in self.depths
        ]
        if self.write:
            cells.append(("flush", 0, 1))
        jobs = []
        for number in range(self.rounds):
            random.Random(self.seed + number).shuffle(cells)
            jobs += [MeasuredJob(number, *cell, file=_file_name(number, *cell)) for cell in cells]
        return jobs

    @property
    def estimate_s(self) -> float:
        """About how long it takes, without the making of a file."""
        return len(self.jobs()) * (self.runtime_s + _START_S)


def _file_name(number: int, operation: str, size_bytes: int, depth: int) -> str:
    if operation == "flush":
        return f"round{number:02}-flush.json"
    return f"round{number:02}-{operation}-{format_size_bytes(size_bytes)}-{depth}_lat.1.log.gz"


def measure(plan: MeasurePlan, observer: Observer) -> MeasurementManifest:
    """Measure, and leave the directory ``plan.out`` for ``fit``; all of it, or nothing.

    Raises:
        InputError: the target may not be measured, the directory already exists, or there is
            no fio.
        RunError: fio failed or did not end in time.
    """
    check(plan)
    with opened_target(
        plan.path, write=plan.write, overwrite=plan.overwrite, create_bytes=plan.create_bytes
    ) as target:
        version = _version()
        with os_errors_as(InputError, f"--out {plan.out}", "name a new directory"):
            plan.out.mkdir(parents=True)
        try:
            return _measure(plan, target, version, observer)
        except BaseException:
            shutil.rmtree(plan.out, ignore_errors=True)
            raise


def check(plan: MeasurePlan) -> None:
    """Find out what is wrong with a plan before the target is looked at.

    Raises:
        InputError: there is something.
    """
    require_linux("measuring a device")
    if plan.out.exists():
        raise InputError(f"--out {plan.out}: already exists; name a new directory")
    if plan.overwrite and not plan.write:
        raise InputError("--overwrite: only with --write; add it, or leave out --overwrite")
    for size_bytes in plan.sizes_bytes:
        if size_bytes % 4096 or not 4096 <= size_bytes <= 4 << 20:
            raise InputError(f"--sizes: {size_bytes}: must be a multiple of 4KiB, up to 4MiB")
    for depth in plan.depths:
        if not 1 <= depth <= 1024:
            raise InputError(f"--depths: {depth}: must be from 1 to 1024")


def _measure(
    plan: MeasurePlan, target: Target, version: str, observer: Observer
) -> MeasurementManifest:
    jobs = plan.jobs()
    with contextlib.ExitStack() as cleanup:
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="freezingtime-")))
        cleanup.callback(remove_created, target)
        if target.is_created:
            _lay_out(target, scratch, observer)
        for number, job in enumerate(jobs):
            observer(_progress_text(job, plan), number, len(jobs))
            command = fio_command(job, target, plan, number)
            _run(command, scratch, plan.runtime_s + _GRACE_S, _nothing)
            _keep(job, scratch, plan.out)
    manifest = MeasurementManifest(
        path=str(plan.path),
        what=target.what,
        size_bytes=target.size_bytes,
        measured=time.strftime("%Y-%m-%d"),
        host=f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs",
        fio=version,
        rounds=plan.rounds,
        runtime_s=plan.runtime_s,
        jobs=jobs,
    )
    manifest.write(plan.out)
    return manifest


def _progress_text(job: MeasuredJob, plan: MeasurePlan) -> str:
    size = f" {format_size_bytes(job.size_bytes)}" if job.size_bytes else ""
    return f"round {job.round + 1} of {plan.rounds}: {job.operation}{size} depth {job.depth}"


def fio_command(job: MeasuredJob, target: Target, plan: MeasurePlan, number: int) -> list[str]:
    """The command of a job; it leaves ``job_lat.1.log`` or ``job.json`` where it is run."""
    common = [
        *(FIO, "--name=job", f"--filename={_escaped(target.path)}", f"--size={target.size_bytes}"),
        *("--allow_file_create=0", "--direct=1", "--thread", "--norandommap", "--io_size=1t"),
        *(
            f"--randseed={plan.seed * 10_000 + number + 1}",
            f"--runtime={round(plan.runtime_s * 1000)}ms",
        ),
        *(f"--number_ios={_REQUESTS_MAX}", "--output=job.json", "--output-format=json+"),
    ]
    if job.operation == "flush":
        return [*common, "--rw=randwrite", "--bs=4096", "--ioengine=psync", "--fdatasync=1"]
    reading = ["--rw=randread", "--readonly"] if job.operation == "read" else ["--rw=randwrite"]
    return [
        *(*common, *reading, f"--bs={job.size_bytes}", "--ioengine=libaio"),
        *(f"--iodepth={job.depth}", "--disable_slat=1", "--disable_clat=1", "--write_lat_log=job"),
    ]


def _escaped(path: Path) -> str:
    """A path as fio takes it: its colons and backslashes are special."""
    return str(path.resolve()).replace("\\", "\\\\").replace(":", "\\:")


def _lay_out(target: Target, scratch: Path, observer: Observer) -> None:
    """Write a new file full, with data that nothing can compress."""
    command = [
        *(FIO, "--name=job", f"--filename={_escaped(target.path)}", f"--size={target.size_bytes}"),
        *("--rw=write", "--bs=1m", "--direct=1", "--ioengine=libaio", "--iodepth=8", "--thread"),
        *("--refill_buffers", "--end_fsync=1", "--output=layout.txt"),
    ]

    def watch() -> None:
        written_bytes = 0
        with contextlib.suppress(OSError):
            written_bytes = target.path.stat().st_blocks * 512
        observer(f"writing {target.path}", min(written_bytes, target.size_bytes), target.size_bytes)

    _run(command, scratch, _LAYOUT_DEADLINE_S, watch)


def _keep(job: MeasuredJob, scratch: Path, out: Path) -> None:
    """Move what a job has left to the directory of the measurement."""
    try:
        if job.operation == "flush":
            shutil.move(scratch / "job.json", out / job.file)
            return
        log = scratch / "job_lat.1.log"
        with log.open("rb") as source, gzip.open(out / job.file, "wb", compresslevel=1) as sink:
            shutil.copyfileobj(source, sink)
        log.unlink()
    except OSError as error:
        raise RunError(f"cannot store fio's log in {out}: {error.strerror}") from error


def _nothing() -> None:
    """For a job that need not be watched."""


def _run(
    command: Sequence[str], directory: Path, deadline_s: float, watch: Callable[[], None]
) -> None:
    """Run fio to its end; it and all its children are dead when this returns or raises."""
    until_s = time.monotonic() + deadline_s
    with (
        (directory / "said.txt").open("w+") as said,
        _started(command, directory, said.fileno()) as fio,
    ):
        while fio.poll() is None:
            if time.monotonic() > until_s:
                raise RunError(
                    f"fio did not end within {deadline_s:.0f} s: the device does not respond; "
                    f"command: {' '.join(command)}"
                )
            watch()
            with contextlib.suppress(subprocess.TimeoutExpired):
                fio.wait(_POLL_S)
        if fio.returncode:
            said.seek(0)
            lines = said.read().strip().splitlines() or [f"exit status {fio.returncode}"]
            raise RunError(f"fio failed: {lines[0]}; command: {' '.join(command)}")


@contextlib.contextmanager
def _started(
    command: Sequence[str], directory: Path, output: int
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        fio = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            start_new_session=True,  # Ctrl-C is for us; we end fio
        )
    except OSError as error:
        raise _no_fio(error) from error
    try:
        yield fio
    finally:
        if fio.poll() is None:
            os.killpg(fio.pid, signal.SIGKILL)
            fio.wait()


def _version() -> str:
    try:
        done = subprocess.run(
            [FIO, "--version"], capture_output=True, text=True, check=False, timeout=_GRACE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_fio(error) from error
    return done.stdout.strip()


def _no_fio(error: Exception) -> InputError:
    return InputError(f"cannot start fio ({error}); install it with 'apt-get install fio'")
