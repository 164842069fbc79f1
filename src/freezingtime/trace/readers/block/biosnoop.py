# SPDX-License-Identifier: GPL-2.0-or-later
"""Reader of biosnoop's text (bcc, libbpf-tools): one line for each completed request.

``TIME(s) COMM PID DISK T SECTOR BYTES LAT(ms)``, and with ``-Q`` also ``QUE(ms)``, the time in
the kernel's queues. TIME is that of the completion, so a request arrived LAT before. T is R or
W, or what the kernel says of a request in a few letters (RWBS). A COMM may have blanks, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezingtime.request import Operation
from freezingtime.trace.readers.block.events import SECOND_DIGITS, note_captures
from freezingtime.trace.readers.joined_times import JoinedTimes
from freezingtime.trace.readers.latencies import Latencies, LatencyColumns
from freezingtime.trace.readers.lines import SECTOR_BYTES, Lines, TraceRequest
from freezingtime.trace.readers.rwbs import RWBS_ALLOWED, parse_rwbs

_TIME, _TASK, _DISK, _KIND, _SECTOR, _BYTES, _LATENCY = (
    *("TIME(s)", "COMM", "DISK", "T", "SECTOR", "BYTES", "LAT(ms)"),
)
_NEEDED = (_TIME, _TASK, _DISK, _KIND, _SECTOR, _BYTES, _LATENCY)
_MS_DIGITS = 6


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return set(_NEEDED) <= set(first_line.split())


def parse(lines: Lines) -> Iterator[TraceRequest]:
    """Read the requests, each with the time at which it arrived."""
    return (record for record, _ in _rows(lines))


def read_biosnoop(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
    """The latencies of one disk's requests, and the names of all disks in the file.

    With several disks and none chosen, the latencies are those of all.
    """
    found = LatencyColumns()
    disks: set[str] = set()
    for record, latency_ns in _rows(lines):
        disks.add(record.disk)
        if disk is None or record.disk == disk:
            found.add(record.arrival_ns, latency_ns, record.operation, record.length_bytes)
    return found.latencies(), disks


def _rows(lines: Lines) -> Iterator[tuple[TraceRequest, int]]:
    """Each request and its latency in ns."""
    names: list[str] = []
    times = JoinedTimes()
    for line in lines:
        if recognizes(line):
            if names:
                times.restart()
            names = line.split()
            continue
        if not names:
            raise lines.error("line", line, f"must be a header with {' '.join(_NEEDED)}")
        fields = _fields(lines, line, names)
        latency_ns = lines.time_ns(_LATENCY, fields[_LATENCY], _MS_DIGITS)
        end_ns = times.at(lines.time_ns(_TIME, fields[_TIME], SECOND_DIGITS))
        kind = parse_rwbs(fields[_KIND])
        if kind is None:
            raise lines.error(_KIND, fields[_KIND], RWBS_ALLOWED)
        if kind.preflush and fields[_BYTES] == "0":
            flush = TraceRequest(fields[_DISK], end_ns - latency_ns, Operation.FLUSH, 0, 0)
            yield flush, latency_ns
        elif kind.operation is None or fields[_BYTES] == "0":
            lines.leave_out("requests that move no bytes")
        else:
            span = lines.range_bytes(
                (_SECTOR, fields[_SECTOR]),
                (_BYTES, fields[_BYTES]),
                offset_unit_bytes=SECTOR_BYTES,
            )
            arrival_ns = end_ns - latency_ns
            yield (
                TraceRequest(fields[_DISK], arrival_ns, kind.operation, *span, kind.fua),
                latency_ns,
            )
    note_captures(lines, times)


def _fields(lines: Lines, line: str, names: Sequence[str]) -> dict[str, str]:
    """Return the fields by name; the task's name absorbs extra or missing blanks."""
    fields = line.split()
    place = names.index(_TASK)
    task_count = 1 + len(fields) - len(names)
    if task_count < 0:
        raise lines.error("line", line, f"must have {len(names)} fields: {' '.join(names)}")
    task = " ".join(fields[place : place + task_count])
    whole = [*fields[:place], task, *fields[place + task_count :]]
    return dict(zip(names, whole, strict=True))
