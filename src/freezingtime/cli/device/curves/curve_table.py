# SPDX-License-Identifier: GPL-2.0-or-later
"""A measured load-latency curve beside its prediction, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezingtime.simulate.load_curve import FigureComparison, Point

_MISS = "!"
_HELD_OUT = "*"
_NS_PER_US = 1000


def print_curve(
    points: Sequence[Point],
    comparisons: Sequence[FigureComparison],
    held_out: Sequence[Point] = (),
) -> None:
    """Print a row for each load; those that are ``held_out`` are marked."""
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.simulate.load_curve import PERCENTILES

    header = ("requests/s", *map(_title, PERCENTILES))
    print_columns([header, *(_row(point, comparisons, point in held_out) for point in points)])


def _title(figure: str) -> str:
    """Such as "read p99.9", of ``read_p99_9``."""
    return figure.replace("_", " ", 1).replace("_", ".")


def _row(
    point: Point, comparisons: Sequence[FigureComparison], is_held_out: bool
) -> tuple[str, ...]:
    from freezingtime.simulate.load_curve import PERCENTILES, SATURATION

    of_point = {c.figure: c for c in comparisons if c.point is point}
    load = f"{point.iops:,}{_HELD_OUT if is_held_out else ''}"
    if point.saturated:
        saturation = of_point[SATURATION]
        load = f"{saturation.predicted:,.0f}/{load} {_mark(saturation)}"
    return (load, *(_cell(of_point[figure]) for figure in PERCENTILES))


def _cell(comparison: FigureComparison) -> str:
    predicted_us = comparison.predicted / _NS_PER_US
    measured_us = comparison.measured / _NS_PER_US
    return f"{predicted_us:.0f}/{measured_us:.0f} {_mark(comparison)}"


def _mark(comparison: FigureComparison) -> str:
    return f"{comparison.difference:+.0%}{_MISS if comparison.missed else ''}"
