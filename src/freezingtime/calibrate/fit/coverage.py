# SPDX-License-Identifier: GPL-2.0-or-later
"""Gaps of a log: operations, sizes and depths that it does not cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from freezingtime.calibrate.latency_cells import CELL_MIN, LatencyCells
from freezingtime.device.trace_device import OperationClass
from freezingtime.units import counted, format_size_bytes

# A percentile that fewer requests are beyond of is a guess.
_TAIL_MIN = 10
_P99_9_MIN = _TAIL_MIN * 1000


def coverage(
    cells: LatencyCells, missing: Mapping[OperationClass, OperationClass | int]
) -> list[str]:
    """Describe what the log does not cover, a line each; empty if it covers all."""
    return [
        *_operations(cells, missing),
        *(line for operation_class in OperationClass for line in _grid(cells, operation_class)),
        *_tails(cells),
        *_thin(cells),
    ]


def _operations(
    cells: LatencyCells, missing: Mapping[OperationClass, OperationClass | int]
) -> Iterator[str]:
    for operation_class in OperationClass:
        if not cells.of(operation_class) and operation_class not in missing:
            yield f"{operation_class.name.lower()}: not in the log; it takes no time"


def _grid(cells: LatencyCells, operation_class: OperationClass) -> Iterator[str]:
    own = cells.of(operation_class)
    if not own:
        return
    name = operation_class.name.lower()
    sizes = sorted({cell.size_bytes for cell in own})
    depths = sorted({cell.depth for cell in own})
    if operation_class is not OperationClass.FLUSH:
        yield f"{name}: {_range([format_size_bytes(size) for size in sizes], 'sizes')}"
    yield f"{name}: {_range([str(depth) for depth in depths], 'depths')}"
    measured = {(cell.size_bytes, cell.depth) for cell in own}
    for size in sizes:
        holes = [str(depth) for depth in depths if (size, depth) not in measured]
        if holes:
            yield (
                f"{name}: {format_size_bytes(size)} at depth {', '.join(holes)} was not measured; "
                "the nearest measured depth is used"
            )


def _range(values: list[str], what: str) -> str:
    """Describe the covered range of sizes or depths, and its gaps."""
    if len(values) == 1:
        return f"{what} other than {values[0]} are as that"
    return f"{what} below {values[0]} are as that, above {values[-1]} as that"


def _tails(cells: LatencyCells) -> Iterator[str]:
    few = [cell for cell in cells.cells if len(cell.latency_ns) < _P99_9_MIN]
    if few:
        least = min(few, key=lambda cell: len(cell.latency_ns))
        yield (
            f"p99.9 rests on fewer than {_TAIL_MIN} requests in {len(few)} of "
            f"{counted(len(cells.cells), 'cell')} (fewest: {least.name}, "
            f"{counted(len(least.latency_ns), 'request')})"
        )


def _thin(cells: LatencyCells) -> Iterator[str]:
    if cells.thin:
        count = sum(len(cell.latency_ns) for cell in cells.thin)
        yield (
            f"skipped: {counted(count, 'request')} in {counted(len(cells.thin), 'cell')} with "
            f"fewer than {CELL_MIN}, such as {cells.thin[0].name}"
        )
