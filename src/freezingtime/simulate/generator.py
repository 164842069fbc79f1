# SPDX-License-Identifier: GPL-2.0-or-later
"""From a workload to its requests: the same for the same workload, seed and disk size.

Requests come in batches, so that a long closed loop needs no memory for what is still to
come. Operations, lengths and places are drawn independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.simulate.workload import Workload
from freezingtime.simulate.zipf import ZipfSlots
from freezingtime.trace.readers.columns import Trace, concatenate
from freezingtime.units import MAX_VALUE, NS_PER_S

_BATCH_COUNT = 1 << 16
# Keeps the workload's randomness apart from that of a device with the same seed.
_SEED_DOMAIN = 0x776F726B
# Arrivals that fit into memory: 26 bytes each, and as much again for the results.
_OPEN_LOOP_MAX = 10**9


class RequestGenerator:
    """Makes a workload's requests; one use gives one sequence."""

    def __init__(self, workload: Workload, *, seed: int, disk_bytes: int) -> None:
        """``seed`` holds where the workload names none; ``disk_bytes`` where it has no size.

        Raises:
            InputError: the workload does not fit on the disk.
        """
        self._workload = workload
        self._span_bytes = _span_bytes(workload, disk_bytes)
        entropy = [_SEED_DOMAIN, seed if workload.seed is None else workload.seed]
        # Places have a stream of their own: all else is the same on disks of any size.
        self._random, self._place_random = (
            np.random.Generator(np.random.PCG64(child))
            for child in np.random.SeedSequence(entropy).spawn(2)
        )
        self._write_count = 0
        sizes = workload.block_sizes
        self._lengths_bytes = np.array([size.length_bytes for size in sizes], dtype=np.int64)
        self._shares = np.array([size.percent / 100 for size in sizes])
        # As fio does: places are multiples of the smallest length.
        self._align_bytes = min(size.length_bytes for size in sizes)
        slots = (self._span_bytes - workload.longest_bytes) // self._align_bytes + 1
        self._slot_count = slots
        self._zipf = ZipfSlots(slots, workload.zipf_theta) if workload.zipf_theta else None
        self._cursors = dict.fromkeys(workload.pattern.operations, 0)

    def batches(self) -> Iterator[Trace]:
        """The requests in order, all with arrival time 0, up to the workload's count."""
        left = self._workload.count
        while left is None or left > 0:
            count = _BATCH_COUNT if left is None else min(left, _BATCH_COUNT)
            yield self._batch(np.zeros(count, dtype=np.int64))
            left = None if left is None else left - count

    def trace(self) -> Trace:
        """All requests of a workload that has a rate, with their arrival times.

        Raises:
            InputError: they are too many for the memory.
        """
        return concatenate([self._batch(arrival_ns) for arrival_ns in self._arrivals()])

    def _arrivals(self) -> Iterator[NDArray[np.int64]]:
        """Arrival times in batches, up to the workload's count and time."""
        workload = self._workload
        rate_hz = workload.rate_hz or 1
        end_ns = MAX_VALUE if workload.time_ns is None else workload.time_ns
        most = math.inf if workload.count is None else workload.count
        if min(most, end_ns * rate_hz / NS_PER_S) > _OPEN_LOOP_MAX:
            raise InputError(
                f"--workload: {workload.text}: makes more than {_OPEN_LOOP_MAX} requests; "
                "lower time=, count= or rate="
            )
        made, clock_ns = 0, 0.0
        while made < most:
            count = int(min(most - made, _BATCH_COUNT))
            if workload.poisson:
                gaps_ns = self._random.exponential(NS_PER_S / rate_hz, count)
                times_ns = clock_ns + np.cumsum(gaps_ns)
                clock_ns = float(times_ns[-1])
                arrival_ns = times_ns.astype(np.int64)
            else:
                index = np.arange(made, made + count, dtype=np.int64)
                arrival_ns = index * NS_PER_S // rate_hz
            within = arrival_ns[arrival_ns < end_ns]
            yield within
            if len(within) < count:
                return
            made += count

    def _batch(self, arrival_ns: NDArray[np.int64]) -> Trace:
        count = len(arrival_ns)
        operation = self._operations(count)
        length_bytes = self._lengths(count)
        offset_bytes = self._offsets(operation, length_bytes)
        batch = Trace(
            arrival_ns,
            operation,
            offset_bytes + self._workload.offset_bytes,
            length_bytes,
            np.zeros(count, dtype=np.bool_),
        )
        return self._with_flushes(batch) if self._workload.fsync_every else batch

    def _operations(self, count: int) -> NDArray[np.uint8]:
        first, *others = self._workload.pattern.operations
        operation = np.full(count, first, dtype=np.uint8)
        if others:
            is_read = self._random.integers(0, 100, count) < self._workload.read_percent
            operation[~is_read] = others[0]
        return operation

    def _lengths(self, count: int) -> NDArray[np.int64]:
        if len(self._lengths_bytes) == 1:
            return np.full(count, self._lengths_bytes[0], dtype=np.int64)
        return self._random.choice(self._lengths_bytes, count, p=self._shares)

    def _offsets(
        self, operation: NDArray[np.uint8], length_bytes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Places within the span: random, or one run from its start for each operation."""
        if self._zipf is not None:
            return self._zipf.draw(self._place_random, len(operation)) * self._align_bytes
        if self._workload.pattern.random:
            slots = self._place_random.integers(0, self._slot_count, len(operation), dtype=np.int64)
            return slots * self._align_bytes
        offset_bytes = np.empty(len(operation), dtype=np.int64)
        for value in self._cursors:
            chosen = operation == value
            offset_bytes[chosen] = self._run(value, length_bytes[chosen])
        return offset_bytes

    def _run(self, operation: Operation, lengths_bytes: NDArray[np.int64]) -> list[int]:
        """Places one behind the other; where one does not fit, the run starts again."""
        cursor_bytes = self._cursors[operation]
        offsets_bytes = []
        for length_bytes in lengths_bytes.tolist():
            if cursor_bytes + length_bytes > self._span_bytes:
                cursor_bytes = 0
            offsets_bytes.append(cursor_bytes)
            cursor_bytes += length_bytes
        self._cursors[operation] = cursor_bytes
        return offsets_bytes

    def _with_flushes(self, batch: Trace) -> Trace:
        """Insert a flush behind every N-th write, arriving together with it."""
        is_write = batch.operation == Operation.WRITE
        writes = self._write_count + np.cumsum(is_write)
        self._write_count += int(is_write.sum())
        behind = np.flatnonzero(is_write & (writes % self._workload.fsync_every == 0))
        places = behind + 1
        return Trace(
            np.insert(batch.arrival_ns, places, batch.arrival_ns[behind]),
            np.insert(batch.operation, places, Operation.FLUSH),
            np.insert(batch.offset_bytes, places, 0),
            np.insert(batch.length_bytes, places, 0),
            np.insert(batch.fua, places, False),
        )


def _span_bytes(workload: Workload, disk_bytes: int) -> int:
    """Return the number of bytes after ``offset=`` that are used."""
    left_bytes = disk_bytes - workload.offset_bytes
    span_bytes = workload.size_bytes or left_bytes
    if workload.longest_bytes <= span_bytes <= left_bytes:
        return span_bytes
    raise InputError(
        f"--workload: {workload.text}: does not fit on a disk of {disk_bytes} bytes; "
        "change size= or offset="
    )
