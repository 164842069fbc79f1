# SPDX-License-Identifier: GPL-2.0-or-later
"""Measured requests, sorted into cells: one operation at one size and queue depth each.

What a cell holds is in the order of the log. Where a log has few sizes or depths, as fio's, each
is a cell's own; where it has many, as a trace of a file system, they are put together by
powers of two, and the cell has the median of what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.trace_device import CLASS_OF_OPERATION, OperationClass
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.units import format_size_bytes

#: Fewer requests say little of a distribution: its 99th percentile is the largest of 100.
CELL_MIN = 100

# More distinct sizes or depths than that are put together by powers of two.
_DISTINCT_MAX = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """Requests of one operation, size and depth; a flush has size 0."""

    operation_class: OperationClass
    size_bytes: int
    depth: int
    latency_ns: IntColumn
    """In the order of the log."""
    is_ordered: bool = True
    """False: from a histogram; the latencies are in order of size."""

    @property
    def operation(self) -> str:
        """``read``, ``write``, ``flush`` or ``discard``."""
        return self.operation_class.name.lower()

    @property
    def name(self) -> str:
        """Return a name such as ``read 4KiB depth 1``."""
        size = f" {format_size_bytes(self.size_bytes)}" if self.size_bytes else ""
        return f"{self.operation}{size} depth {self.depth}"

    def with_latencies(self, latency_ns: IntColumn) -> Cell:
        """The same cell with other requests."""
        return replace(self, latency_ns=latency_ns)


@dataclass(frozen=True, slots=True)
class LatencyCells:
    """Cells of a log, and requests of it that were too few to count."""

    cells: Sequence[Cell]
    thin: Sequence[Cell]
    """Those with fewer than :data:`CELL_MIN` requests; not among ``cells``."""

    def of(self, operation_class: OperationClass) -> list[Cell]:
        """The cells of one class of operations."""
        return [cell for cell in self.cells if cell.operation_class is operation_class]


def sort_into_cells(latencies: Latencies) -> LatencyCells:
    """The cells of a log, by operation, size and depth."""
    classes = _CLASSES[latencies.operation]
    found = [
        cell
        for operation_class in OperationClass
        for cell in _cells_of(latencies, operation_class, classes == operation_class)
    ]
    return LatencyCells(
        [cell for cell in found if len(cell.latency_ns) >= CELL_MIN],
        [cell for cell in found if len(cell.latency_ns) < CELL_MIN],
    )


_CLASSES = np.zeros(max(Operation) + 1, np.int64)
for _operation, _operation_class in CLASS_OF_OPERATION.items():
    _CLASSES[_operation] = _operation_class


def _cells_of(
    latencies: Latencies, operation_class: OperationClass, chosen: NDArray[np.bool_]
) -> Iterator[Cell]:
    sizes, depths = latencies.length_bytes[chosen], latencies.depth[chosen]
    latency_ns, is_ordered = latencies.latency_ns[chosen], latencies.is_ordered[chosen]
    size_groups, depth_groups = _groups(sizes), _groups(depths)
    for size_group in np.unique(size_groups):
        for depth_group in np.unique(depth_groups):
            rows = (size_groups == size_group) & (depth_groups == depth_group)
            if rows.any():
                yield Cell(
                    operation_class,
                    _middle(sizes[size_groups == size_group]),
                    _middle(depths[depth_groups == depth_group]),
                    latency_ns[rows],
                    bool(is_ordered[rows].all()),
                )


def _groups(values: IntColumn) -> IntColumn:
    """To which group each value belongs."""
    if len(np.unique(values)) <= _DISTINCT_MAX:
        return values
    groups: IntColumn = np.rint(np.log2(np.maximum(values, 1))).astype(np.int64)
    return groups


def _middle(values: IntColumn) -> int:
    """The median, one that occurs."""
    return int(np.sort(values)[len(values) // 2])
