"""fio's latency logs: ``write_lat_log``, whole, submission or completion latencies.

A line is ``time, value, direction, size[, offset], priority`` (fio's manual, "Log File
Formats"): ms since the start of the job at completion, ns of latency, 0 for reads, 1 for
writes, 2 for trims, and bytes. Offsets are there with ``log_offset``. A sixth number tells
whether the fifth is one; so logs of fio before 3.17, which had no priority, are read
without their offsets only. Averages (``log_avg_msec``) look the same, and are not told apart.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.trace_device import MAX_LENGTH_BYTES
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.readers.lines import Lines
from freezingtime.trace.readers.text import bounded_lines, opened

_COLUMNS = ("time", "value", "direction", "size", "offset", "priority")
_DIRECTIONS = {"0": Operation.READ, "1": Operation.WRITE, "2": Operation.DISCARD}
_PRIORITY = re.compile(r"[01]|0x[0-9a-f]{4}")
_NS_PER_MS = 10**6


@dataclass(frozen=True, slots=True)
class LatencyLog:
    """The requests of a latency log as columns, in the order of the file."""

    time_ns: IntColumn
    """At completion, since the start of the job; in whole ms."""
    latency_ns: IntColumn
    operation: NDArray[np.uint8]
    length_bytes: IntColumn
    offset_bytes: IntColumn | None
    """None: logged without offsets."""


def read_latency_log(path: Path) -> LatencyLog:
    """Read a latency log, gzipped or not.

    Raises:
        InputError: the file cannot be read, a line is wrong, or there is none.
    """
    columns = [array("q") for _ in _COLUMNS[:-1]]
    width = 0
    with opened(path) as (_, text):
        lines = Lines(str(path), bounded_lines(str(path), text))
        for line in lines:
            fields = [field.strip() for field in line.split(",")]
            width = width or len(fields)
            for column, value in zip(columns, _values(lines, fields, width), strict=True):
                column.append(value)
    if not width:
        raise InputError(f"{path}: no request in it; name a latency log of fio")
    time_ms, latency_ns, operation, length_bytes, offset_bytes = (
        np.frombuffer(column, dtype=np.int64) for column in columns
    )
    return LatencyLog(
        time_ms * _NS_PER_MS,
        latency_ns,
        operation.astype(np.uint8),
        length_bytes,
        offset_bytes if width == len(_COLUMNS) else None,
    )


def _values(lines: Lines, fields: list[str], width: int) -> tuple[int, int, int, int, int]:
    """The numbers of a line, without the priority; its offset is 0 if there is none."""
    if len(fields) != width or not len(_COLUMNS) - 2 <= width <= len(_COLUMNS):
        names = ", ".join(_COLUMNS)
        raise lines.error("line", ", ".join(fields), f"must have the same fields as all: {names}")
    if width > len(_COLUMNS) - 2 and not _PRIORITY.fullmatch(fields[-1]):
        raise lines.error("priority", fields[-1], "must be 0, 1 or 0x and four digits")
    time, value, direction, size = fields[:4]
    return (
        lines.whole("time", time, most=2**63 // _NS_PER_MS - 1),
        lines.whole("value", value),
        lines.operation("direction", direction, _DIRECTIONS),
        lines.whole("size", size, most=MAX_LENGTH_BYTES),
        lines.whole("offset", fields[4]) if width == len(_COLUMNS) else 0,
    )
