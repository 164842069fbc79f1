# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of requests, of all that the program prints and draws: rates, mean, percentiles.

Exact, and in two passes over the requests, so that there may be more of them than are to be in
memory; :func:`figures_of` takes both over requests that are.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from freezingtime.percentile import percentile_rank
from freezingtime.quantiles import Histogram, Integers, RankedValues
from freezingtime.units import rate_hz

#: The word for all operations of a disk together.
ALL = "all"

#: Percentiles by name, in 100,000ths.
PERCENTILES: Mapping[str, int] = {
    "p50": 50_000,
    "p90": 90_000,
    "p99": 99_000,
    "p99.9": 99_900,
    "p99.99": 99_990,
}

_HALF_BITS = 32


@dataclass(frozen=True, slots=True)
class RequestFigures:
    """Figures of some requests, at least one. Rates are None if they took no time."""

    count: int
    iops: float | None
    bandwidth_bytes_per_s: float | None
    mean_ns: float
    percentiles_ns: Mapping[str, int]
    """By the names of :data:`PERCENTILES`."""
    max_ns: int


@dataclass(slots=True)
class RequestTally:
    """The first pass: requests counted, in batches and in any order."""

    histogram: Histogram = field(default_factory=Histogram)
    moved_bytes: int = 0
    _sum_ns: int = 0
    _max_ns: int = 0

    @property
    def count(self) -> int:
        """Number of requests."""
        return self.histogram.total

    def add(self, latency_ns: Integers, moved_bytes: Integers) -> None:
        """Take in some requests, at least one."""
        self.histogram.add(latency_ns)
        self.moved_bytes += int(moved_bytes.sum())
        self._sum_ns += _exact_sum(latency_ns)
        self._max_ns = max(self._max_ns, int(latency_ns.max()))

    def figures(self, duration_ns: int, percentiles_ns: Sequence[int]) -> RequestFigures:
        """With the percentiles that the second pass finds, in the order of their names."""
        return RequestFigures(
            count=self.count,
            iops=rate_hz(self.count, duration_ns),
            bandwidth_bytes_per_s=rate_hz(self.moved_bytes, duration_ns),
            mean_ns=self._sum_ns / self.count,
            percentiles_ns=dict(zip(PERCENTILES, percentiles_ns, strict=True)),
            max_ns=self._max_ns,
        )


class RequestRanking:
    """The second pass: the same requests again, in batches and in any order."""

    def __init__(self, tally: RequestTally, more_ranks: Sequence[int] | Integers = ()) -> None:
        """``more_ranks``, from 1, are those of latencies that are wanted beside percentiles."""
        self._tally = tally
        ranks = [percentile_rank(tally.count, share) for share in PERCENTILES.values()]
        self._ranked = RankedValues(tally.histogram, [*ranks, *more_ranks])

    def add(self, latency_ns: Integers) -> None:
        """Take in some of the requests that the tally has counted."""
        self._ranked.add(latency_ns)

    def result(self, duration_ns: int) -> tuple[RequestFigures, Integers]:
        """The figures, and the latencies at the ranks that were wanted beside them."""
        values_ns = self._ranked.values()
        figures = self._tally.figures(duration_ns, values_ns[: len(PERCENTILES)].tolist())
        return figures, values_ns[len(PERCENTILES) :]


def figures_of(latency_ns: Integers, moved_bytes: Integers, duration_ns: int) -> RequestFigures:
    """The figures of requests that are in memory, at least one."""
    tally = RequestTally()
    tally.add(latency_ns, moved_bytes)
    ranking = RequestRanking(tally)
    ranking.add(latency_ns)
    figures, _ = ranking.result(duration_ns)
    return figures


def figures_of_counted(values_ns: Integers, counts: Integers) -> RequestFigures:
    """The figures of distinct latencies in order of size and how often each occurs, without rates.

    For latencies of which each is known only when it is there, so that there is no second pass.
    """
    ends = np.cumsum(counts)
    count = int(ends[-1])
    ranks = [percentile_rank(count, share) for share in PERCENTILES.values()]
    at_ranks_ns = values_ns[np.searchsorted(ends, ranks)].tolist()
    sum_ns = sum(map(operator.mul, values_ns.tolist(), counts.tolist()))
    return RequestFigures(
        count=count,
        iops=None,
        bandwidth_bytes_per_s=None,
        mean_ns=sum_ns / count,
        percentiles_ns=dict(zip(PERCENTILES, at_ranks_ns, strict=True)),
        max_ns=int(values_ns[-1]),
    )


def _exact_sum(values: Integers) -> int:
    """The sum of any values: of many latencies under overload, it does not fit into 64 bits."""
    high = int((values >> _HALF_BITS).sum())
    low = int((values & np.int64(2**_HALF_BITS - 1)).sum())
    return (high << _HALF_BITS) + low
