# SPDX-License-Identifier: GPL-2.0-or-later
"""The hot steps of the empirical model: requests in flight, and interpolated quantiles."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.device.latency.heap_kernels import replace_least
from freezingtime.device.trace_device import OperationClass

# Fields of `Flight.status`.
IN_FLIGHT = 0
WRITTEN_NS = 1  # when the last of the writes completes
STATUS_FIELDS = 2


class Grid(NamedTuple):
    """The quantile tables of one class of operations, over sizes and depths."""

    sizes_bytes: NDArray[np.float64]
    depths: NDArray[np.float64]
    bounds: NDArray[np.int64]
    """Table ``i * len(depths) + j`` has the points ``bounds[table]`` to ``bounds[table + 1]``."""
    probabilities: NDArray[np.float64]
    quantiles_ns: NDArray[np.float64]


class Flight(NamedTuple):
    """The requests in flight: completion times as a binary heap; ``status`` holds its size."""

    completions_ns: NDArray[np.int64]
    status: NDArray[np.int64]


@njit(cache=True)
def _locate(axis: NDArray[np.float64], value: float) -> tuple[int, float]:
    """The grid point at or below ``value``, and how far it is to the next one: 0 to 1."""
    last = axis.size - 1
    if value <= axis[0]:
        return 0, 0.0
    if value >= axis[last]:
        return last, 0.0
    below = int(np.searchsorted(axis, value, side="right")) - 1
    return below, (value - axis[below]) / (axis[below + 1] - axis[below])


@njit(cache=True)
def _table_quantile_ns(grid: Grid, table: int, probability: float) -> float:
    """The inverse distribution function of one table, linear between its points."""
    low = grid.bounds[table]
    high = grid.bounds[table + 1] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if grid.probabilities[middle] <= probability:
            low = middle
        else:
            high = middle
    span = grid.probabilities[high] - grid.probabilities[low]
    share = (probability - grid.probabilities[low]) / span
    below_ns = grid.quantiles_ns[low]
    time_ns: float = below_ns + share * (grid.quantiles_ns[high] - below_ns)
    return time_ns


@njit(cache=True)
def quantile_ns(grid: Grid, size_bytes: float, depth: float, probability: float) -> float:
    """The quantile at a size and depth, bilinear between the neighbouring tables."""
    size, size_share = _locate(grid.sizes_bytes, size_bytes)
    level, level_share = _locate(grid.depths, depth)
    result = 0.0
    for next_size in range(2):
        for next_level in range(2):
            weight = (size_share if next_size else 1 - size_share) * (
                level_share if next_level else 1 - level_share
            )
            if weight > 0:
                table = (size + next_size) * grid.depths.size + level + next_level
                result += weight * _table_quantile_ns(grid, table, probability)
    return result


@njit(cache=True)
def _retire(flight: Flight, now_ns: int) -> None:
    """Forget the requests that have completed by now."""
    heap = flight.completions_ns
    count = flight.status[IN_FLIGHT]
    while count and heap[0] <= now_ns:
        count -= 1
        replace_least(heap, count, heap[count])
    flight.status[IN_FLIGHT] = count


@njit(cache=True)
def _launch(flight: Flight, completion_ns: int) -> None:
    """Add a request; the heap has room for it."""
    heap = flight.completions_ns
    place = flight.status[IN_FLIGHT]
    flight.status[IN_FLIGHT] = place + 1
    while place and heap[(place - 1) // 2] > completion_ns:
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = completion_ns


@njit(cache=True)
def complete(
    flight: Flight,
    grid: Grid,
    operation_class: int,
    arrival_ns: int,
    size_bytes: int,
    probability: float,
) -> int:
    """Return the completion time of the next request."""
    _retire(flight, arrival_ns)
    depth = flight.status[IN_FLIGHT] + 1
    time_ns = quantile_ns(grid, float(size_bytes), float(depth), probability)
    completion_ns = arrival_ns + int(np.rint(time_ns))
    if operation_class == OperationClass.FLUSH:
        completion_ns = max(completion_ns, flight.status[WRITTEN_NS])
    elif operation_class == OperationClass.WRITE:
        flight.status[WRITTEN_NS] = max(flight.status[WRITTEN_NS], completion_ns)
    _launch(flight, completion_ns)
    return completion_ns


@njit(cache=True)
def complete_all(
    flight: Flight,
    grids: tuple[Grid, Grid, Grid, Grid],
    classes: NDArray[np.int64],
    arrivals_ns: NDArray[np.int64],
    sizes_bytes: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    loop_ns: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Set the completion times of the next requests; a closed loop also sets their arrivals."""
    completions_ns = np.empty_like(arrivals_ns)
    for request in range(arrivals_ns.size):
        if loop_ns.size:
            arrivals_ns[request] = loop_ns[0]
        completions_ns[request] = complete(
            flight,
            grids[classes[request]],
            classes[request],
            arrivals_ns[request],
            sizes_bytes[request],
            probabilities[request],
        )
        if loop_ns.size:
            replace_least(loop_ns, loop_ns.size, completions_ns[request])
    return completions_ns


@njit(cache=True)
def correlated_uniforms(
    normals: NDArray[np.float64], correlation: float, last: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Uniforms of a Gaussian AR(1) process driven by ``normals``; goes on from ``last[0]``."""
    innovation = math.sqrt(1 - correlation * correlation)
    uniforms = np.empty_like(normals)
    state = last[0]
    for place in range(normals.size):
        state = correlation * state + innovation * normals[place]
        uniforms[place] = 0.5 * math.erfc(-state / math.sqrt(2.0))
    last[0] = state
    return uniforms
