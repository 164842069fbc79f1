# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's iolog, version 3, and its latency log (fio's manual, "Trace file format", "Log File
Formats").

fio has no word for writing zeros, which is a write here, and none for FUA, which is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.request import Operation
from freezingtime.trace.record_columns import DiskRequests

IOLOG_COLUMNS = ("operation", "offset_bytes", "length_bytes", "arrival_ns", "sequence")
LATENCY_COLUMNS = ("operation", "offset_bytes", "length_bytes", "arrival_ns", "delivery_ns")

_ACTIONS: Mapping[int, str] = {
    Operation.READ: "read",
    Operation.WRITE: "write",
    Operation.FLUSH: "sync",
    Operation.DISCARD: "trim",
    Operation.WRITE_ZEROES: "write",
}
_DIRECTIONS: Mapping[int, int] = {
    Operation.READ: 0,
    Operation.WRITE: 1,
    Operation.DISCARD: 2,
    Operation.WRITE_ZEROES: 1,
}
_NS_PER_US = 1000
_NS_PER_MS = 10**6
_SLICE = 1 << 16


def fio_iolog(requests: DiskRequests) -> Iterator[bytes]:
    """An iolog in order of arrival, with us since the first one; some lines at a time."""
    file = "_".join(requests.name.split())
    columns = requests.columns
    since_ns = columns["arrival_ns"] - columns["arrival_ns"].min()
    yield f"fio version 3 iolog\n0 {file} add\n0 {file} open\n".encode()
    for operation, offset, length, at_ns in _rows(
        [columns["operation"], columns["offset_bytes"], columns["length_bytes"], since_ns],
        np.argsort(columns["sequence"], kind="stable"),
    ):
        line = f"{at_ns // _NS_PER_US} {file} {_ACTIONS[operation]} {offset} {length}\n"
        yield line.encode()
    yield f"{int(since_ns.max()) // _NS_PER_US} {file} close\n".encode()


def fio_latency_log(requests: DiskRequests) -> Iterator[bytes]:
    """A latency log with offsets, in order of completion, in ms since the first arrival.

    Flushes are left out, as fio leaves them out.
    """
    columns = requests.columns
    arrival_ns, delivery_ns = columns["arrival_ns"], columns["delivery_ns"]
    logged = np.flatnonzero(columns["operation"] != Operation.FLUSH)
    for operation, offset, length, at_ns, latency_ns in _rows(
        [
            columns["operation"],
            columns["offset_bytes"],
            columns["length_bytes"],
            delivery_ns - arrival_ns.min(),
            delivery_ns - arrival_ns,
        ],
        logged,
    ):
        direction = _DIRECTIONS[operation]
        line = f"{at_ns // _NS_PER_MS}, {latency_ns}, {direction}, {length}, {offset}, 0\n"
        yield line.encode()


def _rows(columns: Sequence[NDArray[Any]], order: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """Rows in an order, as Python values."""
    for start in range(0, len(order), _SLICE):
        chosen = order[start : start + _SLICE]
        yield from zip(*(column[chosen].tolist() for column in columns), strict=True)
