# SPDX-License-Identifier: GPL-2.0-or-later
"""Queues in front of a device: limits as token buckets, then k servers, first come first served.

A read or write passes three places:

1. The *shared limits*, in order of arrival. It goes on at the first nanosecond at which
   every one of these token buckets holds what it needs, and takes it then. A bucket of
   capacity 1 is a plain rate limit: the next request may start when the last one's tokens
   have been earned back. A request that needs more than a bucket can hold waits until the
   bucket is full and leaves it in debt, so rates hold for requests of any size. What comes
   within the nanosecond in which a bucket fills is kept: rounding times up loses no tokens.
2. The *limits of its direction*, which hold back its own direction only: meanwhile neither
   the shared limits nor a server are kept from the other direction. So, while a direction's
   limit is what holds, a device may for short times have more requests in service than
   servers.
3. The first free of k servers, for the service time.

A discard passes the servers only. A flush passes none of them: it starts on arrival or, if
flushes wait, when the writes that were submitted before it have completed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from freezingtime.annotation import HeldBy
from freezingtime.device.kept.arrays import load_numbers, loaded_array, require_range
from freezingtime.device.kept.state import State, entry, require
from freezingtime.errors import InputError
from freezingtime.units import NS_PER_S

if TYPE_CHECKING:
    from freezingtime.device.latency.queueing_kernels import QueueState

#: How long a bucket may take to fill (31 years): sums of times stay inside 64 bits.
MAX_FILL_S = 10**9
#: Products in the division of tokens by a rate stay inside 64 bits.
MAX_RATE_PER_S = 10**15


class Unit(IntEnum):
    """Unit of a token."""

    IOS = 0
    BYTES = 1


@dataclass(frozen=True)
class TokenBucket:
    """A limit: tokens come at a rate and are kept up to a capacity.

    ``rate_per_s`` is from 1 to 10**15, ``capacity`` 1 or more, ``start`` (the balance at
    time 0; full if None) from 0 to the capacity. Raises InputError where the bucket would
    take more than 31 years to fill.
    """

    rate_per_s: int
    unit: Unit
    capacity: int = 1
    start: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rate_per_s <= MAX_RATE_PER_S:
            raise InputError(
                f"a limit of {self.rate_per_s} {self.unit.name.lower()} per second: "
                f"must be from 1 to {MAX_RATE_PER_S}"
            )
        if self.capacity > self.rate_per_s * MAX_FILL_S:
            raise InputError(
                f"a balance of {self.capacity} {self.unit.name.lower()} takes more than "
                f"31 years to earn at {self.rate_per_s} per second; it must be smaller"
            )

    def row(self) -> list[int]:
        """The bucket at time 0, as the kernels have it."""
        start = self.capacity if self.start is None else self.start
        missing = self.capacity - start
        full_ns, fraction = divmod(missing * NS_PER_S, self.rate_per_s)
        return [self.rate_per_s, self.capacity, int(self.unit), full_ns, fraction, self.held_by]

    @property
    def saves(self) -> bool:
        """Whether it holds credits, and is not only a limit of the rate."""
        return self.capacity > 1

    @property
    def held_by(self) -> HeldBy:
        """Return the cause of waiting for this bucket."""
        if self.unit is Unit.IOS:
            return HeldBy.IOPS_CREDITS if self.saves else HeldBy.IOPS_LIMIT
        return HeldBy.THROUGHPUT_CREDITS if self.saves else HeldBy.THROUGHPUT_LIMIT

    def balance_at(self, row: Sequence[int], now_ns: int) -> float:
        """The tokens at a time, of a row that was :meth:`row`, as the kernels have left it."""
        full_ns, fraction = row[3:5]
        missing_ns = full_ns - now_ns + fraction / self.rate_per_s
        return self.capacity - max(0.0, missing_ns * self.rate_per_s / NS_PER_S)


@dataclass(frozen=True)
class QueueParams:
    """The limits, the number of servers (None: no limit), and whether flushes wait."""

    servers: int | None = None
    shared: Sequence[TokenBucket] = field(default=())
    read: Sequence[TokenBucket] = field(default=())
    write: Sequence[TokenBucket] = field(default=())
    flush_waits: bool = True


def new_queues(params: QueueParams) -> QueueState:
    """Empty queues, for the functions of :mod:`freezingtime.device.latency.queueing_kernels`."""
    from freezingtime.device.latency import queueing_kernels as kernels

    def matrix(buckets: Sequence[TokenBucket]) -> NDArray[np.int64]:
        rows = [bucket.row() for bucket in buckets]
        return np.array(rows, np.int64).reshape(len(rows), kernels.BUCKET_COLUMNS)

    return kernels.QueueState(
        shared_buckets=matrix(params.shared),
        read_buckets=matrix(params.read),
        write_buckets=matrix(params.write),
        servers_free_ns=np.zeros(params.servers or 0, np.int64),
        progress=np.zeros(kernels.PROGRESS_FIELDS, np.int64),
        flush_waits=params.flush_waits,
    )


def change_rates(queues: QueueState, params: QueueParams, now_ns: int) -> None:
    """Fill the buckets at other rates from ``now_ns`` on; their balances stay, to the last part.

    Raises:
        InputError: there are more or fewer buckets, or they hold more or less.
    """
    check_rates(queues, params)
    for rows, buckets in _pairs(queues, params):
        for row, bucket in zip(rows, buckets, strict=True):
            _change_rate(row, bucket.rate_per_s, now_ns)


def check_rates(queues: QueueState, params: QueueParams) -> None:
    """Require that the buckets can be filled at the rates of others.

    Raises:
        InputError: there are more or fewer of them, or they hold more or less.
    """
    from freezingtime.device.latency import queueing_kernels as kernels

    for rows, buckets in _pairs(queues, params):
        same = len(rows) == len(buckets) and all(
            (int(row[kernels.CAPACITY]), int(row[kernels.COUNTS_BYTES]))
            == (bucket.capacity, int(bucket.unit))
            for row, bucket in zip(rows, buckets, strict=True)
        )
        if not same:
            raise InputError(
                "only the rate of a limit can change while the device runs: it must have the same "
                "limits, with the same credits, before and after"
            )


def _pairs(
    queues: QueueState, params: QueueParams
) -> list[tuple[NDArray[np.int64], Sequence[TokenBucket]]]:
    """The buckets that there are, and those of the same place that are described."""
    return [
        (queues.shared_buckets, params.shared),
        (queues.read_buckets, params.read),
        (queues.write_buckets, params.write),
    ]


def queues_state(queues: QueueState) -> State:
    """Return what has become of queues, with the rates at which their buckets were filled last."""
    from freezingtime.device.latency import queueing_kernels as kernels

    columns = [kernels.RATE, kernels.FULL_NS, kernels.FULL_FRACTION]
    return {
        **{name: getattr(queues, name)[:, columns] for name in _BUCKETS},
        "servers_free_ns": queues.servers_free_ns,
        "progress": queues.progress,
    }


def load_queues(queues: QueueState, state: State) -> None:
    """Have new queues go on from the state of others, whose buckets may have had other rates.

    Raises:
        StateError: it is none of such queues.
    """
    from freezingtime.device.latency import queueing_kernels as kernels

    load_numbers(queues.servers_free_ns, entry(state, "servers_free_ns"), "a server's time")
    load_numbers(queues.progress, entry(state, "progress"), "the queue's time")
    require(0 <= queues.progress[kernels.ADMISSION_HELD_BY] <= max(HeldBy), "a cause of waiting")
    for name in _BUCKETS:
        rows = getattr(queues, name)
        columns = [kernels.RATE, kernels.FULL_NS, kernels.FULL_FRACTION]
        loaded = loaded_array(entry(state, name), rows[:, columns], "a balance")
        rates, times_ns, fractions = loaded.T
        require(np.all((rates >= 1) & (rates <= MAX_RATE_PER_S)), "a rate")
        require(np.all((fractions >= 0) & (fractions < rates)), "a balance")
        require_range(times_ns, "a balance", -(2**62), 2**62)
        own_rates = rows[:, kernels.RATE].tolist()
        rows[:, columns] = loaded
        for row, rate_per_s in zip(rows, own_rates, strict=True):
            _change_rate(row, rate_per_s, int(queues.progress[kernels.NOW_NS]))


def _change_rate(row: NDArray[np.int64], rate_per_s: int, now_ns: int) -> None:
    """Fill a bucket at another rate from a time on; what it holds stays, to the last part."""
    from freezingtime.device.latency import queueing_kernels as kernels

    rate = int(row[kernels.RATE])
    if rate_per_s == rate:
        return
    missing = (int(row[kernels.FULL_NS]) - now_ns) * rate + int(row[kernels.FULL_FRACTION])
    full_ns, fraction = divmod(max(0, missing), rate_per_s)
    row[kernels.RATE] = rate_per_s
    row[kernels.FULL_NS], row[kernels.FULL_FRACTION] = min(now_ns + full_ns, 2**62), fraction


_BUCKETS = ("shared_buckets", "read_buckets", "write_buckets")
