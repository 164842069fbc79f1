"""From a file to a trace: opening, unpacking, choosing a disk, sorting by arrival."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, TypeAlias

import numpy as np

from freezingtime.errors import InputError
from freezingtime.trace.readers.columns import Trace
from freezingtime.trace.readers.formats import format_named, format_of
from freezingtime.trace.readers.lines import Lines, Record
from freezingtime.units import MAX_VALUE

Progress: TypeAlias = Callable[[int, int], None]

_GZIP_MAGIC = b"\x1f\x8b"
_LINE_MAX = 1 << 16
_PROGRESS_PERIOD = 1 << 14


def read_trace(
    path: Path,
    *,
    format_name: str | None = None,
    disk: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Trace:
    """Read a trace, gzipped or not, of a format that is named or found by its first line.

    ``disk`` picks the requests of one disk, by the trace's own name for it; it may be left
    out where there is one only. Times start at the first arrival, except those of a run's
    record. ``progress`` is told bytes of the file read and in all.

    Raises:
        InputError: the file cannot be read, a line is wrong, there are several disks to
            choose from, or there is no request in it. Nothing is skipped in silence.
    """
    file = str(path)
    with _opened(path) as (binary, text):
        # A pipe has neither a size nor a position.
        total_bytes = os.fstat(binary.fileno()).st_size if binary.seekable() else 0
        texts = _bounded_lines(file, text)
        first_line = next(texts, None)
        if first_line is None:
            raise InputError(f"{file}: is empty; name another trace")
        chosen = (
            format_of(file, first_line.strip())
            if format_name is None
            else format_named(format_name)
        )
        lines = Lines(file, itertools.chain([first_line], texts))
        columns = _Columns(file, disk, keeps_times=chosen.keeps_times)
        for number, record in enumerate(chosen.parse(lines)):
            columns.append(record, lines)
            if number % _PROGRESS_PERIOD == 0 and total_bytes:
                progress(binary.tell(), total_bytes)
        progress(total_bytes, total_bytes)
    return columns.trace()


class _Columns:
    """Collects records of one disk, 34 bytes each."""

    def __init__(self, file: str, disk: str | None, *, keeps_times: bool) -> None:
        self._file = file
        self._wanted = disk
        self._keeps_times = keeps_times
        self._seen: set[str] = set()
        self._start_ns: int | None = 0 if keeps_times else None
        self._arrival_ns = array("q")
        self._operation = array("B")
        self._offset_bytes = array("q")
        self._length_bytes = array("q")
        self._fua = array("B")
        self._sequence = array("q")

    def append(self, record: Record, lines: Lines) -> None:
        if record.disk not in self._seen:
            self._see(record.disk, lines)
        if self._wanted is not None and record.disk != self._wanted:
            return
        if self._start_ns is None:
            self._start_ns = record.arrival_ns
        # File times do not fit into 64 bits of ns, their differences do.
        arrival_ns = record.arrival_ns - self._start_ns
        if abs(arrival_ns) > MAX_VALUE // 2:
            raise lines.error("time", str(record.arrival_ns), "too far from the first request's")
        self._arrival_ns.append(arrival_ns)
        self._operation.append(record.operation)
        self._offset_bytes.append(record.offset_bytes)
        self._length_bytes.append(record.length_bytes)
        self._fua.append(record.fua)
        self._sequence.append(record.sequence)

    def _see(self, disk: str, lines: Lines) -> None:
        self._seen.add(disk)
        if self._wanted is None and len(self._seen) > 1:
            raise lines.error(
                "disk", disk, f"is a second one; choose with --trace-disk: {self._names()}"
            )

    def _names(self) -> str:
        return ", ".join(sorted(self._seen))

    def trace(self) -> Trace:
        if not self._arrival_ns:
            if self._wanted is not None and self._seen:
                raise InputError(
                    f"--trace-disk {self._wanted}: no such disk in {self._file}; "
                    f"there is: {self._names()}"
                )
            raise InputError(f"{self._file}: no request in it; name another trace or --format")
        arrival_ns = np.frombuffer(self._arrival_ns, dtype=np.int64)
        order = np.lexsort((np.frombuffer(self._sequence, dtype=np.int64), arrival_ns))
        return Trace(
            arrival_ns[order] - (0 if self._keeps_times else arrival_ns.min()),
            np.frombuffer(self._operation, dtype=np.uint8)[order],
            np.frombuffer(self._offset_bytes, dtype=np.int64)[order],
            np.frombuffer(self._length_bytes, dtype=np.int64)[order],
            np.frombuffer(self._fua, dtype=np.bool_)[order],
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, TextIO]]:
    """The file as it is on the disk, for its position, and its text."""
    try:
        with path.open("rb") as binary:
            packed = binary.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            unpacked = gzip.GzipFile(fileobj=binary) if packed else binary
            with io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="replace") as text:
                yield binary, text
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or f"is damaged: {error}"
        raise InputError(f"{path}: {reason}; name a readable trace") from error


def _bounded_lines(file: str, text: TextIO) -> Iterator[str]:
    """Lines of at most 64 KiB, so that a file without any does not fill the memory."""
    while line := text.readline(_LINE_MAX):
        if len(line) == _LINE_MAX and not line.endswith("\n"):
            raise InputError(f"{file}: a line has more than {_LINE_MAX} characters; is it a text?")
        yield line
