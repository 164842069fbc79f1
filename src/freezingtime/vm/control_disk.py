# SPDX-License-Identifier: GPL-2.0-or-later
"""The control disk: how the host hands a job to the guest and hears from it.

It is a disk like any other to the guest, and served like any other by the emulator, so
everything that passes over it happens at an exact guest time. ``vm/guest/job-runner``
is its counterpart. Layout:

========================  =====================================================
byte 0                    the job's header: lines of text, zero padded to 4 KiB
byte 4096                 the job's script, its environment (NAME=value lines),
                          and the patterns of what to collect (one a line)
byte 16 MiB               what makes a guest that lacks it run the job runner
                          (:mod:`freezingtime.vm.bootstrap`)
byte 32 MiB               the guest's messages, one 4 KiB block each, zero padded
byte 64 MiB               a tar archive of the job's files
byte 32 GiB               the guest's tar archive of the collected files
========================  =====================================================
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import BinaryIO

from freezingtime.errors import InputError, RunError
from freezingtime.medium.base import Medium
from freezingtime.request import Buffer
from freezingtime.units import format_size_bytes
from freezingtime.vm.job import COLLECT_LIMIT_BYTES, Job
from freezingtime.vm.qemu.frontends import DriverSetting

SIZE_BYTES = 64 << 30
BLOCK_BYTES = 4096
SCRIPT_OFFSET_BYTES = BLOCK_BYTES
SCRIPT_MAX_BYTES = (16 << 20) - SCRIPT_OFFSET_BYTES
BOOTSTRAP_OFFSET_BYTES = 16 << 20
BOOTSTRAP_BYTES = 1 << 20
MESSAGE_OFFSET_BYTES = 32 << 20
FILES_OFFSET_BYTES = 64 << 20
COLLECTED_OFFSET_BYTES = 32 << 30
#: What of an archive is names, attributes and padding, for as many files as are taken.
_ARCHIVE_OVERHEAD_BYTES = 256 << 20
#: The most that a guest can be allowed to hand over.
COLLECT_MAX_BYTES = 31 << 30


class ControlDisk(Medium):
    """A medium that holds the job, and takes the guest's messages and files."""

    size_bytes = SIZE_BYTES
    may_block = False

    def __init__(self, bootstrap: bytes = b"") -> None:
        """``bootstrap`` has at most :data:`BOOTSTRAP_BYTES`."""
        self._messages: list[str] = []
        self._head_reads = 0
        self._bootstrap = bootstrap
        self._head = b""
        self._files: BinaryIO | None = None
        self._collected_max_bytes = COLLECT_LIMIT_BYTES
        self._collected_bytes = 0
        #: What the guest has handed over, a tar archive; empty if there is nothing.
        self.collected = tempfile.TemporaryFile(prefix="freezingtime-")  # noqa: SIM115

    def describe(self) -> str:
        return "control disk"

    def set_job(
        self, job: Job, *, disk_count: int, driver_settings: Sequence[DriverSetting] = ()
    ) -> None:
        """Store a job for the guest to read when the machine continues.

        Its archive of files must stay open until the job has ended. ``driver_settings`` is what
        the disks' drivers do not find by themselves.

        Raises:
            InputError: the script or the files are too long.
        """
        assignments = "".join(f"{name}={value}\n" for name, value in job.environment.items())
        # Bytes of the command line that are no UTF-8 arrive as they were.
        variables = assignments.encode(errors="surrogateescape")
        patterns = "".join(f"{pattern}\n" for pattern in job.collect).encode()
        payload = job.script + variables + patterns
        if len(payload) > SCRIPT_MAX_BYTES:
            raise InputError(
                f"the script has {len(job.script)} bytes; at most {SCRIPT_MAX_BYTES} fit; "
                "put large data in a job directory or on a disk"
            )
        files_bytes = _size_bytes(job.files)
        if files_bytes > COLLECTED_OFFSET_BYTES - FILES_OFFSET_BYTES:
            raise InputError(f"the job's files have {files_bytes} bytes; put large data on a disk")
        header = (
            "FREEZINGTIME-JOB 3\n"
            f"script_bytes={len(job.script)}\nenv_bytes={len(variables)}\n"
            f"collect_bytes={len(patterns)}\nfiles_bytes={files_bytes}\ndisks={disk_count}\n"
            f"sync={job.sync:d}\nunmount={job.unmount:d}\n"
        ) + "".join(f"{one.key}:{one.serial}={one.value}\n" for one in driver_settings)
        # A mount inside another one's directory comes after it.
        for name, mount in sorted(job.mounts.items(), key=lambda item: item[1].point):
            header += f"mount:{name}={mount.file_system}:{mount.point}\n"
        if len(header) > BLOCK_BYTES:
            raise InputError(
                f"--disk: the list of disks for the guest has {len(header)} bytes, more than "
                f"{BLOCK_BYTES}; give them shorter names and mount="
            )
        self._head = header.encode().ljust(BLOCK_BYTES, b"\0") + payload
        self._files = job.files
        self._collected_max_bytes = job.collect_limit_bytes

    def take_messages(self) -> Sequence[str]:
        """Return the guest's messages since the last call. Emulator's thread."""
        messages, self._messages = self._messages, []
        return messages

    def take_head_reads(self) -> int:
        """Return how often the first block was read since the last call. Emulator's thread."""
        count, self._head_reads = self._head_reads, 0
        return count

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        self._head_reads += not offset_bytes
        if FILES_OFFSET_BYTES <= offset_bytes < COLLECTED_OFFSET_BYTES and self._files is not None:
            position = offset_bytes - FILES_OFFSET_BYTES
            return os.pread(self._files.fileno(), length_bytes, position).ljust(length_bytes, b"\0")
        if offset_bytes >= BOOTSTRAP_OFFSET_BYTES:
            source, position = self._bootstrap, offset_bytes - BOOTSTRAP_OFFSET_BYTES
        else:
            source, position = self._head, offset_bytes
        return source[position : position + length_bytes].ljust(length_bytes, b"\0")

    def write(self, offset_bytes: int, data: Buffer) -> None:
        if offset_bytes == MESSAGE_OFFSET_BYTES:
            text = bytes(data).rstrip(b"\0").decode(errors="replace")
            self._messages.append(text.strip())
        elif offset_bytes >= COLLECTED_OFFSET_BYTES:
            self._collect(offset_bytes - COLLECTED_OFFSET_BYTES, bytes(data))

    def _collect(self, position_bytes: int, data: bytes) -> None:
        """Keep a piece of what the guest hands over; zeros, as of a sparse file, take no space.

        Raises:
            RunError: it is more than the job may hand over, or there is no room for it.
        """
        end_bytes = position_bytes + len(data)
        if end_bytes > self._collected_max_bytes + _ARCHIVE_OVERHEAD_BYTES:
            raise RunError(
                "the guest hands over files of more than "
                f"{format_size_bytes(self._collected_max_bytes)}; collect less, or allow more with "
                "--collect-limit"
            )
        try:
            if data.count(0) == len(data) and position_bytes >= self._collected_bytes:
                self.collected.truncate(end_bytes)
            else:
                self.collected.seek(position_bytes)
                self.collected.write(data)
                self.collected.flush()
        except OSError as error:
            raise RunError(
                f"files from the guest cannot be stored in {tempfile.gettempdir()}: "
                f"{error.strerror}; free space there, or set TMPDIR to another directory"
            ) from error
        self._collected_bytes = max(self._collected_bytes, end_bytes)

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        """Nothing that is stored is ever zeroed."""

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """Nothing that is stored is ever discarded."""

    def flush(self) -> None:
        """Do nothing: what is stored ends with the process."""

    def close(self) -> None:
        self.collected.close()


def _size_bytes(file: BinaryIO | None) -> int:
    return 0 if file is None else os.fstat(file.fileno()).st_size
