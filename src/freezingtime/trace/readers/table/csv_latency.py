# SPDX-License-Identifier: GPL-2.0-or-later
"""CSV with named columns, as latencies: SNIA's block traces, and whatever has such a header.

The columns are those of :mod:`~freezingtime.trace.readers.table.header`, and one of a latency. Our
own export has ``arrival_ns`` and ``delivery_ns`` instead. A column of depths, ``queue_depth``,
``depth``, ``qd`` or ``iodepth``, is used if it is there; else the depth follows from arrival
times, if there are any. Neither times nor offsets are needed otherwise. A line without a latency
is left out, and counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn, queue_depths
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.lines import Lines
from freezingtime.trace.readers.reading import span_text
from freezingtime.trace.readers.table import header as names
from freezingtime.trace.readers.table.fields import (
    LatencyField,
    LengthField,
    OperationField,
    TimeField,
)
from freezingtime.trace.readers.table.header import Column, Header, lacking, parse_header
from freezingtime.trace.readers.table.named_csv import need
from freezingtime.units import MAX_VALUE

_START_NAME = ("arrivalns",)
_DEPTH_NAMES = ("queuedepth", "depth", "qd", "iodepth")
_DEPTH_MAX = 2**20
_ASSUMED_NOTE = "has neither queue depths nor arrival times: depth 1 is assumed (--depth)"
# No unit is assumed that makes the mean request take longer.
_MEAN_ASSUMED_MAX_NS = 10 * 10**9


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns to read from a line; None: absent."""

    operation: OperationField
    length: LengthField
    latency: LatencyField | None
    time: TimeField | None
    start: Column | None
    end: Column | None
    depth: Column | None
    disk: Column | None


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return _missing(parse_header(first_line, _missing)) is None


def read_csv(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
    """The latencies of one disk's requests, and the names of all disks in the file.

    With several disks and none chosen, the latencies are those of all.
    """
    texts = iter(lines)
    first_line = next(texts, "")
    header = parse_header(first_line, _missing)
    missing = _missing(header)
    if missing:
        raise lines.error("header", first_line, missing)
    columns = _locate(lines, header)
    operation, length_bytes, depth, latency_ns, arrival_ns = (array("q") for _ in range(5))
    disks: set[str] = set()
    first_ns: int | None = None
    for line in texts:
        fields = lines.split(line, header.separator, header.names)
        name = "" if columns.disk is None else columns.disk.of(fields)
        disks.add(name)
        if disk is not None and name != disk:
            continue
        took_ns = _latency_ns(lines, fields, columns)
        if took_ns is None:
            lines.leave_out("lines without a latency")
            continue
        at_ns = 0 if columns.time is None else columns.time.ns(lines, fields)
        first_ns = at_ns if first_ns is None else first_ns
        if abs(at_ns - first_ns) > MAX_VALUE // 4:
            raise lines.error("time", str(at_ns), "too far from the first request's")
        kind = _operation(lines, fields, columns)
        if kind is None:
            continue
        is_flush = kind is Operation.FLUSH
        operation.append(kind)
        length_bytes.append(0 if is_flush else columns.length.length_bytes(lines, fields))
        depth.append(_depth(lines, fields, columns))
        latency_ns.append(took_ns)
        arrival_ns.append(at_ns - first_ns)
    columns.operation.finish(lines)
    columns.length.finish(lines)
    parts = [np.frombuffer(part, np.int64) for part in (operation, length_bytes, depth, latency_ns)]
    _check_unit(lines, columns, parts[3])
    span_ns: int | None = None
    if columns.time is not None:
        arrivals = np.frombuffer(arrival_ns, np.int64)
        order = np.argsort(arrivals, kind="stable")
        parts = [part[order] for part in parts]
        if columns.depth is None:
            parts[2] = _depths(arrivals[order], parts[3])
        span_ns = int(np.ptp(arrivals)) if len(arrivals) > 1 else None
    elif columns.depth is None:
        lines.note(_ASSUMED_NOTE)
    operations, lengths_bytes, depths, latencies_ns = parts
    read = Latencies(
        operations.astype(np.uint8),
        lengths_bytes,
        depths,
        latencies_ns,
        np.ones(len(depths), np.bool_),
        span_ns=span_ns,
    )
    return read, disks


def _depths(arrival_ns: IntColumn, latency_ns: IntColumn) -> IntColumn:
    return queue_depths(arrival_ns, arrival_ns + latency_ns)


def _check_unit(lines: Lines, columns: _Columns, latency_ns: IntColumn) -> None:
    """Refuse latencies that an assumed unit makes absurd."""
    if columns.latency is None or not columns.latency.is_assumed or not len(latency_ns):
        return
    mean_ns = float(latency_ns.mean())
    if mean_ns > _MEAN_ASSUMED_MAX_NS:
        raise InputError(
            f"{lines.file}: {columns.latency.name}: in seconds, the mean request takes "
            f"{span_text(mean_ns)}; give the unit with --time-unit ms, us or ns"
        )


def _missing(header: Header) -> str | None:
    """Return the columns a header lacks, or None."""
    needed: Mapping[str, Collection[str]] = {
        "operation": names.OPERATIONS,
        "size": names.LENGTHS,
    }
    if header.find(_START_NAME) is None or header.find(names.ENDS) is None:
        needed = {**needed, "latency": names.LATENCIES}
    return lacking(header, needed)


def _locate(lines: Lines, header: Header) -> _Columns:
    kind, length = need(header, names.OPERATIONS), need(header, names.LENGTHS)
    latency, time = header.find(names.LATENCIES), header.find(names.TIMES)
    return _Columns(
        OperationField(lines, kind),
        LengthField(length),
        None if latency is None else LatencyField(lines, latency),
        None if time is None else TimeField(time),
        header.find(_START_NAME),
        header.find(names.ENDS),
        header.find(_DEPTH_NAMES),
        header.find(names.DISKS),
    )


def _latency_ns(lines: Lines, fields: list[str], columns: _Columns) -> int | None:
    """A request's latency; None if its line has none."""
    if columns.latency is not None:
        took_ns = columns.latency.ns(lines, fields)
    else:
        took_ns = _whole(lines, fields, columns.end) - _whole(lines, fields, columns.start)
    if took_ns is not None and not 0 <= took_ns <= MAX_VALUE // 4:
        raise lines.error("latency", str(took_ns), f"must be from 0 to {MAX_VALUE // 4} ns")
    return took_ns


def _operation(lines: Lines, fields: list[str], columns: _Columns) -> Operation | None:
    """Return the operation that took the time: the last one, of a write with a flush."""
    asked = [operation for operation, _ in columns.operation.operations(lines, fields)]
    return asked[-1] if asked else None


def _depth(lines: Lines, fields: list[str], columns: _Columns) -> int:
    if columns.depth is None:
        return 1
    return lines.whole(columns.depth.name, columns.depth.of(fields), least=1, most=_DEPTH_MAX)


def _whole(lines: Lines, fields: list[str], column: Column | None) -> int:
    return 0 if column is None else lines.whole(column.name, column.of(fields))
