# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest time in bins: what happened in each, however many requests there are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from freezingtime.percentile import percentile_rank
from freezingtime.quantiles import CountedValues

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

#: In so many bins a run is divided, at most: about as many as a figure can show.
BINS_MAX = 240

_P99_PER_100K = 99_000
_MEDIAN_PER_100K = 50_000


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of guest time, both ends included, in bins of equal width."""

    start_ns: int
    end_ns: int

    @property
    def bin_ns(self) -> int:
        """Return the width of a bin, in ns."""
        return -(-(self.end_ns - self.start_ns + 1) // BINS_MAX)

    @property
    def bin_count(self) -> int:
        """Return the number of bins, from 1 to :data:`BINS_MAX`."""
        return (self.end_ns - self.start_ns) // self.bin_ns + 1

    def bins_of(self, times_ns: Integers) -> Integers:
        """Return the bin of each time; times outside the span are in the first or last bin."""
        return np.clip((times_ns - self.start_ns) // self.bin_ns, 0, self.bin_count - 1)

    def edges_ns(self) -> Integers:
        """Return the edges of the bins, in ns from the start of the span."""
        return np.arange(self.bin_count + 1, dtype=np.int64) * self.bin_ns


class Sums:
    """A count and a sum for each bin."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.counts: Integers = np.zeros(span.bin_count, np.int64)
        self.sums: Integers = np.zeros(span.bin_count, np.int64)
        self.maxima: Integers = np.zeros(span.bin_count, np.int64)

    def add(self, times_ns: Integers, values: Integers) -> None:
        """Add values, none below 0, each to the bin of its time; in any order."""
        bins = self._span.bins_of(times_ns)
        self.counts += np.bincount(bins, minlength=self._span.bin_count)
        np.add.at(self.sums, bins, values)
        np.maximum.at(self.maxima, bins, values)

    def means(self) -> Floats:
        """The mean in each bin; NaN where there is no value."""
        return ratio(self.sums, self.counts)

    def greatest(self) -> Floats:
        """The maximum in each bin; NaN where there is no value."""
        return np.where(self.counts > 0, self.maxima, np.nan)


def ratio(numerators: Integers, denominators: Integers) -> Floats:
    """Element by element; NaN where the denominator is 0."""
    quotients = np.full(len(numerators), np.nan)
    np.divide(numerators, denominators, out=quotients, where=denominators > 0)
    return quotients


class Percentiles:
    """Median, 99th percentile and maximum in each bin, exact.

    Values come in order of their times, so that only those of the present bin are kept, equal ones
    as one. (One that comes too late counts to the present bin.)
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self.medians: Floats = np.full(span.bin_count, np.nan)
        self.p99s: Floats = np.full(span.bin_count, np.nan)
        self.maxima: Floats = np.full(span.bin_count, np.nan)
        self._present = 0
        self._kept = CountedValues()

    def add(self, times_ns: Integers, values: Integers) -> None:
        """Add values, each to the bin of its time."""
        if not len(values):
            return
        bins = np.maximum(np.maximum.accumulate(self._span.bins_of(times_ns)), self._present)
        starts = [0, *(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(bins)]
        for start, end in pairwise(starts):
            if bins[start] != self._present:
                self.finish()
                self._present = int(bins[start])
            self._kept.add(values[start:end])

    def finish(self) -> None:
        """Make up the present bin; the last one, when all values have been added."""
        values, counts = self._kept.counted()
        if not len(values):
            return
        self._kept.clear()
        last_ranks = np.cumsum(counts)
        for percentiles, per_100k in (
            (self.medians, _MEDIAN_PER_100K),
            (self.p99s, _P99_PER_100K),
        ):
            rank = percentile_rank(int(last_ranks[-1]), per_100k)
            percentiles[self._present] = values[np.searchsorted(last_ranks, rank)]
        self.maxima[self._present] = values[-1]
