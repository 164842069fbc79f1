# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole load-latency curve in a fraction of a second, for a search.

What makes it cheap: one device for all loads, which follow each other with a pause; a disk
only so large that its blocks still hold enough programs; and shorter windows. The device works
off all of it as one open loop: at saturation its own queue, of the curve's depth, lets the next
request in when one completes, which is the closed loop to the nanosecond. Every choice
gets the same requests (common random numbers), so that what differs is the choice.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from freezingtime.calibrate.fit.flash.curve_file import CurveFile, put
from freezingtime.calibrate.fit.flash.search_space import die_count, program_bytes
from freezingtime.calibrate.fit.models import FLASH
from freezingtime.device.registry import from_content
from freezingtime.simulate.load_curve import (
    REQUEST_BYTES,
    SATURATION,
    Curve,
    FigureComparison,
    Point,
    compare_latencies,
    saturation_hz,
    trace_of_point,
)
from freezingtime.simulate.simulate import Simulation, simulate_open_loop
from freezingtime.trace.readers.columns import Trace, concatenate
from freezingtime.units import NS_PER_S, parse_size_bytes

#: With fewer programs in a block, latencies at saturation differ from those of the drive.
_PROGRAMS_PER_BLOCK = 20
_BLOCKS_PER_LANE = 128
_GIB = 1 << 30
#: What is still under way at the end of a load has this long to complete.
_PAUSE_NS = NS_PER_S // 20


@dataclass(frozen=True, slots=True)
class Effort:
    """Length of the simulations of a curve."""

    duration_ns: int
    """Guest time of each load below saturation."""
    closed_per_depth: int
    """Requests at saturation, per request in flight."""
    rounds: int
    """But so many rounds of garbage collection at least: lanes collect at the same time."""

    def closed_count(self, depth: int, size_bytes: int) -> int:
        """Requests at saturation; a round fills a block of each lane."""
        round_count = size_bytes // (_BLOCKS_PER_LANE * REQUEST_BYTES)
        return max(self.closed_per_depth * depth, self.rounds * round_count)


COARSE = Effort(NS_PER_S // 2, 160, 4)
FINE = Effort(2 * NS_PER_S, 400, 8)


class QuickCurve:
    """Simulates curves of one drive with different parameters, always with the same requests."""

    def __init__(
        self, known: CurveFile, points: Sequence[Point], effort: Effort, seed: int
    ) -> None:
        self._known = known
        self._points = sorted(points, key=lambda point: (point.saturated, point.iops))
        self._effort = effort
        self._seed = seed
        self._traces: dict[int, list[Trace]] = {}

    def compare(self, parameters: Mapping[str, Any]) -> list[FigureComparison]:
        """The figures of the points as the drive with these parameters would have them.

        Raises:
            InputError: there is no such drive.
        """
        curve = self._known.curve
        size_bytes = _size_bytes(self._known, parameters)
        depth = curve.depth
        of_search: dict[str, Any] = copy.deepcopy(dict(parameters))
        put(of_search, "host.queue_depth", depth)
        content = {"model": FLASH, "capacity": f"{size_bytes}B", "parameters": of_search}
        device = from_content(content, self._known.file, "fit").build(self._seed)
        traces = self._traces_of(curve, size_bytes)
        simulation = simulate_open_loop(device, concatenate(traces))
        figures: list[FigureComparison] = []
        start = 0
        for point, trace in zip(self._points, traces, strict=True):
            part = _part(simulation, start, start + len(trace))
            start += len(trace)
            if point.saturated:
                part = _as_closed_loop(part, depth)
                rate_hz = saturation_hz(part, depth)
                figures.append(FigureComparison(point, SATURATION, point.iops, rate_hz))
            figures += compare_latencies(point, part, self._known.file)
        return figures

    def _traces_of(self, curve: Curve, size_bytes: int) -> list[Trace]:
        """The requests of each point, one point after the other."""
        if size_bytes not in self._traces:
            traces, start_ns = [], 0
            for point in self._points:
                trace = trace_of_point(
                    curve,
                    point,
                    self._seed,
                    size_bytes,
                    duration_ns=self._effort.duration_ns,
                    closed_count=self._effort.closed_count(curve.depth, size_bytes),
                )
                arrival_ns = trace.arrival_ns + start_ns
                traces.append(dataclasses.replace(trace, arrival_ns=arrival_ns))
                start_ns += self._effort.duration_ns + _PAUSE_NS
            self._traces[size_bytes] = traces
        return self._traces[size_bytes]


def _size_bytes(known: CurveFile, parameters: Mapping[str, Any]) -> int:
    """The disk of the search: at most the drive's."""
    wanted = die_count(parameters) * program_bytes(parameters)
    wanted *= _PROGRAMS_PER_BLOCK * _BLOCKS_PER_LANE
    whole = -(-wanted // _GIB) * _GIB
    return min(whole, parse_size_bytes(str(known.content["capacity"])))


def _part(simulation: Simulation, start: int, end: int) -> Simulation:
    return Simulation(
        simulation.trace.rows(start, end),
        simulation.completion_ns[start:end],
        simulation.annotations[start:end],
    )


def _as_closed_loop(simulation: Simulation, depth: int) -> Simulation:
    """The same completions, with requests that arrive when the one ``depth`` before completes."""
    arrival_ns = simulation.trace.arrival_ns.copy()
    arrival_ns[depth:] = np.sort(simulation.completion_ns)[:-depth]
    trace = dataclasses.replace(simulation.trace, arrival_ns=arrival_ns)
    return Simulation(trace, simulation.completion_ns, simulation.annotations)
