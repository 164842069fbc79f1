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
    start_credits = 5_400_000          # balance at time 0; full if missing

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

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
from msgspec import defstruct, field
from numpy.typing import NDArray

from freezingtime.device.base import Device
from freezingtime.device.kept.arrays import load_numbers
from freezingtime.device.kept.state import State, entry
from freezingtime.device.latency.model import ServedTimes
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
from freezingtime.device.latency.service_time import ServiceTimeStream
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Bandwidth, Parameters, SizeBytes, key
from freezingtime.device.trace_device import (
    CLASS_OF_OPERATION,
    MAX_LENGTH_BYTES,
    DeviceTrace,
    OneAnnotation,
    TraceDevice,
)
from freezingtime.errors import InputError, about
from freezingtime.request import Request

_GIB = 2**30
_MAX_CREDITS = 2**60
_START = "start_credits"


class BurstLimit(Parameters, frozen=True, kw_only=True):
    """Baseline and burst rates per second, and the cap and start of the credit balance.

    Its amounts, each of which may depend on the volume's size, are declared by :func:`_limit`.
    """

    unit: ClassVar[Unit]

    def buckets(self, size_bytes: int | None) -> tuple[TokenBucket, ...]:
        """The token buckets of a volume of this size.

        Raises:
            InputError: an amount depends on the size, and there is none.
        """
        baseline = self._at("baseline", size_bytes)
        burst, cap = self._at("burst", size_bytes), self._at("credits", size_bytes)
        assert baseline is not None
        if burst is None or cap is None:
            return (TokenBucket(baseline, self.unit),)
        if burst <= baseline:  # a large volume's baseline may be above the burst rate
            return (TokenBucket(baseline, self.unit),)
        start_credits: int | None = getattr(self, _START)
        start = cap if start_credits is None else min(start_credits, cap)
        return (TokenBucket(baseline, self.unit, cap, start), TokenBucket(burst, self.unit))

    def _at(self, amount: str, size_bytes: int | None) -> int | None:
        """An amount for a volume of this size, rounded down, within its bounds."""
        fixed: int | None = getattr(self, amount)
        per_gib: int | None = getattr(self, f"{amount}_per_gib")
        if per_gib is None:
            return fixed
        if size_bytes is None:
            raise InputError("a volume with limits per GiB needs a size; name one")
        least, most = self._bounds(amount)
        return min(max(per_gib * size_bytes // _GIB, least), most)

    def _bounds(self, amount: str) -> tuple[int, int]:
        least: int | None = getattr(self, f"{amount}_least")
        most: int | None = getattr(self, f"{amount}_most")
        greatest = _MAX_CREDITS if amount == "credits" else MAX_RATE_PER_S
        return least or 1, greatest if most is None else most

    def check(self, table: Table) -> None:
        for amount in ("baseline", "burst", "credits"):
            per_gib = f"{amount}_per_gib"
            if per_gib not in table:
                for bound in (f"{amount}_least", f"{amount}_most"):
                    if bound in table:
                        raise table.error(bound, f"needs {per_gib}, which it bounds")
                continue
            if amount in table:
                raise table.error(amount, f"give either {amount} or {per_gib}")
            least, most = self._bounds(amount)
            if least > most:
                raise table.error(f"{amount}_least", f"must be at most {amount}_most")
        if not _has(table, "baseline"):
            raise table.error("baseline", "is missing; give baseline or baseline_per_gib")
        if _has(table, "burst") != _has(table, "credits"):
            raise table.error("burst", "burst and credits go together: give both or none")
        if "start_credits" in table and not _has(table, "credits"):
            raise table.error("start_credits", "needs burst and credits")


def _has(table: Table, amount: str) -> bool:
    return amount in table or f"{amount}_per_gib" in table


def _limit(name: str, limit_unit: Unit, rate: Any, tokens: Any, text: str) -> type[BurstLimit]:
    """A declared table with the same keys for I/Os and for bytes."""
    fields: list[tuple[str, Any, Any]] = []
    for amount, unit, most, meaning in (
        (
            "baseline",
            rate,
            MAX_RATE_PER_S,
            "earned per second; this or `baseline_per_gib` is needed",
        ),
        ("burst", rate, MAX_RATE_PER_S, "rate while credits last; goes with `credits`"),
        ("credits", tokens, _MAX_CREDITS, "maximum balance"),
    ):
        for suffix, doc in (
            ("", meaning),
            ("_per_gib", "the same, for each GiB of the volume"),
            ("_least", "lower bound of `_per_gib`"),
            ("_most", "upper bound of `_per_gib`"),
        ):
            declared: Any = Annotated[unit, key(doc, least=1, most=most)]
            fields.append((f"{amount}{suffix}", declared | None, None))
    start: Any = Annotated[tokens, key("balance at time 0", missing="full")]
    fields.append((_START, start | None, None))
    limit: Any = defstruct(
        name,
        fields,
        bases=(BurstLimit,),
        namespace={"unit": limit_unit, "__doc__": text},
        module=__name__,
        frozen=True,
        kw_only=True,
    )
    return cast("type[BurstLimit]", limit)


if TYPE_CHECKING:

    class IopsLimit(BurstLimit, frozen=True):
        """See below."""

    class ThroughputLimit(BurstLimit, frozen=True):
        """See below."""
else:
    IopsLimit = _limit("IopsLimit", Unit.IOS, int, int, "The limit of I/Os per second.")
    ThroughputLimit = _limit(
        "ThroughputLimit", Unit.BYTES, Bandwidth, SizeBytes, "The limit of bytes per second."
    )


class VolumeParams(ServedTimes, frozen=True, kw_only=True):
    """Limits and service times of a volume."""

    changeable = ("read", "write", "flush", "discard", "iops", "throughput")

    iops: IopsLimit | None = None
    throughput: ThroughputLimit | None = None
    io_bytes: Annotated[
        SizeBytes,
        key(
            "a longer request counts as several I/Os",
            least=512,
            most=MAX_LENGTH_BYTES,
            missing="no limit",
        ),
    ] = field(default=MAX_LENGTH_BYTES, name="io_size")
    merge_sequential: Annotated[
        bool, key("whether contiguous requests count as one, up to `io_size`")
    ] = False
    charge_whole_ios: Annotated[
        bool, key("whether every I/O costs `io_size` bytes of throughput")
    ] = False

    @property
    def limits(self) -> tuple[BurstLimit, ...]:
        """Limits of the volume."""
        return tuple(limit for limit in (self.iops, self.throughput) if limit is not None)

    def make(self, making: Making) -> Device:
        with about(f"{making.table.file}: "):
            return VolumeDevice(self, making.seed, making.size_bytes)

    def check(self, table: Table) -> None:
        for name in ("merge_sequential", "charge_whole_ios"):
            if getattr(self, name) and "io_size" not in table:
                raise table.error(name, "needs io_size, the size of one I/O")


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
        self._times = ServiceTimeStream(params, seed)
        self._buckets = [bucket for limit in params.limits for bucket in limit.buckets(size_bytes)]
        self._size_bytes = size_bytes
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

    def check_change(self, params: ModelParameters) -> None:
        """Require the same limits, whose rates may be others."""
        check_rates(self._queues, QueueParams(shared=self._buckets_of(params)))

    def _buckets_of(self, params: ModelParameters) -> list[TokenBucket]:
        assert isinstance(params, VolumeParams)
        return [each for limit in params.limits for each in limit.buckets(self._size_bytes)]

    def change_parameters(self, params: ModelParameters, now_ns: int) -> None:
        """Go on with other times and rates; credits that were saved stay."""
        assert isinstance(params, VolumeParams)
        buckets = self._buckets_of(params)
        change_rates(self._queues, QueueParams(shared=buckets), now_ns)
        self._buckets = buckets
        self._times.change(params)

    def model_state(self) -> State:
        return {
            "queues": queues_state(self._queues),
            "times": self._times.state(),
            "runs": self._runs,
        }

    def restore_model(self, state: State) -> None:
        load_queues(self._queues, entry(state, "queues"))
        self._times.load_state(entry(state, "times"))
        load_numbers(self._runs, entry(state, "runs"), "a run of requests", -1)

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
