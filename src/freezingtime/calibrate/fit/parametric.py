# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of the ``latency`` model for what was measured.

Of each operation, at the least depth that was measured:

* ``bandwidth``: by how much the median grows with the size, by the method of least squares,
  each size weighted by its requests; none if there is one size, or it does not grow;
* ``fixed``: the distribution of what remains, all sizes together.

Of all: ``servers``, by Little's law: the highest rate of any depth times the time at the least
depth. An operation whose own rate is more than a tenth below that of the other's servers has
an ``iops_limit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freezingtime.calibrate.fit.distributions import FittedDistribution, fit_distribution
from freezingtime.calibrate.latency_cells import Cell
from freezingtime.device.latency.service_time import ServiceTime
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.units import NS_PER_S

_LIMIT_SHARE = 0.9
_BANDWIDTH_MAX = 10**15


@dataclass(frozen=True, slots=True)
class OperationFit:
    """One operation of the ``latency`` model."""

    time: ServiceTime
    distributions: Sequence[FittedDistribution]
    """The chosen distribution, and the others."""
    servers: float | None
    """How many requests were served at once, on average; None: one depth only."""
    rate_hz: float
    """The highest rate."""


def fit_operation(cells: Sequence[Cell]) -> OperationFit:
    """Fit one operation to its cells, of which there is one or more."""
    least = min(cell.depth for cell in cells)
    lone = [cell for cell in cells if cell.depth == least]
    bandwidth_bytes_per_s = _bandwidth_bytes_per_s(lone)
    fixed_ns = np.concatenate([_fixed_ns(cell, bandwidth_bytes_per_s) for cell in lone])
    distributions = fit_distribution(fixed_ns)
    time = ServiceTime(
        fixed=distributions[0].distribution, bandwidth_bytes_per_s=bandwidth_bytes_per_s
    )
    smallest = min(cell.size_bytes for cell in cells)
    small = [cell for cell in cells if cell.size_bytes == smallest]
    rate_hz = max(_rate_hz(cell) for cell in small)
    alone_ns = next(float(cell.latency_ns.mean()) for cell in small if cell.depth == least)
    servers = rate_hz * alone_ns / NS_PER_S if len(small) > 1 else None
    return OperationFit(time, distributions, servers, rate_hz)


def queue_settings(read: OperationFit, write: OperationFit) -> dict[str, int]:
    """``servers``, and the limit of the operation that has fewer of its own."""
    servers = [fit.servers for fit in (read, write) if fit.servers is not None]
    if not servers:
        return {}
    settings = {"servers": max(1, round(max(servers)))}
    for name, fit in (("read", read), ("write", write)):
        if fit.servers is not None and fit.servers < _LIMIT_SHARE * max(servers):
            settings[f"{name}_iops_limit"] = max(1, round(fit.rate_hz))
    return settings


def _bandwidth_bytes_per_s(cells: Sequence[Cell]) -> int | None:
    sizes = np.array([cell.size_bytes for cell in cells], np.float64)
    if len(np.unique(sizes)) < 2:
        return None
    medians_ns = np.array([np.median(cell.latency_ns) for cell in cells])
    weights = np.sqrt([len(cell.latency_ns) for cell in cells])
    ns_per_byte = float(np.polyfit(sizes, medians_ns, 1, w=weights)[0])
    if ns_per_byte <= NS_PER_S / _BANDWIDTH_MAX:
        return None
    return max(1, round(NS_PER_S / ns_per_byte))


def _fixed_ns(cell: Cell, bandwidth_bytes_per_s: int | None) -> IntColumn:
    if bandwidth_bytes_per_s is None:
        return cell.latency_ns
    transfer_ns = cell.size_bytes * NS_PER_S // bandwidth_bytes_per_s
    fixed_ns: IntColumn = np.maximum(cell.latency_ns - transfer_ns, 1)
    return fixed_ns


def _rate_hz(cell: Cell) -> float:
    """Requests per second with that many in flight (Little's law)."""
    return cell.depth * NS_PER_S / max(float(cell.latency_ns.mean()), 1.0)
