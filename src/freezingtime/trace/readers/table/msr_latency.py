# SPDX-License-Identifier: GPL-2.0-or-later
"""The traces of MSR Cambridge as latencies: their ResponseTime, in units of 100 ns."""

from __future__ import annotations

from array import array

import numpy as np

from freezingtime.trace.readers.columns import queue_depths
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.lines import Lines
from freezingtime.trace.readers.table.msr import COLUMNS, TICK_NS, parse_line
from freezingtime.units import MAX_VALUE

_HEADER = ",".join(COLUMNS)


def read_msr(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
    """The latencies of one disk's requests, and the names of all disks in the trace.

    With several disks and none chosen, the latencies are those of all.
    """
    arrival_ns, latency_ns, operations, lengths_bytes = (array("q") for _ in range(4))
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
        arrival_ns.append(record.arrival_ns - first_ns)
        most = MAX_VALUE // 4 // TICK_NS
        latency_ns.append(TICK_NS * lines.whole("ResponseTime", ticks, most=most))
        operations.append(record.operation)
        lengths_bytes.append(record.length_bytes)
    at, took = np.frombuffer(arrival_ns, np.int64), np.frombuffer(latency_ns, np.int64)
    order = np.argsort(at, kind="stable")
    latencies = Latencies(
        np.frombuffer(operations, np.int64)[order].astype(np.uint8),
        np.frombuffer(lengths_bytes, np.int64)[order],
        queue_depths(at[order], (at + took)[order]),
        took[order],
        np.ones(len(order), np.bool_),
        span_ns=int(np.ptp(at)) if len(at) > 1 else None,
    )
    return latencies, disks
