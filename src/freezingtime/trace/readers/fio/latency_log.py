# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's latency logs: ``write_lat_log``, whole, submission or completion latencies.

A line is ``time, value, direction, size[, offset], priority[, issue time]`` (fio's manual, "Log
File Formats"): ms since the start of the job at completion, ns of latency, 0 for reads, 1 for
writes, 2 for trims, and bytes. Offsets are there with ``log_offset``, and with
``log_issue_time`` ns since the start of the job when the request was issued.

Four columns are of fio 2, whose latencies are microseconds, or of fio 3.0 to 3.16, without
priorities, whose are ns: only the user knows. Averages (``log_avg_msec``) have sizes of 0, and
are refused: they say nothing of single requests. So are logs of IOPS and of bandwidth, which
look the same but for their names, by their values: see :func:`refuse_other_logs`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.trace_device import MAX_LENGTH_BYTES
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.readers.hints import NO_HINTS, TIME_UNITS, Hints
from freezingtime.trace.readers.lines import Lines, until_truncated
from freezingtime.trace.readers.text import bounded_lines, opened

_REQUIRED = ("time", "value", "direction", "size")
_ALL_NAMES = "time, value, direction, size, offset, priority, issue time"
_DIRECTIONS = {"0": Operation.READ, "1": Operation.WRITE, "2": Operation.DISCARD}
_PRIORITY = re.compile(r"[01]|0x[0-9a-f]{4}")
_NS_PER_MS = 10**6
# Of fio's units for latencies.
_UNIT_DIGITS = (TIME_UNITS["us"], TIME_UNITS["ns"])

#: What fio appends to the name that the user gave: "log_clat.1.log", or "log_lat.log" for all jobs.
_NAME_OF_LATENCIES = re.compile(r"_c?lat(\.\d+)?\.log(\.|$)")

# Less in flight on average is a load with pauses, or no latencies.
_IDLE_SHARE = 0.2
# Of a power of two, what a closed loop of that depth has in flight.
_LOOP_LEAST, _LOOP_MOST = 0.8, 1.05
# Anything less likely than exp(-30) is no coincidence.
_SURE_NATS = 30.0
# A byte takes that many ns at 1 kB/s.
_KB_PER_S_NS = 10**6


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
    issue_ns: IntColumn | None = None
    """When it was issued, since the start of the job; None: logged without."""
    notes: tuple[str, ...] = ()

    @property
    def span_ns(self) -> int:
        """From the first arrival to the last completion."""
        starts_ns = self.time_ns - self.latency_ns
        return max(1, int(self.time_ns.max()) - int(starts_ns.min()))

    @property
    def mean_in_flight(self) -> float:
        """Return the mean number of requests in flight, by Little's law."""
        return float(self.latency_ns.sum()) / self.span_ns


@dataclass(frozen=True, slots=True)
class _Layout:
    """Columns of a log beyond the first four, which all logs have."""

    width: int
    offset: int | None = None
    priority: int | None = None
    issue: int | None = None


def read_latency_log(path: Path, hints: Hints = NO_HINTS) -> LatencyLog:
    """Read a latency log, packed or not.

    Raises:
        InputError: the file cannot be read, or as :func:`parse_latency_log`.
    """
    with opened(path) as (_, text):
        return parse_latency_log(path, Lines(str(path), bounded_lines(str(path), text), hints))


def parse_latency_log(path: Path, lines: Lines) -> LatencyLog:
    """The latency log that these lines are, of the file at ``path``, which is not opened.

    Raises:
        InputError: a line is wrong, there is none, or the unit of its latencies is not known.
    """
    columns = [array("q") for _ in range(6)]
    layout: _Layout | None = None

    def rows() -> Iterator[tuple[int, ...]]:
        nonlocal layout
        for line in lines:
            fields = [field.strip() for field in line.split(",")]
            layout = layout or _layout(lines, fields)
            yield _values(lines, fields, layout)

    for row in until_truncated(lines, rows()):
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    if layout is None or not columns[0]:
        raise InputError(f"{path}: contains no requests; name a fio latency log")
    time_ms, values, operation, length_bytes, offset_bytes, issue_ns = (
        np.frombuffer(column, dtype=np.int64) for column in columns
    )
    unit_ns = _unit_ns(path, layout, lines.hints, time_ms, values)
    return LatencyLog(
        time_ms * _NS_PER_MS,
        values * unit_ns,
        operation.astype(np.uint8),
        length_bytes,
        None if layout.offset is None else offset_bytes,
        None if layout.issue is None else issue_ns,
        lines.notes,
    )


def _layout(lines: Lines, fields: Sequence[str]) -> _Layout:
    """The columns of a log that begins with this line."""
    is_priority = [_PRIORITY.fullmatch(field) is not None for field in fields]
    match len(fields):
        case 4:
            return _Layout(4)
        case 5:
            return _Layout(5, priority=4)
        case 6 if fields[4].startswith("0x") or (is_priority[4] and not is_priority[5]):
            return _Layout(6, priority=4, issue=5)
        case 6:
            return _Layout(6, offset=4, priority=5)
        case 7:
            return _Layout(7, offset=4, priority=5, issue=6)
    raise _wrong_width(lines, fields)


def _wrong_width(lines: Lines, fields: Sequence[str]) -> InputError:
    return lines.error("line", ", ".join(fields), f"must have the same fields as all: {_ALL_NAMES}")


def _values(lines: Lines, fields: Sequence[str], layout: _Layout) -> tuple[int, ...]:
    """The numbers of a line, without the priority; 0 for the offset or issue time if not there."""
    if len(fields) != layout.width:
        raise _wrong_width(lines, fields)
    if layout.priority is not None and not _PRIORITY.fullmatch(fields[layout.priority]):
        raise lines.error("priority", fields[layout.priority], "must be 0, 1 or 0x and four digits")
    time, value, direction, size = fields[: len(_REQUIRED)]
    return (
        lines.whole("time", time, most=2**63 // _NS_PER_MS - 1),
        lines.whole("value", value, most=2**63 // 1000 - 1),
        lines.operation("direction", direction, _DIRECTIONS),
        lines.whole("size", size, most=MAX_LENGTH_BYTES),
        0 if layout.offset is None else lines.whole("offset", fields[layout.offset]),
        0 if layout.issue is None else lines.whole("issue time", fields[layout.issue]),
    )


def _unit_ns(
    path: Path, layout: _Layout, hints: Hints, time_ms: IntColumn, values: IntColumn
) -> int:
    """The unit of the latencies."""
    if layout.width > len(_REQUIRED):
        if hints.time_digits not in (None, TIME_UNITS["ns"]):
            raise InputError(f"--time-unit: {path} is a fio 3 log, whose latencies are in ns")
        return 1
    if hints.time_digits in _UNIT_DIGITS:
        return int(10**hints.time_digits)
    span_ns = max(1, int(time_ms.max() - time_ms.min())) * _NS_PER_MS
    in_flight = float(values.sum()) / span_ns
    raise InputError(
        f"{path}: has four columns, as fio 2 has, whose latencies are us, and fio 3.0 to 3.16, "
        f"whose are ns; say --time-unit us (a mean of {values.mean():.4g} us, "
        f"{1000 * in_flight:.2g} in flight) or ns ({in_flight:.2g} in flight)"
    )


def refuse_other_logs(path: Path, log: LatencyLog, depth: int | None) -> None:
    """Refuse logs of averages, of IOPS, and of bandwidth, whatever their names.

    The number in flight is not checked if the user gave ``depth``, or where
    the name is one that fio gives to a log of latencies: a slow host leaves a device idle as well.

    Raises:
        InputError: it is one.
    """
    if not log.length_bytes.any():
        raise InputError(
            f"{path}: all sizes are 0: averages over time (log_avg_msec) of latency, bandwidth or "
            "IOPS, which say nothing of single requests; log without log_avg_msec"
        )
    if not log.length_bytes.all():
        raise InputError(f"{path}: some sizes are 0; a request moves at least 1 byte")
    if (log.latency_ns <= 1).all():
        raise InputError(
            f"{path}: all values are 1: a log of IOPS, not of latencies; name the _lat or _clat log"
        )
    if _are_quotients(log):
        raise InputError(
            f"{path}: every value is a size over a whole number of ns: a log of bandwidth, not of "
            "latencies; name the _lat or _clat log"
        )
    is_said = depth is not None or _NAME_OF_LATENCIES.search(path.name) is not None
    if not is_said and (loop := _loop_if_bandwidth(log)):
        raise InputError(
            f"{path}: looks like a log of bandwidth: as kB/s its values mean {loop} in flight all "
            f"the time, as ns of latency {log.mean_in_flight:.2g}; name the _lat or _clat log, or "
            "say --depth if they are latencies"
        )


def _are_quotients(log: LatencyLog) -> bool:
    """Whether all values are what fio makes of bandwidths: the size over a time in whole ns.

    Of the numbers above the square root of what is divided, few are such quotients, and the
    fewer the larger they are; so many of them cannot be by chance.
    """
    pairs = np.unique(np.stack([log.length_bytes, log.latency_ns]), axis=1)
    pairs = pairs[:, pairs[1] > 0]
    dividend, value = pairs[0] * _KB_PER_S_NS, pairs[1]
    divisor = dividend // value
    if not (divisor > 0).all() or not (dividend // divisor == value).all():
        return False
    chances = np.minimum(1.0, dividend / value.astype(np.float64) ** 2)
    return float(-np.log(chances).sum()) > _SURE_NATS


def _loop_if_bandwidth(log: LatencyLog) -> int:
    """The depth of the closed loop if the values are bandwidths, and 0 if latencies.

    Asked of values that as latencies leave the device idle.
    """
    if log.mean_in_flight >= _IDLE_SHARE:
        return 0
    from_bandwidth_ns = log.length_bytes * _KB_PER_S_NS / np.maximum(log.latency_ns, 1)
    span_ns = max(_NS_PER_MS, int(np.ptp(log.time_ns)))
    in_flight = float(from_bandwidth_ns.sum()) / span_ns
    power = 1 << max(0, round(float(np.log2(max(in_flight, 1)))))
    return power if _LOOP_LEAST <= in_flight / power <= _LOOP_MOST else 0
