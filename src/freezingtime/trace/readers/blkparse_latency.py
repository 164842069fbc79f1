"""What blkparse prints, as latencies: from ``D``, issued to the driver, to ``C``, completed.

That is D2C, the time in the device and its driver. A completion belongs to the oldest request
of its device and kind that was issued at its sector. Requests whose other half is not in the
trace, as at its ends, are left out and counted.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from typing import NamedTuple

import numpy as np

from freezingtime.request import Operation
from freezingtime.trace.readers.blkparse import events
from freezingtime.trace.readers.columns import queue_depths
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.lines import Lines

_ISSUED, _COMPLETED = "D", "C"


class _Key(NamedTuple):
    """What a request's two lines have in common."""

    operation: Operation
    offset_bytes: int


def read_blkparse(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
    """The latencies of one disk's requests, and the names of all disks in the trace.

    With several disks and none chosen, the latencies are those of all.
    """
    issued: dict[_Key, deque[tuple[int, int]]] = defaultdict(deque)
    arrival_ns, latency_ns, operations, lengths_bytes = (array("q") for _ in range(4))
    disks: set[str] = set()
    lone_count = 0
    for action, record in events(lines, (_ISSUED, _COMPLETED)):
        disks.add(record.disk)
        if disk is not None and record.disk != disk:
            continue
        key = _Key(record.operation, record.offset_bytes)
        if action == _ISSUED:
            issued[key].append((record.arrival_ns, record.length_bytes))
            continue
        if not issued[key]:
            lone_count += 1
            continue
        at_ns, length_bytes = issued[key].popleft()
        arrival_ns.append(at_ns)
        latency_ns.append(max(0, record.arrival_ns - at_ns))
        operations.append(record.operation)
        lengths_bytes.append(length_bytes)
    lone_count += sum(map(len, issued.values()))
    at, took, operation, length = (
        np.frombuffer(column, np.int64)
        for column in (arrival_ns, latency_ns, operations, lengths_bytes)
    )
    order = np.argsort(at, kind="stable")
    notes = (f"left out {lone_count} requests that begin or end outside of the trace",)
    return (
        Latencies(
            operation[order].astype(np.uint8),
            length[order],
            queue_depths(at[order], (at + took)[order]),
            took[order],
            np.ones(len(order), np.bool_),
            notes=notes if lone_count else (),
        ),
        disks,
    )
