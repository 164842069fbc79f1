# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency of flushes together with the writes that they wait for, from a disk's requests.

On many devices a flush itself takes no time, as its cache is durable; what an application waits
for in ``fsync`` is the writes before it. A record has requests and no system calls, so the writes
that belong to a flush are told by their times: those that the disk was given since the flush
before, and without a pause. The kernel waits for them and comes with the flush some microseconds
later; what an application does in between of its own takes longer, as a rule.
"""

from __future__ import annotations

from array import array
from collections import deque

from freezingtime.request import Operation

#: What figures of flushes with the writes that they wait for are called, as if an operation.
FSYNC = "fsync"
#: So long without a write under way is a pause. From one step of an fsync to the next the guest's
#: kernel takes up to 30 us at the usual CPU rate (ext4, Linux 6.1).
PAUSE_NS = 100_000
#: Operations that a flush waits for.
WRITES = (Operation.WRITE, Operation.WRITE_ZEROES)

# What is delivered at one time happens in this order: a flush of no time ends after it came.
_WRITTEN, _FLUSHED, _FLUSHED_AT_ONCE = range(3)
# A flush that is under way while more writes than that are delivered, with pauses, waits for none.
_REMEMBERED_MAX = 1 << 16


class FsyncTally:
    """Pairs a disk's flushes with their writes, as requests are delivered; some megabytes at most.

    A flush waits for writes that were delivered when it arrived, and after the last flush before it
    was; a write that comes :data:`PAUSE_NS` or longer before the next one begins, or before the
    flush, belongs to none. The latency begins with the arrival of the first of the writes, or with
    the flush's own.
    """

    def __init__(self) -> None:
        self._latencies_ns = array("q")
        # What is delivered at the present time: kind and arrival.
        self._present: list[tuple[int, int]] = []
        self._present_ns = -1
        # Stretches without a pause since the last flush, as their start and end, in order.
        self._stretches: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_MAX)
        # The start of the last stretch over time, None behind a flush: (from, to, start, at once).
        self._starts: deque[tuple[int, int, int | None, bool]] = deque(maxlen=_REMEMBERED_MAX)

    def add(self, operation: int, arrival_ns: int, delivery_ns: int) -> None:
        """Take in a request; they come in order of delivery."""
        if operation in WRITES:
            kind = _WRITTEN
        elif operation == Operation.FLUSH:
            kind = _FLUSHED_AT_ONCE if arrival_ns == delivery_ns else _FLUSHED
        else:
            return
        if delivery_ns != self._present_ns:
            self._settle()
            self._present_ns = delivery_ns
        self._present.append((kind, arrival_ns))

    def take(self) -> array[int]:
        """Return the latencies of the flushes since the last call, in order of delivery."""
        self._settle()
        taken, self._latencies_ns = self._latencies_ns, array("q")
        return taken

    def _settle(self) -> None:
        """Take in what was delivered at the present time."""
        now_ns = self._present_ns
        for kind, arrival_ns in sorted(self._present):
            if kind == _WRITTEN:
                self._written(arrival_ns, now_ns)
                continue
            start_ns = self._start_of_last(arrival_ns)
            self._latencies_ns.append(now_ns - (arrival_ns if start_ns is None else start_ns))
            self._stretches.clear()
            self._starts.append((now_ns, now_ns, None, kind == _FLUSHED_AT_ONCE))
        self._present.clear()

    def _written(self, arrival_ns: int, now_ns: int) -> None:
        # A write that began early joins all stretches that have ended since.
        start_ns, stretches = arrival_ns, self._stretches
        while stretches and stretches[-1][1] > start_ns - PAUSE_NS:
            start_ns = min(start_ns, stretches.pop()[0])
        stretches.append((start_ns, now_ns))
        from_ns = now_ns
        if self._starts:
            last_from_ns, last_to_ns, last_start_ns, _ = self._starts[-1]
            if last_start_ns == start_ns and last_to_ns > now_ns - PAUSE_NS:
                from_ns = last_from_ns
                self._starts.pop()
        self._starts.append((from_ns, now_ns, start_ns, False))

    def _start_of_last(self, time_ns: int) -> int | None:
        """The start of the stretch that a flush of that time goes with, if there is one."""
        for from_ns, to_ns, start_ns, is_at_once in reversed(self._starts):
            if from_ns > time_ns or (is_at_once and from_ns == time_ns):
                continue
            return start_ns if min(to_ns, time_ns) > time_ns - PAUSE_NS else None
        return None
