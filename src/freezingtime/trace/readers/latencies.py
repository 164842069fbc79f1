# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests and how long each took, in memory: what a device is fitted to."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn, queue_depths

# Of a power of two, a measured mean depth this near is taken for it.
_SNAP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Latencies:
    """Requests in the order in which they arrived or were logged; columns of one length.

    ``depth`` is how many requests the device had when each arrived, itself included;
    ``operation`` holds :class:`~freezingtime.request.Operation` values; a flush has length 0.
    """

    operation: NDArray[np.uint8]
    length_bytes: IntColumn
    depth: IntColumn
    latency_ns: IntColumn
    is_ordered: NDArray[np.bool_]
    """False: from a histogram, so that it is not known which request followed which."""
    notes: tuple[str, ...] = ()
    """What a user should know of how they were read."""
    facts: tuple[str, ...] = ()
    """How they were read: units, depth, what was assumed."""
    span_ns: int | None = None
    """From the first arrival to the last; None: not known."""
    format_name: str = ""

    def __len__(self) -> int:
        return len(self.latency_ns)


class LatencyColumns:
    """Collects requests whose times of arrival are known, in any order."""

    def __init__(self) -> None:
        self._columns = [array("q") for _ in range(4)]

    def add(
        self, arrival_ns: int, latency_ns: int, operation: Operation, length_bytes: int
    ) -> None:
        """Take in a request."""
        row = (arrival_ns, latency_ns, operation, length_bytes)
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def latencies(self) -> Latencies:
        """All of them in order of arrival, with the depths that their times make."""
        at, took, operation, length = (np.frombuffer(part, np.int64) for part in self._columns)
        order = np.argsort(at, kind="stable")
        return Latencies(
            operation[order].astype(np.uint8),
            length[order],
            queue_depths(at[order], (at + took)[order]),
            took[order],
            np.ones(len(order), np.bool_),
            span_ns=int(np.ptp(at)) if len(at) > 1 else None,
        )


def join(parts: Sequence[Latencies]) -> Latencies:
    """Several logs as one, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Latencies(
        np.concatenate([part.operation for part in parts]),
        np.concatenate([part.length_bytes for part in parts]),
        np.concatenate([part.depth for part in parts]),
        np.concatenate([part.latency_ns for part in parts]),
        np.concatenate([part.is_ordered for part in parts]),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        tuple(dict.fromkeys(fact for part in parts for fact in part.facts)),
        format_name=", ".join(dict.fromkeys(part.format_name for part in parts)),
    )


def likely_depth(mean_in_flight: float) -> int:
    """The queue depth of a load whose mean number of requests in flight was measured.

    By Little's law that number is the sum of the latencies over the time. It is somewhat less
    than the depth, as the host needs time between two requests; depths are mostly powers of two.
    """
    power = 2 ** round(float(np.log2(max(mean_in_flight, 1.0))))
    if abs(mean_in_flight - power) <= _SNAP_SHARE * power:
        return int(power)
    return max(1, round(mean_in_flight))
