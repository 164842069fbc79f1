# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of the runs that are compared, for services that keep them over time.

These compare with what they have kept, so they get what the runs after the first have, and not the
first's own. The names of several runs' figures begin with the run's path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from freezingtime.application.figure import Direction
from freezingtime.results.compare import MetricDifference
from freezingtime.results.judged import JudgedComparison, difference_row
from freezingtime.results.metrics import APPLICATION, MetricUnit

#: What is called so where a figure is the run's as a whole.
_RUN = "run"
_NS_DIGITS = 9
_LARGER_IS_BETTER = (MetricUnit.HZ, MetricUnit.BYTES_PER_S)


def to_bencher(judged: Sequence[JudgedComparison]) -> str:
    """Bencher Metric Format: a benchmark for each disk and operation, a measure for each figure."""
    document: dict[str, dict[str, dict[str, float]]] = {}
    for prefix, found, value in _figures(judged):
        parts = filter(None, [found.key.disk, found.key.operation])
        benchmark = f"{prefix}{':'.join(parts) or _RUN}"
        document.setdefault(benchmark, {})[_measure(found)] = {"value": float(value)}
    return json.dumps(document, indent=2) + "\n"


def to_github_benchmark(judged: Sequence[JudgedComparison], *, smaller: bool) -> str:
    """The list of github-action-benchmark: of figures of which ``smaller`` ones are better, or not.

    Figures of which nobody knows, such as numbers of requests, are in neither.
    """
    entries: list[dict[str, Any]] = []
    for prefix, found, value in _figures(judged):
        if _is_smaller_better(judged, found) is smaller:
            name, value_a, _, change = difference_row(found)
            entries.append(
                {
                    "name": f"{prefix}{name}",
                    "unit": found.key.unit_text,
                    "value": value,
                    "extra": f"was {value_a}, {change}",
                }
            )
    return json.dumps(entries, indent=2) + "\n"


def to_openmetrics(judged: Sequence[JudgedComparison]) -> str:
    """OpenMetrics text: a gauge for each metric, times in seconds."""
    families: dict[str, list[str]] = {}
    for prefix, found, value in _figures(judged):
        family, text = _family(found, value)
        labels = {
            "run": prefix.removesuffix(" "),
            "disk": found.key.disk,
            "operation": found.key.operation,
        }
        if found.key.operation == APPLICATION:
            labels = {"run": labels["run"], "name": found.key.metric, "unit": found.key.own_unit}
        given = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items() if label)
        families.setdefault(family, []).append(f"{family}{{{given}}} {text}")
    lines = []
    for family, samples in families.items():
        lines += [f"# TYPE {family} gauge"]
        lines += [f"# UNIT {family} seconds"] if family.endswith("_seconds") else []
        lines += samples
    return "\n".join([*lines, "# EOF", ""])


def _figures(
    judged: Sequence[JudgedComparison],
) -> Iterator[tuple[str, MetricDifference, int | float]]:
    for each in judged:
        prefix = f"{each.comparison.b.path} " if len(judged) > 1 else ""
        for found in each.comparison.metrics:
            if found.b is not None:
                yield prefix, found, found.b


def _measure(found: MetricDifference) -> str:
    """The name of a figure with its unit, as Bencher knows a measure by its name only."""
    unit = found.key.unit_text
    return f"{found.key.metric} ({unit})" if unit else found.key.metric


def _is_smaller_better(judged: Sequence[JudgedComparison], found: MetricDifference) -> bool | None:
    """Whether smaller values are better; None: nobody knows."""
    unit = found.key.unit
    if unit is MetricUnit.OWN:
        directions = {
            figure.direction
            for each in judged
            for figure in each.comparison.b.figures
            if figure.name == found.key.metric
        }
        known = {Direction.LOWER: True, Direction.HIGHER: False}
        return known.get(directions.pop()) if len(directions) == 1 else None
    if unit in _LARGER_IS_BETTER:
        return False
    return True if unit is MetricUnit.NS else None


def _family(found: MetricDifference, value: int | float) -> tuple[str, str]:
    """The name of the family, and the value in its unit."""
    key = found.key
    if key.operation == APPLICATION:
        return "freezingtime_application", repr(value)
    name = f"freezingtime_{key.metric.replace('.', '_')}"
    if key.unit is MetricUnit.NS:
        # Exact, as a nanosecond is a change.
        seconds = Decimal(repr(value)).scaleb(-_NS_DIGITS)
        return f"{name}_seconds", f"{seconds:f}"
    return name, repr(value)


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
