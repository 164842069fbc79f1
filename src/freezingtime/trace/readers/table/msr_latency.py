# SPDX-License-Identifier: GPL-2.0-or-later
"""The traces of MSR Cambridge as latencies: their ResponseTime, in units of 100 ns."""

from __future__ import annotations

from freezingtime.trace.readers.latencies import Latencies, LatencyColumns
from freezingtime.trace.readers.lines import Lines
from freezingtime.trace.readers.table.msr import COLUMNS, TICK_NS, parse_line
from freezingtime.units import MAX_VALUE

_HEADER = ",".join(COLUMNS)


def read_msr(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
    """The latencies of one disk's requests, and the names of all disks in the trace.

    With several disks and none chosen, the latencies are those of all.
    """
    found = LatencyColumns()
    disks: set[str] = set()
    first_ns: int | None = None
    for line in lines:
        if line == _HEADER:
            continue
        record, ticks = parse_line(lines, line)
        disks.add(record.disk)
        if disk is not None and record.disk != disk:
            continue
        first_ns = record.arrival_ns if first_ns is None else first_ns
        if abs(record.arrival_ns - first_ns) > MAX_VALUE // 4:
            raise lines.error("Timestamp", str(record.arrival_ns), "too far from the first one")
        at_ns = record.arrival_ns - first_ns
        took_ns = TICK_NS * lines.whole("ResponseTime", ticks, most=MAX_VALUE // 4 // TICK_NS)
        found.add(at_ns, took_ns, record.operation, record.length_bytes)
    return found.latencies(), disks
