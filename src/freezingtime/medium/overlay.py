# SPDX-License-Identifier: GPL-2.0-or-later
"""Copy-on-write: a medium that takes writes while the medium under it stays as it is."""

from __future__ import annotations

import errno
import shlex
import struct
import tempfile
from pathlib import Path
from typing import BinaryIO

from freezingtime.errors import InputError
from freezingtime.medium import fallocate
from freezingtime.medium.base import Medium
from freezingtime.medium.file_access import BufferedAccess
from freezingtime.medium.sector_map import Run, SectorMap, SectorSource
from freezingtime.request import Buffer

#: One saved change: source, offset and length; a scratch run's bytes follow.
_CHANGE = struct.Struct("<BQQ")


class OverlayMedium(Medium):
    """``base`` with writes on top, which go to an unlinked sparse file in ``scratch_dir``.

    The scratch file ends with the medium or the process, whatever happens, so a flush has
    nothing to make durable. Its space is what has been written and not discarded. Sources
    are tracked by sector, the smallest unit of a request, so no request ever has to copy
    the rest of a block, and requests that are neighbours cannot overwrite each other.

    Closing it closes ``base``. Raises :class:`InputError` when the scratch file cannot be
    made; ``base`` stays open then.
    """

    def __init__(self, base: Medium, scratch_dir: Path) -> None:
        self._base = base
        self._scratch_dir = scratch_dir
        self.size_bytes = base.size_bytes
        try:
            self._scratch_file = tempfile.TemporaryFile(  # noqa: SIM115 -- closed by close()
                dir=scratch_dir, prefix="freezingtime-overlay-", buffering=0
            )
        except OSError as error:
            raise InputError(
                f"cannot keep copy-on-write data in {scratch_dir} ({error.strerror}); "
                f"make it a writable directory: 'mkdir -p {shlex.quote(str(scratch_dir))}'"
            ) from error
        self._scratch = BufferedAccess(self._scratch_file.fileno())
        self._sectors = SectorMap()

    def describe(self) -> str:
        return f"{self._base.describe()}, writes to {self._scratch_dir}"

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        pieces = [self._read_run(run) for run in self._sectors.runs(offset_bytes, length_bytes)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, offset_bytes: int, data: Buffer) -> None:
        try:
            self._scratch.write(offset_bytes, data)
        except OSError as error:
            raise self._named(error, f"write {len(data)} bytes") from error
        self._sectors.mark(offset_bytes, len(data), SectorSource.SCRATCH)

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        self._sectors.mark(offset_bytes, length_bytes, SectorSource.ZERO)
        try:
            # Where the file system cannot do this, the scratch file only stays larger.
            fallocate.punch_hole(self._scratch_file.fileno(), offset_bytes, length_bytes)
        except OSError as error:
            raise self._named(error, f"discard {length_bytes} bytes") from error

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self.zero(offset_bytes, length_bytes)

    def flush(self) -> None:
        """Do nothing: see the class."""

    def save_changes(self, file: BinaryIO) -> None:
        """Write what differs from ``base``, for :meth:`load_changes`. No request may be at work."""
        for run in self._sectors.changed_runs():
            file.write(_CHANGE.pack(*run))
            if run.source is SectorSource.SCRATCH:
                file.write(self._read_run(run))

    def load_changes(self, file: BinaryIO) -> None:
        """Make the changes that :meth:`save_changes` wrote, over the same ``base``.

        Raises:
            ValueError: the file is cut short.
        """
        while header := file.read(_CHANGE.size):
            source, offset_bytes, length_bytes = _CHANGE.unpack(_whole(header, _CHANGE.size))
            if source == SectorSource.SCRATCH:
                self.write(offset_bytes, _whole(file.read(length_bytes), length_bytes))
            else:
                self.zero(offset_bytes, length_bytes)

    def displacement(self) -> str | None:
        return self._base.displacement()

    def close(self) -> None:
        self._scratch_file.close()
        self._base.close()

    def _read_run(self, run: Run) -> Buffer:
        if run.source is SectorSource.BASE:
            return self._base.read(run.offset_bytes, run.length_bytes)
        if run.source is SectorSource.ZERO:
            return bytes(run.length_bytes)
        try:
            return self._scratch.read(run.offset_bytes, run.length_bytes)
        except OSError as error:
            raise self._named(error, f"read {run.length_bytes} bytes") from error

    def _named(self, error: OSError, action: str) -> OSError:
        text = f"copy-on-write file in {self._scratch_dir}: cannot {action}: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text += "; free space there, or set TMPDIR to a larger directory"
        return OSError(error.errno, text)


def _whole(data: bytes, length_bytes: int) -> bytes:
    if len(data) < length_bytes:
        raise ValueError("the saved changes are truncated")
    return data
