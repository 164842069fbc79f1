"""CSV with named columns, as latencies: SNIA's block traces, and whatever has such a header.

The columns are those of :mod:`~freezingtime.trace.readers.named_csv`, and one of a latency:
``latency``, ``response``, ``response_time`` (seconds where the name says no unit:
``latency_us``). Our own export has ``arrival_ns`` and ``delivery_ns`` instead. A column of
depths, ``queue_depth``, ``depth``, ``qd`` or ``iodepth``, is used if it is there; else the depth
follows from arrival times, if there are any. Neither times nor offsets are needed otherwise.
A line without a latency is left out, and counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from freezingtime.device.trace_device import MAX_LENGTH_BYTES
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn, queue_depths
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.lines import Lines
from freezingtime.trace.readers.named_csv import (
    DISK_NAMES,
    LENGTH_UNITS_BYTES,
    OPERATION_NAMES,
    OPERATIONS,
    TIME_DIGITS,
    plain_names,
)
from freezingtime.units import MAX_VALUE

_LATENCY_DIGITS = {
    f"{name}{unit}": digits
    for name in ("latency", "response", "responsetime")
    for unit, digits in {"": 9, "s": 9, "ms": 6, "us": 3, "ns": 0}.items()
}
_END_NAME = "deliveryns"
_DEPTH_NAMES = ("queuedepth", "depth", "qd", "iodepth")
_DEPTH_MAX = 2**20
_ASSUMED_NOTE = "says neither depths nor times of arrival: depth 1 is assumed (--depth)"


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where things stand in a line; None: nowhere."""

    names: Sequence[str]
    operation: int
    length: int
    length_unit_bytes: int
    latency: int | None
    latency_digits: int
    time: int | None
    time_digits: int
    end: int | None
    depth: int | None
    disk: int | None


def recognizes(first_line: str) -> bool:
    """Whether a file that begins with this line is of this format."""
    return _missing(plain_names(first_line)) is None


def read_csv(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
    """The latencies of one disk's requests, and the names of all disks in the file.

    With several disks and none chosen, the latencies are those of all.
    """
    texts = iter(lines)
    header = next(texts, "")
    missing = _missing(plain_names(header))
    if missing:
        raise lines.error("header", header, missing)
    columns = _locate(header)
    operation, length_bytes, depth, latency_ns, arrival_ns = (array("q") for _ in range(5))
    disks: set[str] = set()
    left_out_count = 0
    first_ns: int | None = None
    for line in texts:
        fields = [field.strip() for field in lines.split(line, ",", columns.names)]
        name = "" if columns.disk is None else fields[columns.disk]
        disks.add(name)
        if disk is not None and name != disk:
            continue
        took_ns = _latency_ns(lines, fields, columns)
        if took_ns is None:
            left_out_count += 1
            continue
        at_ns = _time_ns(lines, fields, columns)
        first_ns = at_ns if first_ns is None else first_ns
        if abs(at_ns - first_ns) > MAX_VALUE // 4:
            raise lines.error("time", str(at_ns), "too far from the first request's")
        kind = _operation(lines, fields, columns)
        operation.append(kind)
        length_bytes.append(0 if kind is Operation.FLUSH else _length_bytes(lines, fields, columns))
        depth.append(_depth(lines, fields, columns))
        latency_ns.append(took_ns)
        arrival_ns.append(at_ns - first_ns)
    notes = [f"left out {left_out_count} lines without a latency"] if left_out_count else []
    parts = [np.frombuffer(part, np.int64) for part in (operation, length_bytes, depth, latency_ns)]
    if columns.time is not None:
        arrivals = np.frombuffer(arrival_ns, np.int64)
        order = np.argsort(arrivals, kind="stable")
        parts = [part[order] for part in parts]
        if columns.depth is None:
            parts[2] = _depths(arrivals[order], parts[3])
    elif columns.depth is None:
        notes.append(_ASSUMED_NOTE)
    operations, lengths_bytes, depths, latencies_ns = parts
    read = Latencies(
        operations.astype(np.uint8),
        lengths_bytes,
        depths,
        latencies_ns,
        np.ones(len(depths), np.bool_),
        tuple(notes),
    )
    return read, disks


def _depths(arrival_ns: IntColumn, latency_ns: IntColumn) -> IntColumn:
    return queue_depths(arrival_ns, arrival_ns + latency_ns)


def _missing(names: Sequence[str]) -> str | None:
    """What a header lacks, or None."""
    if "arrivalns" in names and _END_NAME in names:
        needed: Mapping[str, Sequence[str]] = {}
    else:
        needed = {"latency": list(_LATENCY_DIGITS)}
    needed = {"operation": OPERATION_NAMES, "size": list(LENGTH_UNITS_BYTES), **needed}
    for what, known in needed.items():
        if not any(name in known for name in names):
            return f"has no column of {what}; it is one of: {', '.join(known)}"
    return None


def _locate(header: str) -> _Columns:
    names = plain_names(header)

    def maybe(known: Sequence[str]) -> int | None:
        return next((index for index, name in enumerate(names) if name in known), None)

    operation, length = maybe(OPERATION_NAMES), maybe(list(LENGTH_UNITS_BYTES))
    if operation is None or length is None:
        raise InputError(f"{header}: has no column of operation or size")
    latency, time = maybe(list(_LATENCY_DIGITS)), maybe(list(TIME_DIGITS))
    return _Columns(
        names=header.split(","),
        operation=operation,
        length=length,
        length_unit_bytes=LENGTH_UNITS_BYTES[names[length]],
        latency=latency,
        latency_digits=0 if latency is None else _LATENCY_DIGITS[names[latency]],
        time=time,
        time_digits=0 if time is None else TIME_DIGITS[names[time]],
        end=maybe([_END_NAME]),
        depth=maybe(_DEPTH_NAMES),
        disk=maybe(DISK_NAMES),
    )


def _latency_ns(lines: Lines, fields: Sequence[str], columns: _Columns) -> int | None:
    """A request's latency; None if its line has none."""
    if columns.latency is not None:
        text = fields[columns.latency]
        name = columns.names[columns.latency]
        took_ns = lines.time_ns(name, text, columns.latency_digits) if text else None
    else:
        took_ns = _whole(lines, fields, columns, columns.end) - _time_ns(lines, fields, columns)
    if took_ns is not None and not 0 <= took_ns <= MAX_VALUE // 4:
        raise lines.error("latency", str(took_ns), f"must be from 0 to {MAX_VALUE // 4} ns")
    return took_ns


def _time_ns(lines: Lines, fields: Sequence[str], columns: _Columns) -> int:
    if columns.time is None:
        return 0
    return lines.time_ns(columns.names[columns.time], fields[columns.time], columns.time_digits)


def _operation(lines: Lines, fields: Sequence[str], columns: _Columns) -> Operation:
    name = columns.names[columns.operation]
    return lines.operation(name, fields[columns.operation].lower(), OPERATIONS)


def _length_bytes(lines: Lines, fields: Sequence[str], columns: _Columns) -> int:
    unit_bytes = columns.length_unit_bytes
    name, text = columns.names[columns.length], fields[columns.length]
    return unit_bytes * lines.whole(name, text, least=1, most=MAX_LENGTH_BYTES // unit_bytes)


def _depth(lines: Lines, fields: Sequence[str], columns: _Columns) -> int:
    if columns.depth is None:
        return 1
    name, text = columns.names[columns.depth], fields[columns.depth]
    return lines.whole(name, text, least=1, most=_DEPTH_MAX)


def _whole(lines: Lines, fields: Sequence[str], columns: _Columns, place: int | None) -> int:
    return 0 if place is None else lines.whole(columns.names[place], fields[place])
