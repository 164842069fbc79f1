# SPDX-License-Identifier: GPL-2.0-or-later
"""From a file to a trace: choosing a format and a disk, sorting by arrival."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from freezingtime.errors import InputError
from freezingtime.trace.readers.arrivals import Ordered, put_in_order
from freezingtime.trace.readers.columns import Trace
from freezingtime.trace.readers.formats import RECORD_FORMAT, format_by_name, format_of
from freezingtime.trace.readers.hints import NO_HINTS, TIME_UNITS, Hints
from freezingtime.trace.readers.lines import Lines, TraceRequest, until_truncated
from freezingtime.trace.readers.reading import OnReading, Reading, ignore_reading, span_text
from freezingtime.trace.readers.text import bounded_lines, opened
from freezingtime.trace.record_paths import is_record
from freezingtime.units import MAX_VALUE, counted

Progress: TypeAlias = Callable[[int, int], None]

_PROGRESS_PERIOD = 1 << 14
# So many disks of a trace are named.
_NAMED = 20
# The longest mean gap between requests that is believed of a unit that a file says, and of one
# that is assumed.
_GAP_MAX_NS = 100_000 * 10**9
_GAP_ASSUMED_MAX_NS = 100 * 10**9


def read_trace(
    path: Path,
    *,
    format_name: str | None = None,
    disk: str | None = None,
    hints: Hints = NO_HINTS,
    progress: Progress = lambda done, total: None,
    notify: Callable[[str], None] = lambda notice: None,
    on_reading: OnReading = ignore_reading,
) -> Trace:
    """Read a trace of a format that is named or found by its content; text may be gzipped.

    ``disk`` picks the requests of one disk, by the trace's own name for it; it may be left
    out where there is one only. Times start at the first arrival, except those of a run's
    record. ``hints`` add what the file lacks. ``progress`` gets the bytes of the file read and
    in total. ``notify`` is called with one line if a killed run left the record;
    ``on_reading``, what was read and how.

    Raises:
        InputError: the file cannot be read, a line is wrong, there are several disks to
            choose from, or there is no request in it. Nothing is skipped in silence.
    """
    if format_name == RECORD_FORMAT or (format_name is None and is_record(path)):
        # Imported here, since pyarrow takes its time and other traces do without.
        from freezingtime.trace.readers.record import read_record

        trace, name = read_record(path, disk, notify, progress)
        on_reading(Reading(path, RECORD_FORMAT, len(trace), trace.span_ns, name))
        return trace
    trace, reading = _read_text(path, format_name, disk, hints, progress)
    on_reading(reading)
    return trace


def _read_text(
    path: Path, format_name: str | None, disk: str | None, hints: Hints, progress: Progress
) -> tuple[Trace, Reading]:
    file = str(path)
    with opened(path) as (binary, text):
        # A pipe has neither a size nor a position.
        total_bytes = os.fstat(binary.fileno()).st_size if binary.seekable() else 0
        lines = Lines(file, bounded_lines(file, text), hints)
        sample = lines.peek()
        if not sample:
            raise InputError(f"{file}: is empty; name another trace")
        chosen = format_of(file, sample) if format_name is None else format_by_name(format_name)
        columns = _ColumnBuilder(file, disk)
        for number, record in enumerate(until_truncated(lines, chosen.parse(lines))):
            columns.append(record, lines)
            if number % _PROGRESS_PERIOD == 0 and total_bytes:
                progress(binary.tell(), total_bytes)
        progress(total_bytes, total_bytes)
    trace, ordered = columns.trace(is_one_clock=lines.is_one_clock)
    _check_pace(lines, trace)
    facts, notes = (*lines.facts, *ordered.facts), (*lines.notes, *ordered.notes)
    name, count = columns.disk
    reading = Reading(path, chosen.name, len(trace), trace.span_ns, name, count, facts, notes)
    return trace, reading


class _ColumnBuilder:
    """Collects records of one disk, 26 bytes each; of others, how many there are."""

    def __init__(self, file: str, disk: str | None) -> None:
        self._file = file
        self._wanted = disk
        self._counts: Counter[str] = Counter()
        self._start_ns: int | None = None
        self._arrival_ns = array("q")
        self._operation = array("B")
        self._offset_bytes = array("q")
        self._length_bytes = array("q")
        self._fua = array("B")

    def append(self, record: TraceRequest, lines: Lines) -> None:
        self._counts[record.disk] += 1
        # With a second disk and none chosen there will be a question, and no trace.
        if record.disk != self._wanted and (self._wanted is not None or len(self._counts) > 1):
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

    @property
    def disk(self) -> tuple[str, int]:
        """The disk that was read, and how many there are."""
        return self._wanted or next(iter(self._counts), ""), len(self._counts)

    def _names(self) -> str:
        """The disks and how many requests each has, the most first."""
        named = [
            f"{name} ({counted(count, 'request')})"
            for name, count in self._counts.most_common(_NAMED)
        ]
        rest = len(self._counts) - len(named)
        return ", ".join([*named, f"and {rest} more"] if rest else named)

    def trace(self, *, is_one_clock: bool) -> tuple[Trace, Ordered]:
        """Return the requests in order, and how their times were interpreted."""
        if self._wanted is None and len(self._counts) > 1:
            raise InputError(
                f"{self._file}: has {len(self._counts)} disks; "
                f"choose with --trace-disk: {self._names()}"
            )
        if not self._arrival_ns:
            if self._wanted is not None and self._counts:
                raise InputError(
                    f"--trace-disk {self._wanted}: no such disk in {self._file}; "
                    f"available: {self._names()}"
                )
            raise InputError(f"{self._file}: contains no requests; name another trace or --format")
        arrival_ns = np.frombuffer(self._arrival_ns, dtype=np.int64)
        ordered = put_in_order(
            self._file, self._start_ns or 0, arrival_ns, is_one_clock=is_one_clock
        )
        trace = Trace(
            ordered.arrival_ns,
            np.frombuffer(self._operation, dtype=np.uint8),
            np.frombuffer(self._offset_bytes, dtype=np.int64),
            np.frombuffer(self._length_bytes, dtype=np.int64),
            np.frombuffer(self._fua, dtype=np.bool_),
        )
        return trace if ordered.order is None else trace.in_order(ordered.order), ordered


def _check_pace(lines: Lines, trace: Trace) -> None:
    """Refuse a pace that no disk's load has, and that another unit of time would explain.

    Raises:
        InputError: requests are too far apart, and no unit was given.
    """
    if trace.span_ns is None or lines.hints.time_digits is not None:
        return
    assumed = lines.assumed_unit
    gap_ns = trace.span_ns / (len(trace) - 1)
    if gap_ns > (_GAP_MAX_NS if assumed is None else _GAP_ASSUMED_MAX_NS):
        why = "by its units" if assumed is None else f"if its times are in {assumed}"
        raise InputError(
            f"{lines.file}: has a request every {span_text(gap_ns)}, {why}; "
            f"give their unit with --time-unit: {', '.join(TIME_UNITS)}"
        )
