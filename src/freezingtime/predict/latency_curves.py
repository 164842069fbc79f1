# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency over queue depth, and its distribution: the simulations of :mod:`.predict`, in full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from freezingtime.device.description import Description
from freezingtime.predict.predict import Case, published_figures, simulate_case
from freezingtime.results.latency_summary import LatencySummary, summarize
from freezingtime.simulate.simulate import Simulation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.units import NS_PER_S

#: Progress callback: simulations done, and their total.
Progress: TypeAlias = Callable[[int, int], None]

DEPTHS = tuple(1 << power for power in range(9))
#: At which depths the distribution is kept.
CDF_DEPTHS = (1, 32)
BLOCK_BYTES = 4096

# By operation: which prediction's simulation it is, and which published figures belong to it.
_RATE_METRICS = {"read": "read_iops", "write": "write_iops"}
_LATENCY_METRICS = {"read": "read_latency", "write": "write_latency"}
# So many requests at least, that there is a 99.9th percentile.
_COUNT_LEAST = 12_000


@dataclass(frozen=True, slots=True)
class PublishedLatency:
    """A published latency, or a rate as the mean latency that it means at its depth."""

    depth: int
    latency_ns: float
    bound: bool
    """At most so much."""
    from_rate: bool
    """By Little's law: depth / rate."""


@dataclass(frozen=True, slots=True)
class LatencyCurve:
    """Random reads or writes of 4 KiB on one device."""

    operation: str
    summaries: dict[int, LatencySummary]
    """By queue depth."""
    sorted_ns: dict[int, IntColumn]
    """All latencies, sorted, by queue depth: those of :data:`CDF_DEPTHS`."""
    published: list[PublishedLatency]


def latency_curves(
    description: Description, *, seed: int = 0, progress: Progress = lambda done, total: None
) -> list[LatencyCurve]:
    """The curves of reads and of writes; the first quarter of each simulation does not count.

    Raises:
        InputError: the device cannot be built, or its ``[published]`` is not right.
    """
    published = _published(description)
    total = len(_RATE_METRICS) * len(DEPTHS)
    curves = []
    for number, (operation, metric) in enumerate(_RATE_METRICS.items()):
        summaries, sorted_ns = {}, {}
        for index, depth in enumerate(DEPTHS):
            progress(number * len(DEPTHS) + index, total)
            case = Case(metric, depth, BLOCK_BYTES)
            steady = _steady(simulate_case(description, case, seed, least_count=_COUNT_LEAST))
            summaries[depth] = summarize(steady)[0]
            if depth in CDF_DEPTHS:
                sorted_ns[depth] = np.sort(steady.latency_ns)
        curves.append(LatencyCurve(operation, summaries, sorted_ns, published[operation]))
    return curves


def _steady(simulation: Simulation) -> Simulation:
    """Return the requests issued after the first quarter."""
    count = len(simulation.trace)
    start = count // 4
    return Simulation(
        simulation.trace.rows(start, count),
        simulation.completion_ns[start:],
        simulation.annotations[start:],
    )


def _published(description: Description) -> dict[str, list[PublishedLatency]]:
    """Return published figures comparable with the curves: 4 KiB, full credits, a drawn depth."""
    found: dict[str, list[PublishedLatency]] = {operation: [] for operation in _RATE_METRICS}
    for figure in published_figures(description):
        case = figure.case
        if case.block_bytes != BLOCK_BYTES or case.drained or case.depth > DEPTHS[-1]:
            continue
        for operation, marks in found.items():
            if case.metric == _LATENCY_METRICS[operation]:
                marks.append(PublishedLatency(case.depth, figure.value, figure.bound, False))
            elif case.metric == _RATE_METRICS[operation]:
                latency_ns = case.depth * NS_PER_S / figure.value
                marks.append(PublishedLatency(case.depth, latency_ns, figure.bound, True))
    return found
