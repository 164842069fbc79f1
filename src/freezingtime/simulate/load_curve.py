# SPDX-License-Identifier: GPL-2.0-or-later
"""A drive's measured load-latency curve, beside what its model predicts for the same loads.

The workload is that of the curves' source (SSD-iq, Haas et al., VLDB 2025): a probe
issues requests at even intervals, some of them reads; the rest of the load, nearly all
writes, arrives at random (Poisson). All are of 4 KiB, uniformly spread over a drive in its
steady state, and the percentiles are the probe's. Below saturation that is an open loop; at
saturation the rest of the load keeps its queues full, and the loop is closed.

A description's ``[measured]`` holds a curve::

    [measured]
    source = "IQM"                 # a key of [sources]
    condition = "4 KiB, uniform, steady state"
    probe_iops = 10_000
    probe_reads = 0.5              # shares of reads
    rest_reads = 0.01
    depth = 512                    # requests in flight at saturation

    [[measured.point]]
    iops = 15_000                  # in all
    read_p50 = "56us"              # and p90, p99, p99_9; write_p50, write_p99
    [[measured.point]]
    iops = 85_100
    saturated = true
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, TypeAlias

import numpy as np
from msgspec import field

from freezingtime.device.base import Device
from freezingtime.device.description import Description
from freezingtime.device.flash import FlashDevice
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, TimeNs, key
from freezingtime.errors import InputError
from freezingtime.percentile import percentile_ns
from freezingtime.request import Operation
from freezingtime.simulate.rate import rate_between_hz
from freezingtime.simulate.simulate import (
    Simulation,
    simulate_closed_loop,
    simulate_open_loop,
)
from freezingtime.trace.readers.columns import IntColumn, Trace
from freezingtime.units import NS_PER_S

#: The percentiles of a point: operation, and the percentile in thousandths of a per cent.
PERCENTILES = {
    "read_p50": (Operation.READ, 50_000),
    "read_p90": (Operation.READ, 90_000),
    "read_p99": (Operation.READ, 99_000),
    "read_p99_9": (Operation.READ, 99_900),
    "write_p50": (Operation.WRITE, 50_000),
    "write_p99": (Operation.WRITE, 99_000),
}
#: The figure of a saturated point's throughput.
SATURATION = "iops"
#: How near a prediction is to come; for the figures that are not named there is no aim.
AIMS = {"read_p50": 0.15, "write_p50": 0.15, SATURATION: 0.15, "read_p99": 0.40, "write_p99": 0.40}

REQUEST_BYTES = 4096
#: More requests per second than any drive has; a simulation holds all of them.
_IOPS_MAX = 10_000_000
#: Guest time of an open loop: some 25,000 reads of a probe that reads 5,000 times a second.
DURATION_NS = 5 * NS_PER_S
# Requests at saturation, per request in flight; but so many rounds of collection at least.
_CLOSED_PER_DEPTH = 600
_ROUNDS_LEAST = 3
#: What the first part of the requests sees does not count: buffers fill.
_WARM_UP_SHARE = 0.2


_Latency: TypeAlias = Annotated[TimeNs, key("what was measured", least=1)]
_Share: TypeAlias = Annotated[float, key("share of reads", most=1.0)]


class Point(Parameters, frozen=True, kw_only=True):
    """One load: requests per second in all, and the measured percentiles in ns."""

    iops: Annotated[int, key("requests per second, in all", least=1, most=_IOPS_MAX)]
    saturated: Annotated[bool, key("whether the drive is saturated")] = False
    read_p50_ns: _Latency
    read_p90_ns: _Latency
    read_p99_ns: _Latency
    read_p99_9_ns: _Latency
    write_p50_ns: _Latency
    write_p99_ns: _Latency

    def check(self, table: Table) -> None:
        for lower, higher in pairwise(PERCENTILES):
            is_same = PERCENTILES[lower][0] == PERCENTILES[higher][0]
            if is_same and self.latencies_ns[higher] < self.latencies_ns[lower]:
                raise table.error(higher, f"must be at least {lower}")

    @property
    def latencies_ns(self) -> dict[str, int]:
        """The percentiles by their names."""
        return {name: getattr(self, f"{name}_ns") for name in PERCENTILES}


class Curve(Parameters, frozen=True, kw_only=True):
    """A measured curve, and the workload that it was measured with."""

    source: Annotated[str, key("a key of `[sources]`")]
    condition: Annotated[str, key("what it was measured with")]
    probe_iops: Annotated[int, key("requests per second of the probe", least=1, most=_IOPS_MAX)]
    probe_reads: _Share
    rest_reads: _Share
    depth: Annotated[int, key("requests in flight at saturation", least=1, most=65536)]
    points: Annotated[tuple[Point, ...], key("the loads")] = field(default=(), name="point")

    def check(self, table: Table) -> None:
        for number, point in enumerate(self.points, start=1):
            if point.iops <= self.probe_iops:
                raise table.error("point", f"number {number}: iops must be more than probe_iops")
        most_below = max((point.iops for point in self.points if not point.saturated), default=0)
        loads = [point.iops for point in self.points]
        for number, point in enumerate(self.points, start=1):
            if loads.index(point.iops) != number - 1:
                raise table.error("point", f"number {number}: another point has the same iops")
            if point.saturated and point.iops < most_below:
                raise table.error("point", f"number {number}: iops must be the most if saturated")

    def read_share(self, point: Point) -> float:
        """The share of reads in a point's whole load."""
        reads = self.probe_iops * self.probe_reads
        reads += (point.iops - self.probe_iops) * self.rest_reads
        return reads / point.iops


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """One measured figure of a point and its prediction; ns, or requests per second."""

    point: Point
    figure: str
    measured: int
    predicted: float

    @property
    def difference(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted / self.measured - 1

    @property
    def missed(self) -> bool:
        """Return whether the figure has an aim, and the prediction is farther off."""
        return abs(self.difference) > AIMS.get(self.figure, float("inf"))


def measured_curve(description: Description) -> Curve | None:
    """Return the description's curve, or None.

    Raises:
        InputError: it is not right; the text names file, key and value.
    """
    if "measured" not in description.content:
        return None
    return Table(description.content, f"{description.name}.toml").below("measured").read(Curve)


def compare(description: Description, curve: Curve, *, seed: int = 0) -> Iterator[FigureComparison]:
    """Simulate every point on its own device, in the curve's order.

    Raises:
        InputError: the device cannot be built.
    """
    for point in curve.points:
        device = description.build(seed)
        count = _closed_count(curve, device)
        trace = trace_of_point(curve, point, seed, _disk_bytes(description), closed_count=count)
        if point.saturated:
            simulation = simulate_closed_loop(device, [trace], curve.depth, count=len(trace))
            rate_hz = saturation_hz(simulation, curve.depth)
            yield FigureComparison(point, SATURATION, point.iops, rate_hz)
        else:
            simulation = simulate_open_loop(device, trace)
        yield from compare_latencies(point, simulation, f"{description.name}.toml")


def _closed_count(curve: Curve, device: Device) -> int:
    """Requests at saturation: enough rounds of garbage collection for a steady rate."""
    round_bytes = device.collection_round_bytes if isinstance(device, FlashDevice) else 0
    return max(_CLOSED_PER_DEPTH * curve.depth, _ROUNDS_LEAST * round_bytes // REQUEST_BYTES)


def _disk_bytes(description: Description) -> int:
    capacity_bytes = description.capacity_bytes
    if capacity_bytes is None or capacity_bytes < REQUEST_BYTES:
        missing = "is missing" if capacity_bytes is None else "is too small"
        raise Table(description.content, f"{description.name}.toml").error(
            "capacity", f"{missing}; a measured curve needs the disk's size, at least 4KiB"
        )
    return capacity_bytes


def trace_of_point(
    curve: Curve,
    point: Point,
    seed: int,
    disk_bytes: int,
    *,
    duration_ns: int = DURATION_NS,
    closed_count: int,
) -> Trace:
    """The requests of one point; at saturation, when they arrive does not count.

    Below saturation they arrive within ``duration_ns``; at saturation there are ``closed_count``.
    """
    generator = np.random.Generator(np.random.PCG64([seed, point.iops]))
    if point.saturated:
        count = closed_count
        arrival_ns = np.zeros(count, dtype=np.int64)
        reads = np.full(count, curve.read_share(point))
    else:
        arrival_ns, is_probe = _arrivals(curve, point, generator, duration_ns)
        reads = np.where(is_probe, curve.probe_reads, curve.rest_reads)
    count = len(arrival_ns)
    is_read = generator.random(count) < reads
    return Trace(
        arrival_ns,
        np.where(is_read, Operation.READ, Operation.WRITE).astype(np.uint8),
        generator.integers(0, disk_bytes // REQUEST_BYTES, count) * REQUEST_BYTES,
        np.full(count, REQUEST_BYTES, dtype=np.int64),
        np.zeros(count, dtype=np.bool_),
    )


def _arrivals(
    curve: Curve, point: Point, generator: np.random.Generator, duration_ns: int
) -> tuple[IntColumn, np.ndarray]:
    """Draw arrival times; return them and which of them are the probe's."""
    probe_ns = np.arange(0, duration_ns, NS_PER_S // curve.probe_iops, dtype=np.int64)
    rest_count = generator.poisson((point.iops - curve.probe_iops) * duration_ns / NS_PER_S)
    rest_ns = generator.integers(0, duration_ns, rest_count)
    arrival_ns = np.concatenate([probe_ns, rest_ns])
    order = np.argsort(arrival_ns, kind="stable")
    return arrival_ns[order], order < len(probe_ns)


def compare_latencies(
    point: Point, simulation: Simulation, file: str
) -> Iterator[FigureComparison]:
    """The percentiles of a point's simulation, beside those measured.

    Raises:
        InputError: by the curve's shares, there are no reads or no writes; ``file`` has the curve.
    """
    start = int(len(simulation.trace) * _WARM_UP_SHARE)
    latency_ns = simulation.latency_ns[start:]
    operation = simulation.trace.operation[start:]
    ordered_ns = {
        wanted: np.sort(latency_ns[operation == wanted])
        for wanted in (Operation.READ, Operation.WRITE)
    }
    for name, (wanted, per_100k) in PERCENTILES.items():
        if not len(ordered_ns[wanted]):
            raise InputError(
                f"{file}: measured: of {len(operation):,} requests at iops = {point.iops}, none is "
                f"a {wanted.name.lower()}, so there is no {name}; check probe_reads, rest_reads, "
                "probe_iops and depth"
            )
        predicted_ns = percentile_ns(ordered_ns[wanted], per_100k)
        yield FigureComparison(point, name, point.latencies_ns[name], predicted_ns)


def saturation_hz(simulation: Simulation, depth: int) -> float:
    """Completions per second between the warm-up and the last ``depth``."""
    completion_ns = np.sort(simulation.completion_ns)
    return rate_between_hz(completion_ns, int(len(completion_ns) * _WARM_UP_SHARE), -depth)
