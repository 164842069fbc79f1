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

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.kept.state import State, entry, items, require
from freezingtime.device.latency.distribution import (
    Constant,
    DescribedTime,
    Distribution,
    time_stream,
    time_stream_of,
)
from freezingtime.device.model_parameters import ModelParameters
from freezingtime.device.schema import Bandwidth, Parameters, key
from freezingtime.device.trace_device import OperationClass
from freezingtime.units import NS_PER_S


class FlushTime(Parameters, frozen=True, kw_only=True):
    """The service time of flushes, which have no length."""

    fixed: Annotated[
        DescribedTime,
        key(
            "the part that does not depend on the length; or a "
            "[distribution](../devices/description.md#times-and-distributions)"
        ),
    ]

    @property
    def distribution(self) -> Distribution:
        """Distribution of the fixed part."""
        return Constant(self.fixed) if isinstance(self.fixed, int) else self.fixed

    def transfer_ns(self, _length_bytes: int) -> int:
        """The part that grows with the length: none."""
        return 0

    def transfers_ns(self, lengths_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """:meth:`transfer_ns` of many lengths."""
        return np.zeros_like(lengths_bytes)

    def mean_ns(self, length_bytes: int) -> float:
        """The mean service time of a request of this length."""
        return self.distribution.mean_ns + self.transfer_ns(length_bytes)


class ServiceTime(FlushTime, frozen=True, kw_only=True):
    """The service time of one class of operations."""

    bandwidth_bytes_per_s: (
        Annotated[Bandwidth, key("the length divided by this comes on top", missing="no such part")]
        | None
    ) = None

    def transfer_ns(self, length_bytes: int) -> int:
        """The part that grows with the length, rounded up."""
        if self.bandwidth_bytes_per_s is None:
            return 0
        return -(-length_bytes * NS_PER_S // self.bandwidth_bytes_per_s)

    def transfers_ns(self, lengths_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """:meth:`transfer_ns` of many lengths of at most 8 GiB."""
        if self.bandwidth_bytes_per_s is None:
            return np.zeros_like(lengths_bytes)
        return -(-lengths_bytes * NS_PER_S // self.bandwidth_bytes_per_s)


_NO_TIME = FlushTime(fixed=0)


class ServiceTimes(ModelParameters, frozen=True, kw_only=True):
    """The service times of all operations."""

    read: Annotated[ServiceTime, key("the time of a read")]
    write: Annotated[ServiceTime, key("the time of a write")]
    flush: Annotated[FlushTime, key("the time of a flush", missing="none")] | None = None
    discard: Annotated[ServiceTime, key("the time of a discard", missing="none")] | None = None

    def of(self, operation_class: OperationClass) -> FlushTime:
        """The service time of one class."""
        return (self.read, self.write, self.flush, self.discard)[operation_class] or _NO_TIME


class ServiceTimeStream:
    """Draws service times, one by one or many at once: the sequences are the same.

    Each class of operations has a random stream of its own, so that the times of reads do
    not depend on how many writes are among them.
    """

    def __init__(self, times: ServiceTimes, seed: int) -> None:
        self._times = [times.of(operation_class) for operation_class in OperationClass]
        self._seed = seed
        seeds = np.random.SeedSequence(seed).spawn(len(self._times))
        self._fixed = [
            time_stream(time.distribution, child)
            for time, child in zip(self._times, seeds, strict=True)
        ]

    def change(self, times: ServiceTimes) -> None:
        """Draw from other distributions from the next request on; their random numbers go on."""
        for operation_class in OperationClass:
            before, time = self._times[operation_class], times.of(operation_class)
            self._times[operation_class] = time
            if time.distribution != before.distribution:
                stream = self._fixed[operation_class]
                self._fixed[operation_class] = time_stream_of(time.distribution, stream.generator)

    def state(self) -> State:
        """Return what the next draws depend on."""
        return {"seed": str(self._seed), "streams": [stream.state() for stream in self._fixed]}

    def load_state(self, state: State) -> None:
        """Go on from a state; with another seed, the draws are that seed's from its beginning.

        Raises:
            StateError: it is no such state.
        """
        if entry(state, "seed") == str(self._seed):
            streams = items(entry(state, "streams"), "the streams")
            require(len(streams) == len(self._fixed), "the streams")
            for stream, loaded in zip(self._fixed, streams, strict=True):
                stream.load_state(loaded)

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
