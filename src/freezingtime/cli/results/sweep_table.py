# SPDX-License-Identifier: GPL-2.0-or-later
"""The points of a sweep as lines for a terminal: some of their figures."""

from __future__ import annotations

from collections.abc import Sequence

from freezingtime.application.fsync import FSYNC
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.table import figure_of
from freezingtime.explore.sweep.worker import PointOutcome
from freezingtime.units import four_digits, time_cell

#: Shown, where any point has them.
_SHOWN = (
    *("guest_time", "all.iops", "all.mean", "all.p50", "all.p99", "all.max"),
    f"{FSYNC}.p99",
)
_APPLICATION = "app."
_APPLICATION_MAX = 4
_NS = "ns"
_NONE = "-"


def table_rows(
    points: Sequence[Point], outcomes: Sequence[PointOutcome], metrics: Sequence[str] = ()
) -> list[tuple[str, ...]]:
    """A header, and a row for each point: its values, some figures, where these are from.

    ``metrics`` are the figures that are wanted; without any, what most look for first.
    """
    figures = [each.figures for each in outcomes if each.figures is not None]
    names = dict.fromkeys(name for each in figures for name in each.figures)
    own = [name for name in names if name.startswith(_APPLICATION)][:_APPLICATION_MAX]
    shown = [figure_of(metric) for metric in metrics] or [
        *own,
        *(name for name in _SHOWN if name in names),
    ]
    keys = list(points[0]) if points else []
    header = (*keys, *(name.removeprefix("all.") for name in shown), "result")
    rows = [
        (
            *(point[key] for key in keys),
            *(_cell(outcome, name) for name in shown),
            f"{outcome.status.value}, stored" if outcome.is_cached else outcome.status.value,
        )
        for point, outcome in zip(points, outcomes, strict=True)
    ]
    return [header, *rows]


def _cell(outcome: PointOutcome, name: str) -> str:
    if outcome.figures is None or name not in outcome.figures.figures:
        return _NONE
    value, unit = outcome.figures.figures[name], outcome.figures.units.get(name)
    return time_cell(value) if unit == _NS else four_digits(value)
