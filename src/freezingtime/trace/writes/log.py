# SPDX-License-Identifier: GPL-2.0-or-later
"""The write log of a run: its writes with their data, and its flushes, in exact order.

Two files. ``writes.bin`` has an event for each arrival and each completion of what modifies or
flushes a disk, in the order in which they happened. ``sectors.bin`` has the sectors' content, each
once, however often it was written: a content is called by its place there, from 1; 0 is zeros.

Both are streamed; memory is bounded, since the writer forgets the contents that it knows when
they are many, and then stores some again.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from freezingtime.errors import InputError, RunError
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.request import Buffer, Operation, Request

Contents = npt.NDArray[np.int64]
"""Content of neighbouring sectors, each by its number."""

ZEROS = 0
EVENTS_NAME = "writes.bin"
SECTORS_NAME = "sectors.bin"

_MAGIC = b"FTWRITE1"
_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_EVENT = struct.Struct("<BBHIQQQQQ")
_RUN = struct.Struct("<qI")
_FUA = 0x80
_KNOWN_MAX = 1 << 20
_ZERO_SECTOR = bytes(SECTOR_BYTES)


class WriteEventKind(IntEnum):
    """Kind of a write log's event."""

    ARRIVAL = 1
    COMPLETION = 2


@dataclass(frozen=True, slots=True)
class WriteEvent:
    """Arrival or completion of a write, a flush, a discard or a write of zeros."""

    kind: WriteEventKind
    operation: Operation
    fua: bool
    disk: int
    """The user's disk, from 0."""
    sequence: int
    """The request's place in the log, the same for arrival and completion."""
    time_ns: int
    first_sector: int
    sector_count: int
    output_bytes: int
    """How much the job had printed by then."""
    contents: Contents | None = None
    """Of a write's sectors, in its arrival."""


class WriteLogWriter:
    """Writes a log into a directory. A context manager. Owned by one thread."""

    def __init__(self, directory: Path, disk_sectors: Sequence[int]) -> None:
        """``disk_sectors``: the size of each disk.

        Raises:
            InputError: the directory cannot be written.
        """
        self._directory = directory
        self._known: dict[bytes, int] = {}
        self._stored_count = 0
        self._sequence = 0
        self._cleanup = ExitStack()
        try:
            self._events = self._open(EVENTS_NAME)
            self._sectors = self._open(SECTORS_NAME)
            self._events.write(_MAGIC + _COUNT.pack(len(disk_sectors)))
            self._events.write(b"".join(map(_SIZE.pack, disk_sectors)))
        except OSError as error:
            self._cleanup.close()
            raise InputError(
                f"--out {directory}: not writable ({error.strerror}); name another directory"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write out the rest. Idempotent.

        Raises:
            RunError: there is no room for it.
        """
        try:
            self._cleanup.close()
        except OSError as error:
            raise self._full(error) from error

    def arrive(self, disk: int, request: Request, now_ns: int, output_bytes: int) -> int:
        """Note an arrival; return the request's sequence number, for its completion.

        Raises:
            RunError: there is no room for it.
        """
        self._sequence += 1
        contents = b""
        try:
            if request.operation is Operation.WRITE:
                contents = self._stored(request.data or b"")
            event = self._event(
                WriteEventKind.ARRIVAL, disk, request, self._sequence, now_ns, output_bytes
            )
            self._events.write(event + contents)
        except OSError as error:
            raise self._full(error) from error
        return self._sequence

    def complete(
        self, disk: int, request: Request, sequence: int, now_ns: int, output_bytes: int
    ) -> None:
        """Note a completion.

        Raises:
            RunError: there is no room for it.
        """
        try:
            self._events.write(
                self._event(
                    WriteEventKind.COMPLETION, disk, request, sequence, now_ns, output_bytes
                )
            )
        except OSError as error:
            raise self._full(error) from error

    def _open(self, name: str) -> BinaryIO:
        return self._cleanup.enter_context((self._directory / name).open("wb", 1 << 20))

    def _event(
        self,
        kind: WriteEventKind,
        disk: int,
        request: Request,
        sequence: int,
        now_ns: int,
        output_bytes: int,
    ) -> bytes:
        return _EVENT.pack(
            kind,
            request.operation | (_FUA if request.fua else 0),
            disk,
            0,
            sequence,
            now_ns,
            request.offset_bytes // SECTOR_BYTES,
            request.length_bytes // SECTOR_BYTES,
            output_bytes,
        )

    def _stored(self, data: Buffer) -> bytes:
        """Store what is new of a write's sectors; return their contents as runs."""
        view = bytes(data)
        runs: list[list[int]] = []
        for offset_bytes in range(0, len(view), SECTOR_BYTES):
            number = self._number(view[offset_bytes : offset_bytes + SECTOR_BYTES])
            # A run of zeros, or of contents that were stored one after the other.
            if runs and number == (runs[-1][0] and runs[-1][0] + runs[-1][1]):
                runs[-1][1] += 1
            else:
                runs.append([number, 1])
        return _COUNT.pack(len(runs)) + b"".join(_RUN.pack(*run) for run in runs)

    def _number(self, sector: bytes) -> int:
        if sector == _ZERO_SECTOR:
            return ZEROS
        digest = hashlib.blake2b(sector, digest_size=16).digest()
        number = self._known.get(digest)
        if number is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._sectors.write(sector)
            self._stored_count += 1
            number = self._known[digest] = self._stored_count
        return number

    def _full(self, error: OSError) -> RunError:
        return RunError(
            f"cannot write the write log to {self._directory}: {error.strerror}; "
            "free space, or name another --out"
        )


class WriteLog:
    """A write log as it is read. A context manager. :meth:`sector` may be called by any thread."""

    def __init__(self, directory: Path) -> None:
        """Open the log in a directory.

        Raises:
            InputError: there is none, or it is damaged.
        """
        self._path = directory / EVENTS_NAME
        try:
            with self._path.open("rb") as file:
                head = file.read(len(_MAGIC) + _COUNT.size)
                if not head.startswith(_MAGIC) or len(head) < len(_MAGIC) + _COUNT.size:
                    raise self._damaged("it is none")
                (disk_count,) = _COUNT.unpack(head[len(_MAGIC) :])
                sizes = file.read(disk_count * _SIZE.size)
                if len(sizes) < disk_count * _SIZE.size:
                    raise self._damaged("it is truncated")
                self._first_event_bytes = file.tell()
            self._sectors = (directory / SECTORS_NAME).open("rb", buffering=0)
        except OSError as error:
            raise InputError(
                f"{directory}: has no write log ({error.strerror}); record the job again"
            ) from error
        #: Sectors of each disk.
        self.disk_sectors = tuple(size for (size,) in _SIZE.iter_unpack(sizes))
        self._stored_count = os.fstat(self._sectors.fileno()).st_size // SECTOR_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sectors.close()

    def events(self) -> Iterator[WriteEvent]:
        """All events, in order; as often as it is called.

        Raises:
            InputError: the log is damaged.
        """
        with self._path.open("rb") as file:
            file.seek(self._first_event_bytes)
            while head := file.read(_EVENT.size):
                yield self._event(file, head)

    def read(self, first_content: int, count: int) -> bytes:
        """The bytes of contents that were stored one after the other.

        Raises:
            OSError: they cannot be read.
        """
        offset_bytes = (first_content - 1) * SECTOR_BYTES
        data = os.pread(self._sectors.fileno(), count * SECTOR_BYTES, offset_bytes)
        if len(data) < count * SECTOR_BYTES:
            raise OSError(f"{self._path.parent / SECTORS_NAME} is truncated")
        return data

    def _event(self, file: BinaryIO, head: bytes) -> WriteEvent:
        if len(head) < _EVENT.size:
            raise self._damaged("it is truncated")
        kind, operation, disk, _, sequence, time_ns, first, count, output_bytes = _EVENT.unpack(
            head
        )
        try:
            kind, code = WriteEventKind(kind), Operation(operation & ~_FUA)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        if disk >= len(self.disk_sectors) or first + count > self.disk_sectors[disk]:
            raise self._damaged("a write is beyond its disk")
        contents = None
        if kind is WriteEventKind.ARRIVAL and code is Operation.WRITE:
            contents = self._contents(file, count)
        return WriteEvent(
            kind,
            code,
            bool(operation & _FUA),
            disk,
            sequence,
            time_ns,
            first,
            count,
            output_bytes,
            contents,
        )

    def _contents(self, file: BinaryIO, sector_count: int) -> Contents:
        head = file.read(_COUNT.size)
        run_count = _COUNT.unpack(head)[0] if len(head) == _COUNT.size else 0
        runs = file.read(run_count * _RUN.size) if run_count <= sector_count else b""
        if len(runs) < run_count * _RUN.size:
            raise self._damaged("it is truncated")
        parts = [
            np.arange(number, number + length) if number else np.zeros(length, np.int64)
            for number, length in _RUN.iter_unpack(runs)
            if length <= sector_count
        ]
        contents: Contents = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        if len(contents) != sector_count:
            raise self._damaged("a write lacks some of its data")
        if sector_count and not 0 <= contents.min() <= contents.max() <= self._stored_count:
            raise self._damaged("a write's data is not there")
        return contents

    def _damaged(self, how: str) -> InputError:
        return InputError(f"{self._path}: is no sound write log: {how}; record the job again")
