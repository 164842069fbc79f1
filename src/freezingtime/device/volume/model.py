# SPDX-License-Identifier: GPL-2.0-or-later
"""A cloud volume: token buckets with baseline, burst and credits in front of a latency.

The provider's rules are of one form (Amazon EC2 user guide, "Amazon EBS volume types"):
I/Os and bytes are each earned at a baseline rate, what is not used is saved as credits up
to a cap, and while there are credits the volume may burst to a higher rate. Here that is
two token buckets each: one that earns the baseline rate and holds the credits, one that
spaces the requests at the burst rate. Without credits it is the baseline rate alone. In
TOML, Amazon's gp2::

    servers = 64                       # requests in service at once; no limit if missing
    io_size = "256KiB"                 # a longer request counts as several I/Os
    merge_sequential = true            # contiguous requests count as one up to io_size
    charge_whole_ios = false           # true: every I/O costs io_size bytes of throughput

    [read]                             # and [write], [flush], [discard]: see service_time
    fixed = "600us"

    [iops]
    baseline_per_gib = 3               # or baseline = 3000
    baseline_least = 100               # bounds of what baseline_per_gib comes to
    baseline_most = 16_000
    burst = 3000                       # or burst_per_gib, burst_least, burst_most
    credits = 5_400_000                # or credits_per_gib, ...: the cap
    start_credits = 5_400_000          # the balance at time 0; full if missing

    [throughput]
    baseline = "250MiB/s"              # the same keys, as bandwidths and sizes

Rules that providers do not publish, as they are here: requests are admitted in order of
arrival, each when *all* of its tokens are there (:mod:`~freezingtime.device.latency.queueing`), and
tokens leave the buckets at that time. Reads and writes share the buckets; flushes and
discards need no tokens. Requests are contiguous if one begins where the last one *of its
direction* ended, whenever that was. All balances are exact; a request is admitted at the
first whole nanosecond at which its tokens are there. ``fua`` changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.latency.model import parse_servers
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
    MAX_LENGTH_BYTES,
    DeviceTrace,
    OneAnnotation,
    TraceDevice,
)
from freezingtime.errors import InputError
from freezingtime.request import Request

_GIB = 2**30
_MAX_CREDITS = 2**60


@dataclass(frozen=True)
class Amount:
    """An amount that may depend on the volume's size: ``fixed``, or so much per GiB."""

    fixed: int | None = None
    per_gib: int = 0
    least: int = 1
    most: int = MAX_RATE_PER_S

    def at(self, size_bytes: int | None) -> int:
        """The amount for a volume of this size, rounded down, within least and most.

        Raises InputError where it depends on the size and there is none.
        """
        if self.fixed is not None:
            return self.fixed
        if size_bytes is None:
            raise InputError("a volume with limits per GiB needs a size; name one")
        return min(max(self.per_gib * size_bytes // _GIB, self.least), self.most)


@dataclass(frozen=True)
class BurstLimit:
    """Baseline and burst rates per second, and the cap and start of the credit balance.

    ``burst`` and ``credits`` are both there or both None. A start of None is a full balance.
    """

    unit: Unit
    baseline: Amount
    burst: Amount | None = None
    credits: Amount | None = None
    start_credits: int | None = None

    def buckets(self, size_bytes: int | None) -> tuple[TokenBucket, ...]:
        """The token buckets of a volume of this size."""
        baseline = self.baseline.at(size_bytes)
        if self.burst is None or self.credits is None:
            return (TokenBucket(baseline, self.unit),)
        burst = self.burst.at(size_bytes)
        if burst <= baseline:  # a large volume's baseline may be above the burst rate
            return (TokenBucket(baseline, self.unit),)
        cap = self.credits.at(size_bytes)
        start = cap if self.start_credits is None else min(self.start_credits, cap)
        return (TokenBucket(baseline, self.unit, cap, start), TokenBucket(burst, self.unit))


@dataclass(frozen=True)
class VolumeParams:
    """What a volume may do, and how long it takes."""

    times: ServiceTimes
    limits: tuple[BurstLimit, ...] = ()
    io_bytes: int = MAX_LENGTH_BYTES
    merge_sequential: bool = False
    charge_whole_ios: bool = False
    servers: int | None = None
    flush_waits: bool = True

    @classmethod
    def parse(cls, table: Table) -> VolumeParams:
        """Read a model's table.

        Raises:
            InputError: a key is unknown or missing, or its value is not possible.
        """
        times = ServiceTimes.parse(table)
        limits = [
            _parse_limit(table, "iops", Unit.IOS),
            _parse_limit(table, "throughput", Unit.BYTES),
        ]
        params = cls(
            times,
            limits=tuple(limit for limit in limits if limit is not None),
            io_bytes=table.size_bytes("io_size", MAX_LENGTH_BYTES, least=512),
            merge_sequential=table.boolean("merge_sequential", False),
            charge_whole_ios=table.boolean("charge_whole_ios", False),
            servers=parse_servers(table),
            flush_waits=table.boolean("flush_waits", True),
        )
        for key in ("merge_sequential", "charge_whole_ios"):
            if getattr(params, key) and "io_size" not in table:
                raise table.error(key, "needs io_size, the size of one I/O")
        if params.io_bytes > MAX_LENGTH_BYTES:
            raise table.error("io_size", "must be at most 8GiB")
        table.finish()
        return params


def _parse_limit(table: Table, key: str, unit: Unit) -> BurstLimit | None:
    limit = table.sub(key)
    if limit is None:
        return None
    rate_of = _integer if unit is Unit.IOS else _bandwidth
    tokens_of = _integer if unit is Unit.IOS else _size
    baseline = _parse_amount(limit, "baseline", rate_of, MAX_RATE_PER_S)
    if baseline is None:
        raise limit.error("baseline", "is missing; give baseline or baseline_per_gib")
    burst = _parse_amount(limit, "burst", rate_of, MAX_RATE_PER_S)
    credit_cap = _parse_amount(limit, "credits", tokens_of, _MAX_CREDITS)
    if (burst is None) != (credit_cap is None):
        raise limit.error("burst", "burst and credits go together: give both or none")
    start_credits = tokens_of(limit, "start_credits", 0, least=0)
    if "start_credits" in limit and credit_cap is None:
        raise limit.error("start_credits", "needs burst and credits")
    limit.finish()
    start = start_credits if "start_credits" in limit else None
    return BurstLimit(unit, baseline, burst, credit_cap, start)


def _integer(table: Table, key: str, default: int, *, least: int) -> int:
    return table.integer(key, max(default, least), least=least)


def _bandwidth(table: Table, key: str, default: int, *, least: int) -> int:
    return table.bandwidth_bytes_per_s(key, default, least=least)


def _size(table: Table, key: str, default: int, *, least: int) -> int:
    return table.size_bytes(key, default, least=least)


def _parse_amount(table: Table, key: str, read: Callable[..., int], greatest: int) -> Amount | None:
    """``key``, or ``key_per_gib`` with its bounds; None where neither is there."""
    fixed = read(table, key, 0, least=1)
    per_gib = read(table, f"{key}_per_gib", 0, least=1)
    least = read(table, f"{key}_least", 1, least=1)
    most = read(table, f"{key}_most", greatest, least=1)
    for name, value in ((key, fixed), (f"{key}_per_gib", per_gib), (f"{key}_most", most)):
        if value > greatest:
            raise table.error(name, f"must be at most {greatest}")
    if f"{key}_per_gib" in table:
        if key in table:
            raise table.error(key, f"give either {key} or {key}_per_gib")
        if least > most:
            raise table.error(f"{key}_least", f"must be at most {key}_most")
        return Amount(per_gib=per_gib, least=least, most=most)
    for bound in (f"{key}_least", f"{key}_most"):
        if bound in table:
            raise table.error(bound, f"needs {key}_per_gib, which it bounds")
    return Amount(fixed) if key in table else None


class VolumeDevice(TraceDevice):
    """The volume model. The first one made in a process imports numba (0.4 s).

    ``size_bytes`` may be None unless limits depend on the size. Raises InputError where
    they do and it is None, or where credits take more than 31 years to earn.
    """

    def __init__(self, params: VolumeParams, seed: int, size_bytes: int | None = None) -> None:
        super().__init__()
        from freezingtime.device.latency import queueing_kernels
        from freezingtime.device.volume import kernels as volume_kernels

        self._params = params
        self._queueing = queueing_kernels
        self._accounting = volume_kernels
        self._times = ServiceTimeStream(params.times, seed)
        self._buckets = [bucket for limit in params.limits for bucket in limit.buckets(size_bytes)]
        self._queues = new_queues(
            QueueParams(params.servers, shared=self._buckets, flush_waits=params.flush_waits)
        )
        self._annotation = OneAnnotation()
        # Reads and writes only. Nothing ends at -1, so no run has begun.
        self._runs = np.full((2, volume_kernels.RUN_COLUMNS), -1, np.int64)

    def completion_ns(self, request: Request, now_ns: int) -> int:
        operation_class = CLASS_OF_OPERATION[request.operation]
        length_bytes = request.length_bytes
        service_ns = self._times.next_ns(operation_class, length_bytes)
        io_bytes = self._params.io_bytes
        ios = self._accounting.count_ios(
            self._runs,
            int(operation_class),
            request.offset_bytes,
            length_bytes,
            io_bytes,
            self._params.merge_sequential,
        )
        charged_bytes = ios * io_bytes if self._params.charge_whole_ios else length_bytes
        completion_ns = self._queueing.complete(
            self._queues,
            int(operation_class),
            now_ns,
            service_ns,
            ios,
            charged_bytes,
            self._annotation.records,
            0,
        )
        request.annotation = self._annotation.take()
        return int(completion_ns)

    def statistics(self) -> dict[str, float]:
        """The balances of the credits when the last request arrived, in I/Os and bytes.

        Below 0 while a request that needs more than the volume can save is paid off.
        """
        now_ns = int(self._queues.progress[self._queueing.NOW_NS])
        return {
            f"{bucket.held_by.name.lower()}_balance": bucket.balance_at(row.tolist(), now_ns)
            for bucket, row in zip(self._buckets, self._queues.shared_buckets, strict=True)
            if bucket.saves
        }

    def complete_trace(self, trace: DeviceTrace) -> NDArray[np.int64]:
        io_bytes = self._params.io_bytes
        ios = self._accounting.count_all_ios(
            self._runs,
            trace.classes,
            trace.offsets_bytes,
            trace.lengths_bytes,
            io_bytes,
            self._params.merge_sequential,
        )
        charged_bytes = ios * io_bytes if self._params.charge_whole_ios else trace.lengths_bytes
        services_ns = self._times.take_ns(trace.classes, trace.lengths_bytes)
        completions_ns: NDArray[np.int64] = self._queueing.complete_all(
            self._queues,
            trace.classes,
            trace.arrivals_ns,
            services_ns,
            ios,
            charged_bytes,
            trace.loop_ns,
            trace.annotations,
        )
        return completions_ns
