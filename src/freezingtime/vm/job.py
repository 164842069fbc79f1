# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs: what the guest is to run, the files that go with it, and how it ended."""

from __future__ import annotations

import io
import stat
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from freezingtime.disk.mount import Mount
from freezingtime.emulator.loop import Totals
from freezingtime.errors import InputError

#: Default limit of the files that a guest hands over.
COLLECT_LIMIT_BYTES = 4 << 30

#: What a job directory's program is called.
RUN_NAME = "run"

#: A script is not longer; a program may be.
_SCRIPT_BYTES_MAX = 1 << 20
_SCRIPT_OF_DIRECTORY = b"#!/bin/sh\nexec /job/run\n"
#: Files appear in the guest with the time at which its clock starts: 2020-01-01.
_FILE_TIME_S = 1_577_836_800


@dataclass(frozen=True, slots=True)
class Job:
    """A script and what it is given."""

    script: bytes
    environment: Mapping[str, str] = field(default_factory=dict)
    files: BinaryIO | None = None
    """A tar archive, unpacked to /job, which is then where the script runs."""
    collect: Sequence[str] = ()
    """Shell patterns of the files to hand over when the job has ended."""
    collect_limit_bytes: int = COLLECT_LIMIT_BYTES
    """How much of them the host takes."""
    sync: bool = False
    """Whether to write back everything to the disks after the job."""
    unmount: bool = False
    """Whether to unmount the disks' file systems after that, unless in use."""
    mounts: Mapping[str, Mount] = field(default_factory=dict)
    """Mount points of disks before the job, by their names."""
    start_delay_ns: int = 0
    """How much guest time passes before the guest learns of the job."""

    @property
    def has_post_job_work(self) -> bool:
        """Whether the guest has something to do when the job has ended."""
        return self.sync or self.unmount or bool(self.collect)


@dataclass(frozen=True, slots=True)
class JobResult:
    """Result of the job; times in guest ns since power-on."""

    exit_status: int
    start_ns: int
    end_ns: int
    stop_ns: int
    """Guest time at which the machine is stopped, with its data written back and handed over."""
    host_s: float
    """Host time from the job's start to its end."""
    totals: Totals
    """What the emulator counted up to the job's end, the boot not counted."""
    complaints: Sequence[str]
    """What the guest's kernel complained about."""
    disk_errors: Sequence[str] = ()
    """What it said of disks, if one was to fail."""


def directory_script(directory: Path) -> bytes:
    """The script that runs a job directory.

    Raises:
        InputError: the directory, or the program in it, is not there.
    """
    program = directory / RUN_NAME
    if not directory.is_dir():
        raise InputError(f"--job {directory}: no such directory; name one with a program 'run'")
    try:
        mode = program.stat().st_mode
    except OSError as error:
        raise InputError(
            f"--job {directory}: {RUN_NAME}: {error.strerror}; put a program or script there"
        ) from error
    if not (stat.S_ISREG(mode) and mode & stat.S_IXUSR):
        raise InputError(
            f"--job {directory}: {RUN_NAME}: cannot be executed; allow it with 'chmod +x {program}'"
        )
    return _SCRIPT_OF_DIRECTORY


def program_start(directory: Path) -> bytes:
    """Return the program of a job directory, or how it begins; nothing if it cannot be read."""
    try:
        with (directory / RUN_NAME).open("rb") as file:
            return file.read(_SCRIPT_BYTES_MAX)
    except OSError:
        return b""


def pack(directory: Path | None, further: Mapping[str, bytes] | None = None) -> BinaryIO:
    """Pack a directory into a tar archive; equal content gives equal bytes, whoever owns it.

    ``further``: content of files to add, by their names.

    Raises:
        InputError: something in it cannot be read.
    """
    archive = tempfile.TemporaryFile(prefix="freezingtime-")  # noqa: SIM115 -- the caller's
    try:
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
            if directory is not None:
                for path in sorted(directory.rglob("*")):
                    name = str(path.relative_to(directory))
                    tar.add(path, name, recursive=False, filter=_neutral)
            for name, content in (further or {}).items():
                member = _neutral(tarfile.TarInfo(name))
                member.size = len(content)
                member.mode = 0o755
                tar.addfile(member, io.BytesIO(content))
        archive.flush()
    except OSError as error:
        archive.close()
        raise InputError(f"--job {directory}: cannot be packed ({error})") from error
    return archive


def _neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = _FILE_TIME_S
    return member
