# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of a run's disks, counted while it goes on: a run need not leave a record.

They are those of the record, to the nanosecond (:mod:`freezingtime.results.latency_summary`): of
the requests from the job's start on. A run of few requests does not wait for numpy.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freezingtime.application.fsync import FSYNC, FsyncTally
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.percentile import percentile_rank
from freezingtime.request import Operation
from freezingtime.units import NEVER_NS, rate_hz

if TYPE_CHECKING:
    from freezingtime.quantiles import CountedValues

#: So many latencies wait as they are before equal ones become one.
WAITING_MAX = 1 << 17
_PER_100K = (50_000, 99_000, 99_900)
_MOVING_DATA = (Operation.READ, Operation.WRITE)


@dataclass(frozen=True, slots=True)
class OperationFigures:
    """Figures of one operation on one disk; rates are None if all requests took no time.

    Flushes with the writes that they wait for are an operation of their own, without rates.
    """

    operation: str
    count: int
    iops: float | None
    bandwidth_bytes_per_s: float | None
    """None of an operation that moves no data, too."""
    mean_ns: float
    p50_ns: int
    p99_ns: int
    p99_9_ns: int


class DiskTally:
    """Counts a job's requests of one disk. One thread at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._start_ns = NEVER_NS
        self._operations: dict[Operation, _OperationTally] = {}
        self._first_arrival_ns: int | None = None
        self._last_delivery_ns = 0
        self._fsync = FsyncTally()

    def start(self, now_ns: int) -> None:
        """Count what arrives from now on: before its job, a guest looks for partitions and such."""
        self._start_ns = min(self._start_ns, now_ns)

    def note(self, completed: CompletedRequest) -> None:
        """Count a request if it is the job's; they come in order of delivery."""
        arrival_ns = completed.arrival_ns
        if arrival_ns < self._start_ns:
            return
        if self._first_arrival_ns is None or arrival_ns < self._first_arrival_ns:
            self._first_arrival_ns = arrival_ns
        self._last_delivery_ns = completed.delivery_ns
        latencies = self._operations.get(completed.operation)
        if latencies is None:
            latencies = self._operations[completed.operation] = _OperationTally()
        latencies.add(completed.delivery_ns - arrival_ns, completed.length_bytes)
        self._fsync.add(completed.operation, arrival_ns, completed.delivery_ns)

    def figures(self) -> list[OperationFigures]:
        """The figures of each operation that there was, in the order of their numbers; then fsync.

        Once, when all requests have been noted.
        """
        duration_ns = self._last_delivery_ns - (self._first_arrival_ns or 0)
        found = [
            latencies.figures(operation, duration_ns)
            for operation, latencies in sorted(self._operations.items())
        ]
        if Operation.FLUSH in self._operations:
            flushes = _OperationTally()
            for latency_ns in self._fsync.take():
                flushes.add(latency_ns, 0)
            found.append(flushes.without_rates(FSYNC))
        return found


class _OperationTally:
    """Latencies of one operation. Memory: 16 bytes for each distinct one."""

    def __init__(self) -> None:
        self._count = 0
        self._moved_bytes = 0
        self._sum_ns = 0
        self._waiting = array("q")
        self._counted: CountedValues | None = None

    def add(self, latency_ns: int, length_bytes: int) -> None:
        self._count += 1
        self._moved_bytes += length_bytes
        self._sum_ns += latency_ns
        self._waiting.append(latency_ns)
        if len(self._waiting) >= WAITING_MAX:
            self._count_waiting()

    def figures(self, operation: Operation, duration_ns: int) -> OperationFigures:
        moves = operation in _MOVING_DATA
        return replace(
            self.without_rates(operation.name.lower()),
            iops=rate_hz(self._count, duration_ns),
            bandwidth_bytes_per_s=rate_hz(self._moved_bytes, duration_ns) if moves else None,
        )

    def without_rates(self, operation: str) -> OperationFigures:
        mean_ns = self._sum_ns / self._count
        return OperationFigures(
            operation, self._count, None, None, mean_ns, *self._percentiles_ns()
        )

    def _percentiles_ns(self) -> Sequence[int]:
        ranks = [percentile_rank(self._count, per_100k) for per_100k in _PER_100K]
        if self._counted is None:
            ordered = sorted(self._waiting)
            return [ordered[rank - 1] for rank in ranks]
        self._count_waiting()
        values, counts = self._counted.counted()
        chosen: list[int] = values[counts.cumsum().searchsorted(ranks)].tolist()
        return chosen

    def _count_waiting(self) -> None:
        import numpy as np

        from freezingtime.quantiles import CountedValues

        if self._counted is None:
            self._counted = CountedValues()
        self._counted.add(np.array(self._waiting, np.int64))
        self._waiting = array("q")
