# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace in memory: requests as columns, one numpy array for each property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

IntColumn = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival; all columns have the same length.

    ``arrival_ns`` counts from when the device is new and never decreases; ``operation``
    holds :class:`~freezingtime.request.Operation` values; a flush has offset and length 0.
    """

    arrival_ns: IntColumn
    operation: NDArray[np.uint8]
    offset_bytes: IntColumn
    length_bytes: IntColumn
    fua: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.arrival_ns)

    @property
    def end_bytes(self) -> int:
        """The first byte after the highest one that any request touches."""
        return int((self.offset_bytes + self.length_bytes).max()) if len(self) else 0

    @property
    def has_arrival_times(self) -> bool:
        """False if all of several requests arrive at once, as from a trace without times."""
        return len(self) < 2 or bool(self.arrival_ns[-1] > self.arrival_ns[0])

    @property
    def span_ns(self) -> int | None:
        """From the first arrival to the last; None without times."""
        known = len(self) > 1 and self.has_arrival_times
        return int(self.arrival_ns[-1] - self.arrival_ns[0]) if known else None

    def in_order(self, order: slice | IntColumn) -> Trace:
        """The same requests in another order."""
        return Trace(
            self.arrival_ns[order],
            self.operation[order],
            self.offset_bytes[order],
            self.length_bytes[order],
            self.fua[order],
        )

    def sped_up(self, factor: Fraction) -> Trace:
        """The same requests ``factor`` times as fast: arrival times divided, rounded down.

        The numerator and denominator of ``factor`` must be from 1 to 10**12 and multiply to
        at most 2**62, so that the arithmetic is exact in 64 bits.
        """
        whole, rest = np.divmod(self.arrival_ns, factor.numerator)
        arrival_ns = whole * factor.denominator + rest * factor.denominator // factor.numerator
        return replace(self, arrival_ns=arrival_ns)

    def rows(self, start: int, stop: int) -> Trace:
        """Requests ``start`` to ``stop``, as views."""
        return self.in_order(slice(start, stop))


def queue_depths(arrival_ns: IntColumn, completion_ns: IntColumn) -> IntColumn:
    """Return the queue depth at each arrival, the arriving request included.

    Requests are in order of arrival. One that completes at the very nanosecond of an arrival
    is no longer counted.
    """
    gone = np.searchsorted(np.sort(completion_ns), arrival_ns, side="right")
    # Without a latency a request, and those behind it, go at the instant of its arrival.
    depth: IntColumn = np.maximum(np.arange(1, len(gone) + 1) - gone, 1)
    return depth


def concatenate(traces: Sequence[Trace]) -> Trace:
    """Several traces as one, arrival times as they are; of a single one, views."""
    if len(traces) == 1:
        return traces[0]
    return Trace(
        np.concatenate([np.empty(0, np.int64), *(trace.arrival_ns for trace in traces)]),
        np.concatenate([np.empty(0, np.uint8), *(trace.operation for trace in traces)]),
        np.concatenate([np.empty(0, np.int64), *(trace.offset_bytes for trace in traces)]),
        np.concatenate([np.empty(0, np.int64), *(trace.length_bytes for trace in traces)]),
        np.concatenate([np.empty(0, np.bool_), *(trace.fua for trace in traces)]),
    )
