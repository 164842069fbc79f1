# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep as its figures and its page need it: columns of values, and what belongs together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezingtime.application.figure import Direction, value_text
from freezingtime.units import counted, time_cell

_NS = "ns"
#: How units are said behind a number; a rate needs no more than that.
_SAID = {"1/s": "/s", "requests": " requests"}


@dataclass(frozen=True, slots=True)
class SweptKey:
    """A varied key, and its value at each point."""

    name: str
    values: Sequence[Any]
    """Numbers, truth values or text, all of one kind."""


@dataclass(frozen=True, slots=True)
class SweepMetric:
    """A figure, and its value at each point that has one."""

    name: str
    """As ``compare`` has it."""
    unit: str
    values: Sequence[float | None]
    direction: Direction

    def text(self, value: float) -> str:
        """The value with its unit, for reading."""
        if self.unit == _NS:
            return time_cell(value)
        if self.unit not in _SAID:
            return value_text(value, self.unit)
        return f"{rounded(value)}{_SAID[self.unit]}"

    @property
    def label(self) -> str:
        """The name, with the unit where values do not have it."""
        return f"{self.name}, {self.unit}" if self.unit not in ("", _NS, *_SAID) else self.name


@dataclass(frozen=True, slots=True)
class Configuration:
    """Points that differ in nothing but the seed."""

    points: Sequence[int]
    """Their numbers; the first stands for all where there is room for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepData:
    """All that is drawn of a sweep."""

    path: Path
    numbers: Sequence[int]
    """Of each point, in the table."""
    point_count: int
    """How many points the sweep has; more than are here if it is very large."""
    keys: Sequence[SweptKey]
    metrics: Sequence[SweepMetric]
    statuses: Sequence[str]
    reasons: Sequence[str | None]
    links: Sequence[str | None]
    """Where the run of each point is, as a page links to it."""
    results: Sequence[str | None]
    """The key of each point's result."""
    status_counts: Mapping[str, int]
    """Of all points."""
    zipped: Sequence[Sequence[str]] = ()
    """Names of keys that take their values side by side."""
    swept: Mapping[str, Any] = field(default_factory=dict)
    """What stays the same, as the sweep's file has it."""
    is_repeated: bool = False
    """Whether points that differ in the seed alone are repetitions."""

    def value(self, metric: SweepMetric, point: int) -> float | None:
        """The value of a metric where it counts: of a point that did not fail."""
        return metric.values[point] if self.has_passed(point) else None

    def has_passed(self, point: int) -> bool:
        """Whether a point's figures count."""
        return self.reasons[point] is None

    def values(self, metric: SweepMetric, points: Sequence[int]) -> list[float]:
        """The values of those points that have one."""
        found = (self.value(metric, point) for point in points)
        return [value for value in found if value is not None]

    def median(self, metric: SweepMetric, points: Sequence[int]) -> float | None:
        """The median over some points; None if none has a value."""
        values = self.values(metric, points)
        return statistics.median(values) if values else None

    def configurations(self) -> list[Configuration]:
        """The points, those that are repetitions of each other together; in order."""
        told_apart = [key for key in self.keys if key.name != SEED or not self.is_repeated]
        found: dict[tuple[Any, ...], list[int]] = {}
        for point in range(len(self.numbers)):
            found.setdefault(tuple(key.values[point] for key in told_apart), []).append(point)
        return [Configuration(points) for points in found.values()]

    def mark_of(self, configuration: int) -> int:
        """The number by which :meth:`texts` knows a configuration."""
        return len(self.numbers) + configuration if self.is_repeated else configuration

    def texts(self) -> list[list[str]]:
        """List what each point says of itself, and behind them what repetitions say together."""
        texts = [self.text_of(point) for point in range(len(self.numbers))]
        return texts + [
            self.spread_text(each) for each in self.configurations() if self.is_repeated
        ]

    def text_of(self, point: int) -> list[str]:
        """List what a point says of itself where the pointer is, line by line."""
        lines = [f"point {self.numbers[point]}"]
        lines += [f"{key.name}: {key_text(key.values[point])}" for key in self.keys]
        for metric in self.metrics:
            value = metric.values[point]
            lines += [] if value is None else [f"{metric.name}: {metric.text(value)}"]
        if not self.has_passed(point):
            lines.append(f"{self.statuses[point]}: {str(self.reasons[point])[:_REASON_MAX]}")
        return lines

    def spread_text(self, configuration: Configuration) -> list[str]:
        """List what repetitions say of themselves together."""
        points = configuration.points
        if len(points) == 1:
            return self.text_of(points[0])
        first, last = self.numbers[points[0]], self.numbers[points[-1]]
        lines = [f"points {first} to {last}: {counted(len(points), 'seed')}"]
        lines += [
            f"{key.name}: {key_text(key.values[points[0]])}"
            for key in self.keys
            if key.name != SEED
        ]
        for metric in self.metrics:
            values = self.values(metric, points)
            if values:
                low, middle, high = min(values), statistics.median(values), max(values)
                lines.append(
                    f"{metric.name}: {metric.text(middle)} "
                    f"({metric.text(low)} to {metric.text(high)})"
                )
        failed = sum(not self.has_passed(point) for point in points)
        return lines + [f"{failed} of {len(points)} failed"] * bool(failed)


#: The key of which other values are repetitions.
SEED = "seed"
_REASON_MAX = 200


def rounded(value: float) -> str:
    """A number to four digits, or to all before its point, in groups of three."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def key_text(value: object) -> str:
    """The value of a key as it was written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
