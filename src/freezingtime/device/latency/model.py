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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.latency.queueing import (
    MAX_RATE_PER_S,
    QueueParams,
    TokenBucket,
    Unit,
    new_queues,
)
from freezingtime.device.latency.service_time import ServiceTimes, ServiceTimeStream
from freezingtime.device.parameters import Table
from freezingtime.device.trace_device import (
    CLASS_OF_OPERATION,
    DeviceTrace,
    OneAnnotation,
    TraceDevice,
)
from freezingtime.request import Request

_MAX_SERVERS = 2**20


@dataclass(frozen=True)
class LatencyParams:
    """Service times by operation, and what the requests have to wait for."""

    times: ServiceTimes
    queues: QueueParams

    @classmethod
    def parse(cls, table: Table) -> LatencyParams:
        """Read a model's table.

        Raises:
            InputError: a key is unknown or missing, or its value is not possible.
        """
        times = ServiceTimes.parse(table)
        queues = QueueParams(
            servers=parse_servers(table),
            shared=_parse_limits(table, ""),
            read=_parse_limits(table, "read_"),
            write=_parse_limits(table, "write_"),
            flush_waits=table.boolean("flush_waits", True),
        )
        table.finish()
        return cls(times, queues)


def parse_servers(table: Table) -> int | None:
    """The key ``servers``: how many requests are served at once, or None for no limit."""
    servers = table.integer("servers", 1, least=1, most=_MAX_SERVERS)
    return servers if "servers" in table else None


def _parse_limits(table: Table, prefix: str) -> tuple[TokenBucket, ...]:
    limits = []
    iops = table.integer(f"{prefix}iops_limit", 1, least=1, most=MAX_RATE_PER_S)
    if f"{prefix}iops_limit" in table:
        limits.append(TokenBucket(iops, Unit.IOS))
    bytes_per_s = table.bandwidth_bytes_per_s(f"{prefix}bandwidth_limit", 0, least=1)
    if bytes_per_s:
        limits.append(TokenBucket(bytes_per_s, Unit.BYTES))
    return tuple(limits)


class LatencyDevice(TraceDevice):
    """The latency model. The first one made in a process imports numba (0.4 s)."""

    def __init__(self, params: LatencyParams, seed: int) -> None:
        super().__init__()
        from freezingtime.device.latency import queueing_kernels

        self._kernels = queueing_kernels
        self._times = ServiceTimeStream(params.times, seed)
        self._queues = new_queues(params.queues)
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
