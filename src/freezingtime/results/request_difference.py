# SPDX-License-Identifier: GPL-2.0-or-later
"""Differences between the requests of two runs, and the first of them.

The requests of a disk are put side by side in their order of arrival, the first of one
run with the first of the other. Runs are deterministic: a request whose times differ by a
nanosecond was treated differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.request import Operation
from freezingtime.trace.record_columns import Columns

_Words: TypeAlias = dict[str, str | int | bool]

_SEEN = ("operation", "offset_bytes", "length_bytes", "fua", "arrival_ns")
#: Of a disk missing in a run.
NO_REQUESTS: Columns = {name: np.empty(0, np.int64) for name in (*_SEEN, "delivery_ns", "sequence")}


@dataclass(frozen=True, slots=True)
class DifferingRequest:
    """A request that differs. ``a`` and ``b`` are what the runs have in its place, if anything."""

    disk: str
    number: int
    """Its place among its disk's requests in order of arrival, from 0."""
    a: Mapping[str, str | int | bool] | None
    b: Mapping[str, str | int | bool] | None

    @property
    def differing(self) -> list[str]:
        """The names of the values that differ: all, if one of the runs has no such request."""
        a, b = self.a or {}, self.b or {}
        return [name for name in a or b if a.get(name) != b.get(name)]


@dataclass(frozen=True, slots=True)
class RequestDifference:
    """Differences between a disk's requests in two runs."""

    compared_count: int
    """How many there are to compare: the larger of the two numbers of requests."""
    differing_count: int
    """How many differ, or are missing from one of the runs."""
    first: Sequence[tuple[int, DifferingRequest]]
    """The first few, each with its arrival time in ns."""


def request_difference(disk: str, a: Columns, b: Columns, *, show: int) -> RequestDifference:
    """Compare a disk's requests in two runs; at most ``show`` of those that differ are given.

    Operation, offset, length, FUA, arrival time, and the latency that the guest was given
    are compared.
    """
    rows_a, rows_b = _in_order_of_arrival(a), _in_order_of_arrival(b)
    count_a, count_b = len(rows_a["arrival_ns"]), len(rows_b["arrival_ns"])
    both = min(count_a, count_b)
    differs: NDArray[np.bool_] = np.zeros(max(count_a, count_b), np.bool_)
    differs[both:] = True
    for name, column in rows_a.items():
        differs[:both] |= column[:both] != rows_b[name][:both]
    numbers = np.flatnonzero(differs)
    first = []
    for number in numbers[:show].tolist():
        request = DifferingRequest(disk, number, _row(rows_a, number), _row(rows_b, number))
        arrivals = [int(row["arrival_ns"]) for row in (request.a, request.b) if row is not None]
        first.append((min(arrivals), request))
    return RequestDifference(len(differs), len(numbers), first)


def _in_order_of_arrival(columns: Columns) -> dict[str, NDArray[np.generic]]:
    order = np.argsort(columns["sequence"], kind="stable")
    latency_ns = columns["delivery_ns"] - columns["arrival_ns"]
    return {name: columns[name][order] for name in _SEEN} | {"latency_ns": latency_ns[order]}


def _row(columns: Mapping[str, NDArray[np.generic]], number: int) -> _Words | None:
    """The request's values as Python's own."""
    if number >= len(columns["arrival_ns"]):
        return None
    values: _Words = {name: column[number].item() for name, column in columns.items()}
    return values | {"operation": Operation(int(values["operation"])).name.lower()}
