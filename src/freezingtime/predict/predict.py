# SPDX-License-Identifier: GPL-2.0-or-later
"""Predictions of a device's model beside published figures.

A prediction is a closed-loop simulation of the model itself, never a formula about it.
Published figures stand in a description's ``[published]``, each in a table of its own::

    [published.read_iops]
    value = 550_000                # or a time, or a bandwidth
    depth = 16                     # queue depth; 1 for latencies, 32 else, if missing
    block = "4KiB"                 # request size; 4KiB at random, 128KiB in sequence
    source = "A1"                  # a key of [sources]
    condition = "4 KiB random"     # in the source's words
    exception = "..."              # why the model is known to be more than 10 % off

The table's name is the metric's, with ``_`` and a word behind it where there are several.
``bound = true`` says that the value is a bound ("below 10 us"): the most for a latency,
the least for a rate. ``drained = true`` is for volumes whose credits have been spent.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import numpy as np

from freezingtime.device.base import Device, TimedDevice
from freezingtime.device.description import Description
from freezingtime.device.flash import FlashDevice
from freezingtime.device.parameters import Table
from freezingtime.device.registry import from_content
from freezingtime.device.schema import Bandwidth, Parameters, SizeBytes, TimeNs, key
from freezingtime.errors import RefusalError
from freezingtime.simulate.generator import RequestGenerator
from freezingtime.simulate.rate import rate_between_hz
from freezingtime.simulate.simulate import Simulation, simulate_closed_loop
from freezingtime.simulate.workload import parse_workload

#: A prediction that is farther from the published figure is a miss.
TOLERANCE = 0.10

_DISK_BYTES_DEFAULT = 16 << 30
_LATENCY_COUNT = 2000
_RATE_COUNT_LEAST = 4000
_RATE_COUNT_PER_DEPTH = 40
# The first quarter does not count: it fills buffers of up to 64 MiB.
_FILL_BYTES = 256 << 20


class FigureUnit(Enum):
    """Unit of a metric."""

    NS = "ns"
    IOPS = "IOPS"
    BYTES_PER_S = "bytes/s"


@dataclass(frozen=True, slots=True)
class Metric:
    """One kind of figure, and the workload that it is about."""

    pattern: str
    unit: FigureUnit
    depth: int
    block_bytes: int


METRICS = {
    "read_latency": Metric("randread", FigureUnit.NS, 1, 4096),
    "write_latency": Metric("randwrite", FigureUnit.NS, 1, 4096),
    "read_iops": Metric("randread", FigureUnit.IOPS, 32, 4096),
    "write_iops": Metric("randwrite", FigureUnit.IOPS, 32, 4096),
    "read_bandwidth": Metric("read", FigureUnit.BYTES_PER_S, 32, 128 * 1024),
    "write_bandwidth": Metric("write", FigureUnit.BYTES_PER_S, 32, 128 * 1024),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A metric at one queue depth and request size; with a volume's credits or without."""

    metric: str
    depth: int
    block_bytes: int
    drained: bool = False

    @property
    def unit(self) -> FigureUnit:
        """Return the prediction's unit."""
        return METRICS[self.metric].unit


@dataclass(frozen=True, slots=True)
class Published:
    """A published figure. ``value`` is in the unit of the case's metric."""

    name: str
    case: Case
    value: int
    bound: bool
    source: str
    condition: str
    exception: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of the model in one case, with the published figure, if any."""

    case: Case
    value: float
    published: Published | None

    @property
    def difference(self) -> float | None:
        """Predicted over published, less 1; None without a published figure."""
        return None if self.published is None else self.value / self.published.value - 1

    @property
    def holds(self) -> bool:
        """Return whether the prediction is within the tolerance, or within the bound."""
        if self.published is None or self.difference is None:
            return True
        if not self.published.bound:
            return abs(self.difference) <= TOLERANCE
        return self.difference <= 0 if self.case.unit is FigureUnit.NS else self.difference >= 0


def predict(description: Description, *, seed: int = 0) -> list[Prediction]:
    """Predict every published figure, and every metric of which none is published.

    Raises:
        InputError: the device cannot be built, or its ``[published]`` is not right.
    """
    figures = published_figures(description)
    named = {figure.case.metric for figure in figures}
    predictions = [
        Prediction(figure.case, _predict(description, figure.case, seed), figure)
        for figure in figures
    ]
    for name, metric in METRICS.items():
        if name not in named:
            case = Case(name, metric.depth, metric.block_bytes)
            with suppress(RefusalError):  # the device does not take this kind of workload
                predictions.append(Prediction(case, _predict(description, case, seed), None))
    order = list(METRICS)
    return sorted(predictions, key=lambda prediction: order.index(prediction.case.metric))


def published_figures(description: Description) -> list[Published]:
    """The figures of the description's ``[published]``.

    Raises:
        InputError: one is not right; the text names file, key and value.
    """
    root = Table(description.content, f"{description.name}.toml")
    published = root.below("published")
    return [_parse_figure(name, published) for name in description.content.get("published", {})]


class _Figure(Parameters, frozen=True, kw_only=True):
    """Declaration of a published figure; its value is in the unit of its metric."""

    depth: (
        Annotated[int, key("the queue depth", least=1, most=4096, missing="the metric's")] | None
    ) = None
    block_bytes: (
        Annotated[SizeBytes, key("the requests' length", least=512, missing="the metric's")] | None
    ) = None
    drained: Annotated[bool, key("whether the volume's credits are used up")] = False
    bound: Annotated[bool, key("whether the value is a guaranteed bound")] = False
    source: Annotated[str, key("a key of `[sources]`")]
    condition: Annotated[str, key("conditions of the measurement")] = ""
    exception: Annotated[str, key("reason why a prediction may deviate")] = ""


class _FigureNs(_Figure, frozen=True, kw_only=True):
    value: Annotated[TimeNs, key("the figure", least=1)]


class _FigureIops(_Figure, frozen=True, kw_only=True):
    value: Annotated[int, key("the figure", least=1)]


class _FigureBytesPerS(_Figure, frozen=True, kw_only=True):
    value: Annotated[Bandwidth, key("the figure")]


_FIGURES: dict[FigureUnit, type[_FigureNs | _FigureIops | _FigureBytesPerS]] = {
    FigureUnit.NS: _FigureNs,
    FigureUnit.IOPS: _FigureIops,
    FigureUnit.BYTES_PER_S: _FigureBytesPerS,
}


def _parse_figure(name: str, published: Table) -> Published:
    metric_name = next(
        (known for known in METRICS if name == known or name.startswith(f"{known}_")), None
    )
    if metric_name is None:
        raise published.error(name, f"must begin with one of: {', '.join(METRICS)}")
    metric, table = METRICS[metric_name], published.below(name)
    figure = table.read(_FIGURES[metric.unit])
    return Published(
        name=name,
        case=Case(
            metric_name,
            depth=figure.depth or metric.depth,
            block_bytes=figure.block_bytes or metric.block_bytes,
            drained=figure.drained,
        ),
        value=figure.value,
        bound=figure.bound,
        source=figure.source,
        condition=figure.condition,
        exception=figure.exception,
    )


def simulate_case(
    description: Description, case: Case, seed: int, *, least_count: int = 0
) -> Simulation:
    """The simulation behind a prediction, of ``least_count`` requests or more.

    Raises:
        InputError: the device cannot be built.
    """
    if case.drained:
        description = _without_credits(description)
    # The figures are the model's: neither what happens at some time, nor what fails on purpose.
    description = dataclasses.replace(description, changes=(), faults=())
    device = description.build(seed)
    count = max(_count(case, device), least_count)
    line = f"{METRICS[case.metric].pattern},bs={case.block_bytes},qd={case.depth},count={count}"
    disk_bytes = description.capacity_bytes or _DISK_BYTES_DEFAULT
    generator = RequestGenerator(parse_workload(line), seed=seed, disk_bytes=disk_bytes)
    return simulate_closed_loop(device, generator.batches(), case.depth, count=count)


def _predict(description: Description, case: Case, seed: int) -> float:
    simulation = simulate_case(description, case, seed)
    if case.unit is FigureUnit.NS:
        return float(simulation.latency_ns.mean())
    rate_hz = _steady_rate_hz(simulation, case.depth)
    return rate_hz if case.unit is FigureUnit.IOPS else rate_hz * case.block_bytes


def _count(case: Case, device: Device) -> int:
    """Return the number of requests to simulate for the figure."""
    if case.unit is FigureUnit.NS:
        return _LATENCY_COUNT * case.depth
    count = max(_RATE_COUNT_LEAST, _RATE_COUNT_PER_DEPTH * case.depth)
    if "write" in METRICS[case.metric].pattern and not isinstance(device, TimedDevice):
        # The sustained rate shows only when a write buffer is full, and over a whole round of
        # garbage collection.
        round_bytes = device.collection_round_bytes if isinstance(device, FlashDevice) else 0
        counted_bytes = max(_FILL_BYTES, round_bytes * 4 // 3)  # a quarter does not count
        return max(count, counted_bytes // case.block_bytes)
    return count


def _steady_rate_hz(simulation: Simulation, depth: int) -> float:
    """Completions per second between the start, a quarter of all, and the last ``depth``."""
    completion_ns = np.sort(simulation.completion_ns)
    return rate_between_hz(completion_ns, len(completion_ns) // 4 - 1, -depth - 1)


def _without_credits(description: Description) -> Description:
    """The volume when it has used up its burst credits."""
    content: dict[str, Any] = copy.deepcopy(description.content)
    for name, none in (("iops", 0), ("throughput", "0")):
        limit = content.get("parameters", {}).get(name, {})
        if _has_credits(limit):
            limit["start_credits"] = none
    return from_content(content, f"{description.name}.toml", description.name)


def _has_credits(limit: Sequence[str]) -> bool:
    return any(name.startswith("credits") for name in limit)
