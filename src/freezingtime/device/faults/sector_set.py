# SPDX-License-Identifier: GPL-2.0-or-later
"""A set of sectors, kept as runs of neighbours: large parts of a disk cost no more than small."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from freezingtime.device.kept.state import integer, items


class SectorSet:
    """Sectors; ranges are given as the first, and the one behind the last."""

    def __init__(self) -> None:
        # Runs in order, none of which touches the next.
        self._firsts: list[int] = []
        self._ends: list[int] = []

    def state(self) -> list[list[int]]:
        """Return its runs, in order."""
        return [list(run) for run in zip(self._firsts, self._ends, strict=True)]

    def load_state(self, state: object) -> None:
        """Be the set of these runs. Raises StateError."""
        self._firsts, self._ends = [], []
        for first, end in items(state, "sectors"):
            before = self._ends[-1] if self._ends else -1
            self._firsts.append(integer(first, "a sector", before + 1))
            self._ends.append(integer(end, "a sector", first + 1))

    def add(self, first: int, end: int) -> None:
        """Add a range of at least one sector."""
        low, high = bisect_left(self._ends, first), bisect_right(self._firsts, end)
        if low < high:
            first, end = min(first, self._firsts[low]), max(end, self._ends[high - 1])
        self._firsts[low:high] = [first]
        self._ends[low:high] = [end]

    def remove(self, first: int, end: int) -> None:
        """Remove a range of at least one sector, as far as it is there."""
        low, high = bisect_right(self._ends, first), bisect_left(self._firsts, end)
        if low >= high:
            return
        kept = [(self._firsts[low], first), (end, self._ends[high - 1])]
        kept = [(start, stop) for start, stop in kept if start < stop]
        self._firsts[low:high] = [start for start, _ in kept]
        self._ends[low:high] = [stop for _, stop in kept]

    def has_some(self, first: int, end: int) -> bool:
        """Whether one of the range is there."""
        return bisect_right(self._ends, first) < bisect_left(self._firsts, end)

    def has_all(self, first: int, end: int) -> bool:
        """Whether all of the range, which is not empty, are there."""
        run = bisect_right(self._firsts, first) - 1
        return run >= 0 and self._ends[run] >= end
