# SPDX-License-Identifier: GPL-2.0-or-later
"""Exact quantiles of more values than fit in memory, in two passes over them.

The first pass counts the values in buckets, 1024 for each power of two, which tells in which
bucket each wanted rank is. The second keeps the values of those buckets only, and of them each
distinct one once, with a count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

# A bucket is given by the first bits of a double: the exponent and ten more bits.
_DROPPED_BITS = 52 - 10
_BUCKET_OF_ONE = 1023 << 10
_BUCKET_COUNT = (64 << 10) + 2
# So many values may wait before equal ones become one; more, where there are more to go through.
_WAITING_MIN = 1 << 18


class CountedValues:
    """Values, each distinct one once, with a count. Memory: 16 bytes for each distinct value."""

    def __init__(self) -> None:
        self._values: Integers = np.empty(0, np.int64)
        self._counts: Integers = np.empty(0, np.int64)
        self._waiting: list[Integers] = []
        self._waiting_count = 0

    def add(self, values: Integers) -> None:
        """Take in some values."""
        self._waiting.append(values)
        self._waiting_count += len(values)
        if self._waiting_count >= max(_WAITING_MIN, len(self._values)):
            self._merge()

    def counted(self) -> tuple[Integers, Integers]:
        """The distinct values in order of size, and how many there are of each."""
        self._merge()
        return self._values, self._counts

    def clear(self) -> None:
        """Begin anew."""
        self._values = self._counts = np.empty(0, np.int64)
        self._waiting.clear()
        self._waiting_count = 0

    def _merge(self) -> None:
        if not self._waiting_count:
            return
        fresh, fresh_counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting.clear()
        self._waiting_count = 0
        together = np.concatenate([self._values, fresh])
        counts = np.concatenate([self._counts, fresh_counts])
        self._values, place = np.unique(together, return_inverse=True)
        self._counts = np.zeros(len(self._values), np.int64)
        np.add.at(self._counts, place, counts)


class Histogram:
    """Counts values, 0 to 2**63 - 1, in buckets. Memory: half a megabyte."""

    def __init__(self) -> None:
        self.counts: Integers = np.zeros(_BUCKET_COUNT, np.int64)

    def add(self, values: Integers) -> None:
        """Count some values."""
        self.counts += np.bincount(bucket_of(values), minlength=_BUCKET_COUNT)

    @property
    def total(self) -> int:
        """Number of values counted."""
        return int(self.counts.sum())


def bucket_of(values: Integers) -> Integers:
    """Return the bucket of each value: a greater value is never in an earlier bucket."""
    bits = values.astype(np.float64).view(np.int64) >> _DROPPED_BITS
    buckets: Integers = np.maximum(bits - (_BUCKET_OF_ONE - 1), 0)
    return buckets


class RankedValues:
    """The second pass: all values again, in any order, and then those at the wanted ranks.

    Memory: the distinct values in the buckets of the ranks, which the buckets' widths bound:
    a thousandth of the value for each rank, at most.
    """

    def __init__(self, histogram: Histogram, ranks: Sequence[int] | Integers) -> None:
        """``ranks`` are from 1 to the number of values."""
        self._ranks = np.asarray(ranks, np.int64)
        counts = histogram.counts
        self._wanted = np.zeros(len(counts), np.bool_)
        self._wanted[np.searchsorted(np.cumsum(counts), self._ranks)] = True
        # How many values in the buckets up to each one are not kept.
        self._left_out = np.cumsum(np.where(self._wanted, 0, counts))
        self._kept = CountedValues()

    def add(self, values: Integers) -> None:
        """Take in some of the values that the histogram has counted."""
        self._kept.add(values[self._wanted[bucket_of(values)]])

    def values(self) -> Integers:
        """The values at the ranks, once all have been added."""
        values, counts = self._kept.counted()
        last_ranks = np.cumsum(counts) + self._left_out[bucket_of(values)]
        return values[np.searchsorted(last_ranks, self._ranks)]
