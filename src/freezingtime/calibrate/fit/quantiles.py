# SPDX-License-Identifier: GPL-2.0-or-later
"""Quantile tables for the ``empirical`` model: few points that represent many requests.

The i-th smallest of n latencies has the probability (i - 0.5) / n (Hazen's plotting
position): linear between these points, and flat at both ends, the table's mean is exactly the
sample's. Of these points as few are kept as keep every quantile within half a per cent of its
time (2 % in the slowest and the fastest per cent), and one for each per cent of the requests
(Douglas and Peucker, "Algorithms for the reduction of the number of points", Cartographica 10,
1973).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freezingtime.calibrate.latency_cells import Cell
from freezingtime.trace.readers.columns import IntColumn

_BODY_TOLERANCE = 0.005
_TAIL_TOLERANCE = 0.02
_TAIL = 0.99
_KNOTS = 100
_DIGITS = 9
# Below that, successive requests count as independent.
_CORRELATION_MIN = 0.05
_CORRELATION_MAX = 0.999
_FAR_LAGS = range(50, 101, 5)


def quantile_points(latency_ns: IntColumn) -> tuple[tuple[float, int], ...]:
    """(probability, time in ns) for two latencies or more, from 0 to 1, times not decreasing."""
    ordered_ns = np.sort(latency_ns)
    probabilities = (np.arange(len(ordered_ns)) + 0.5) / len(ordered_ns)
    kept = _kept(probabilities, ordered_ns)
    inner = {round(float(probabilities[i]), _DIGITS): int(ordered_ns[i]) for i in kept}
    return (0.0, int(ordered_ns[0])), *inner.items(), (1.0, int(ordered_ns[-1]))


def correlation(cells: Sequence[Cell]) -> float:
    """The correlation of successive requests: of their ranks, made normal, at lag 1.

    What is still alike 50 to 100 requests later is drift, which the model has not, and is taken
    out. Of the cells with the least depth only, as in deeper queues requests overtake each
    other; weighted by their requests. 0 if it is below 0.05, where it would change nothing.
    """
    least = min(cell.depth for cell in cells)
    weighted, weight = 0.0, 0
    for cell in cells:
        count = len(cell.latency_ns)
        if cell.depth == least and count > 2 * _FAR_LAGS[-1] and np.ptp(cell.latency_ns):
            weighted += count * _short_correlation(cell.latency_ns)
            weight += count
    found = weighted / weight if weight else 0.0
    return 0.0 if found < _CORRELATION_MIN else round(min(found, _CORRELATION_MAX), 3)


def _short_correlation(latency_ns: IntColumn) -> float:
    from scipy import stats

    normal = stats.norm.ppf((stats.rankdata(latency_ns) - 0.5) / len(latency_ns))
    deviation = normal - normal.mean()
    power = float(deviation @ deviation)

    def at(lag: int) -> float:
        return float(deviation[lag:] @ deviation[:-lag]) / power

    drift = max(0.0, float(np.mean([at(lag) for lag in _FAR_LAGS])))
    return (at(1) - drift) / (1 - drift)


def _kept(probabilities: NDArray[np.float64], times_ns: IntColumn) -> IntColumn:
    """Return the points to keep, in order."""
    count = len(times_ns)
    knots = np.unique(np.linspace(0, count - 1, min(count, _KNOTS + 1)).astype(np.int64))
    in_body = np.abs(probabilities - 0.5) < _TAIL - 0.5
    tolerance_ns = times_ns * np.where(in_body, _BODY_TOLERANCE, _TAIL_TOLERANCE)
    kept = set(knots.tolist())
    spans = list(zip(knots[:-1].tolist(), knots[1:].tolist(), strict=True))
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        line_ns = np.interp(
            probabilities[inner], probabilities[[first, last]], times_ns[[first, last]]
        )
        excess = np.abs(line_ns - times_ns[inner]) - tolerance_ns[inner]
        worst = int(np.argmax(excess))
        # Less than a nanosecond is nothing.
        if excess[worst] > 1:
            middle = first + 1 + worst
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return np.array(sorted(kept), np.int64)
