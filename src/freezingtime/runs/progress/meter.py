# SPDX-License-Identifier: GPL-2.0-or-later
"""Live counters of a run's disks, for any display."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from freezingtime.emulator.loop import CompletedRequest
from freezingtime.units import NS_PER_S

#: So many intervals a history remembers.
HISTORY_LENGTH = 32


@dataclass(slots=True)
class DiskMeter:
    """Counters of one disk. Written by the emulator's thread, read by any.

    A reader may see a count that is one request behind its sum, or vice versa.
    """

    name: str
    request_count: int = 0
    latency_sum_ns: int = 0


class RunMeter:
    """The meters of a run's disks, in their order."""

    def __init__(self, names: Sequence[str], first_disk_index: int) -> None:
        """The requests of the first of the disks have this index."""
        self.disks = [DiskMeter(name) for name in names]
        self._first_disk_index = first_disk_index

    def note(self, completed: CompletedRequest) -> None:
        """Count a request. Emulator's thread."""
        meter = self.disks[completed.disk_index - self._first_disk_index]
        meter.request_count += 1
        meter.latency_sum_ns += completed.delivery_ns - completed.arrival_ns


class DiskHistory:
    """Rates of one disk over the last intervals, sampled from its meter."""

    def __init__(self, meter: DiskMeter, now_ns: int) -> None:
        self._meter = meter
        self._seen_ns = now_ns
        self._seen_count = meter.request_count
        self._seen_sum_ns = meter.latency_sum_ns
        self.iops = 0.0
        """Of guest time, in the last interval in which that went on."""
        self.latencies_ns: deque[float | None] = deque(maxlen=HISTORY_LENGTH)
        """The mean of each interval, the last one last; None where no request was delivered."""

    @property
    def name(self) -> str:
        """The disk's."""
        return self._meter.name

    @property
    def latency_ns(self) -> float | None:
        """The mean of the last interval in which a request was delivered."""
        known = (latency_ns for latency_ns in reversed(self.latencies_ns) if latency_ns is not None)
        return next(known, None)

    def advance(self, now_ns: int) -> None:
        """An interval ends, at a guest time."""
        count, sum_ns = self._meter.request_count, self._meter.latency_sum_ns
        new_count = count - self._seen_count
        if now_ns > self._seen_ns:
            self.iops = new_count * NS_PER_S / (now_ns - self._seen_ns)
        self.latencies_ns.append((sum_ns - self._seen_sum_ns) / new_count if new_count else None)
        self._seen_ns, self._seen_count, self._seen_sum_ns = now_ns, count, sum_ns
