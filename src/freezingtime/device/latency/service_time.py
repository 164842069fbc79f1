# SPDX-License-Identifier: GPL-2.0-or-later
"""Service times by operation: a fixed part drawn from a distribution, plus length / bandwidth.

In a device's TOML::

    [read]
    fixed = {kind = "lognormal", mean = "80us", p99 = "200us"}
    bandwidth = "3.2GB/s"

    [write]
    fixed = "15us"

``[read]`` and ``[write]`` must be there; a flush or discard that is not described takes no
time. Without a bandwidth the length does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.latency.distribution import (
    Constant,
    Distribution,
    parse_distribution,
    time_stream,
)
from freezingtime.device.parameters import Table
from freezingtime.device.trace_device import OperationClass

_NS_PER_S = 10**9


_NO_TIME = Constant(0)


@dataclass(frozen=True)
class ServiceTime:
    """The service time of one class of operations."""

    fixed: Distribution = _NO_TIME
    bandwidth_bytes_per_s: int | None = None

    def transfer_ns(self, length_bytes: int) -> int:
        """The part that grows with the length, rounded up."""
        if self.bandwidth_bytes_per_s is None:
            return 0
        return -(-length_bytes * _NS_PER_S // self.bandwidth_bytes_per_s)

    def transfers_ns(self, lengths_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """:meth:`transfer_ns` of many lengths of at most 8 GiB."""
        if self.bandwidth_bytes_per_s is None:
            return np.zeros_like(lengths_bytes)
        return -(-lengths_bytes * _NS_PER_S // self.bandwidth_bytes_per_s)

    def mean_ns(self, length_bytes: int) -> float:
        """The mean service time of a request of this length."""
        return self.fixed.mean_ns + self.transfer_ns(length_bytes)


@dataclass(frozen=True)
class ServiceTimes:
    """The service times of all operations."""

    read: ServiceTime
    write: ServiceTime
    flush: ServiceTime = field(default_factory=ServiceTime)
    discard: ServiceTime = field(default_factory=ServiceTime)

    @classmethod
    def parse(cls, table: Table) -> ServiceTimes:
        """Read the tables ``read``, ``write``, ``flush`` and ``discard`` of a device.

        Raises:
            InputError: a bad or unknown key, or no ``read`` or ``write``.
        """
        parts = {}
        for operation_class in OperationClass:
            name = operation_class.name.lower()
            described = table.sub(name)
            if described is None and operation_class in (OperationClass.READ, OperationClass.WRITE):
                raise table.error(name, f'is missing; it must be a table: [{name}] fixed = "75us"')
            if described is not None:
                parts[name] = _parse_service_time(described, operation_class)
        return cls(**parts)

    def of(self, operation_class: OperationClass) -> ServiceTime:
        """The service time of one class."""
        return (self.read, self.write, self.flush, self.discard)[operation_class]


def _parse_service_time(table: Table, operation_class: OperationClass) -> ServiceTime:
    fixed = parse_distribution(table, "fixed")
    bandwidth_bytes_per_s = 0
    if operation_class is not OperationClass.FLUSH:
        bandwidth_bytes_per_s = table.bandwidth_bytes_per_s("bandwidth", 0)
    table.finish()
    return ServiceTime(fixed, bandwidth_bytes_per_s or None)


class ServiceTimeStream:
    """Draws service times, one by one or many at once: the sequences are the same.

    Each class of operations has a random stream of its own, so that the times of reads do
    not depend on how many writes are among them.
    """

    def __init__(self, times: ServiceTimes, seed: int) -> None:
        self._times = [times.of(operation_class) for operation_class in OperationClass]
        seeds = np.random.SeedSequence(seed).spawn(len(self._times))
        self._fixed = [
            time_stream(time.fixed, child) for time, child in zip(self._times, seeds, strict=True)
        ]

    def next_ns(self, operation_class: OperationClass, length_bytes: int) -> int:
        """The service time of the next request."""
        transfer_ns = self._times[operation_class].transfer_ns(length_bytes)
        return int(self._fixed[operation_class].next()) + transfer_ns

    def take_ns(
        self, classes: NDArray[np.int64], lengths_bytes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The service times of the next requests, in order."""
        service_ns = np.empty(classes.size, np.int64)
        for operation_class in OperationClass:
            places = np.flatnonzero(classes == operation_class)
            transfers_ns = self._times[operation_class].transfers_ns(lengths_bytes[places])
            service_ns[places] = self._fixed[operation_class].take(places.size) + transfers_ns
        return service_ns
