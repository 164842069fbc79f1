# SPDX-License-Identifier: GPL-2.0-or-later
"""A device by its figures: service times, a number of servers, and limits of its rates.

Each request takes a fixed part, drawn from a distribution, and its length divided by a
bandwidth. At most ``servers`` requests are in service at once, the others wait in order of
arrival: a G/G/k queue (Kleinrock, "Queueing Systems", volume 1, Wiley 1975, chapters 3, 5).
Limits on I/Os and bytes per second keep the starts of requests apart; they add nothing to
the latency of a device that is not saturated. :mod:`freezingtime.device.latency.queueing` says how
they go together. In TOML::

    servers = 32                  # as many as there are requests if missing
    flush_waits = true            # a flush starts when earlier writes have completed
    iops_limit = 1_000_000        # also read_iops_limit, write_iops_limit
    bandwidth_limit = "7GB/s"     # also read_bandwidth_limit, write_bandwidth_limit

    [read]                        # and [write], [flush], [discard]
    fixed = "75us"
    bandwidth = "3.2GB/s"

``fua`` changes nothing: a write that has completed counts as durable.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.base import Device
from freezingtime.device.kept.state import State, entry
from freezingtime.device.latency.queueing import (
    MAX_RATE_PER_S,
    QueueParams,
    TokenBucket,
    Unit,
    change_rates,
    check_rates,
    load_queues,
    new_queues,
    queues_state,
)
from freezingtime.device.latency.service_time import ServiceTimes, ServiceTimeStream
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.schema import Bandwidth, key
from freezingtime.device.trace_device import (
    CLASS_OF_OPERATION,
    DeviceTrace,
    OneAnnotation,
    TraceDevice,
)
from freezingtime.request import Request


class ServedTimes(ServiceTimes, frozen=True, kw_only=True):
    """Service times, and how many requests are served at once."""

    servers: (
        Annotated[
            int,
            key(
                "requests in service at once",
                least=1,
                most=2**20,
                missing="any number",
            ),
        ]
        | None
    ) = None
    flush_waits: Annotated[
        bool,
        key("whether a flush starts only when the writes before it have completed"),
    ] = True


_Iops: TypeAlias = Annotated[int, key("", least=1, most=MAX_RATE_PER_S, missing="no limit")]
_BytesPerS: TypeAlias = Annotated[Bandwidth, key("", least=1, missing="no limit")]


class LatencyParams(ServedTimes, frozen=True, kw_only=True):
    """Service times by operation, and what the requests have to wait for."""

    changeable = (
        *("read", "write", "flush", "discard", "iops_limit", "bandwidth_limit"),
        *("read_iops_limit", "read_bandwidth_limit", "write_iops_limit", "write_bandwidth_limit"),
    )

    iops_limit: Annotated[_Iops, key("requests per second, reads and writes together")] | None = (
        None
    )
    bandwidth_limit: (
        Annotated[_BytesPerS, key("bytes per second, reads and writes together")] | None
    ) = None
    read_iops_limit: Annotated[_Iops, key("reads per second")] | None = None
    read_bandwidth_limit: Annotated[_BytesPerS, key("bytes read per second")] | None = None
    write_iops_limit: Annotated[_Iops, key("writes per second")] | None = None
    write_bandwidth_limit: Annotated[_BytesPerS, key("bytes written per second")] | None = None

    def make(self, making: Making) -> Device:
        return LatencyDevice(self, making.seed)

    @property
    def queues(self) -> QueueParams:
        """Queues that requests wait in."""
        return QueueParams(
            servers=self.servers,
            shared=_buckets(self.iops_limit, self.bandwidth_limit),
            read=_buckets(self.read_iops_limit, self.read_bandwidth_limit),
            write=_buckets(self.write_iops_limit, self.write_bandwidth_limit),
            flush_waits=self.flush_waits,
        )


def _buckets(iops: int | None, bytes_per_s: int | None) -> tuple[TokenBucket, ...]:
    limits = (iops, Unit.IOS), (bytes_per_s, Unit.BYTES)
    return tuple(TokenBucket(rate, unit) for rate, unit in limits if rate is not None)


class LatencyDevice(TraceDevice):
    """The latency model. The first one made in a process imports numba (0.4 s).

    ``queues`` are other ones than those of the parameters.
    """

    def __init__(self, params: LatencyParams, seed: int, queues: QueueParams | None = None) -> None:
        super().__init__()
        from freezingtime.device.latency import queueing_kernels

        self._kernels = queueing_kernels
        self._times = ServiceTimeStream(params, seed)
        self._queues = new_queues(params.queues if queues is None else queues)
        self._annotation = OneAnnotation()

    def completion_ns(self, request: Request, now_ns: int) -> int:
        operation_class = CLASS_OF_OPERATION[request.operation]
        length_bytes = request.length_bytes
        service_ns = self._times.next_ns(operation_class, length_bytes)
        completion_ns = self._kernels.complete(
            self._queues,
            int(operation_class),
            now_ns,
            service_ns,
            1,
            length_bytes,
            self._annotation.records,
            0,
        )
        request.annotation = self._annotation.take()
        return int(completion_ns)

    def check_change(self, params: ModelParameters) -> None:
        """Require the same limits, whose rates may be others."""
        assert isinstance(params, LatencyParams)
        check_rates(self._queues, params.queues)

    def change_parameters(self, params: ModelParameters, now_ns: int) -> None:
        """Go on with other times and rates."""
        assert isinstance(params, LatencyParams)
        change_rates(self._queues, params.queues, now_ns)
        self._times.change(params)

    def model_state(self) -> State:
        return {"queues": queues_state(self._queues), "times": self._times.state()}

    def restore_model(self, state: State) -> None:
        load_queues(self._queues, entry(state, "queues"))
        self._times.load_state(entry(state, "times"))

    def complete_trace(self, trace: DeviceTrace) -> NDArray[np.int64]:
        completions_ns: NDArray[np.int64] = self._kernels.complete_all(
            self._queues,
            trace.classes,
            trace.arrivals_ns,
            self._times.take_ns(trace.classes, trace.lengths_bytes),
            np.ones_like(trace.classes),
            trace.lengths_bytes,
            trace.loop_ns,
            trace.annotations,
        )
        return completions_ns
