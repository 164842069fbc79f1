# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a sweep: which there are follows from how many keys are varied, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from freezingtime.errors import InputError
from freezingtime.report.figures.axes import line_handles
from freezingtime.report.figures.canvas import (
    FIGURE_EXTENSIONS,
    figure_bytes,
    new_figure,
    write_figures,
)
from freezingtime.report.figures.hover import HoverPanel, PointMarks, point_panels
from freezingtime.report.figures.style import COLORS
from freezingtime.report.sweep.axis import AxisScale, SweptAxis, short, swept_axes
from freezingtime.report.sweep.data import SweepData
from freezingtime.report.sweep.panels import (
    SERIES_MAX,
    SweepPanel,
    heat_panel,
    line_panel,
    pareto_panel,
    scatter_panel,
)
from freezingtime.report.sweep.parallel import parallel_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from freezingtime.report.figures.live_figure import LiveFigure

_WIDTH_IN = 9.0
_ROW_HEIGHT_IN = 3.0
_WIDE_HEIGHT_IN = 4.2
_LEGEND_HEIGHT_IN = 0.5
_LEGEND_COLUMNS = 3
# A heat map's rows are that high at least, so that a value fits.
_CELL_HEIGHT_IN = 0.2
#: So much of a grid must be there for a heat map of it.
_GRID_SHARE_MIN = 0.25


@dataclass(frozen=True, slots=True)
class SweepFigure:
    """One figure of a sweep."""

    name: str
    """Its file's name, without extension."""
    title: str
    description: str
    """What it shows, in sentences: its caption."""
    panels: Sequence[SweepPanel]
    short_title: str
    """Its kind, for the contents."""
    row_height_in: float = _ROW_HEIGHT_IN
    series: SweptAxis | None = None
    """What its colours are."""


class DrawnSweep(NamedTuple):
    """A figure as files, and what a page says where the pointer is."""

    files: Sequence[bytes]
    panels: Sequence[HoverPanel]


def sweep_figures(data: SweepData) -> list[SweepFigure]:
    """The figures that there are: none if no point has a figure."""
    if not any(data.values(metric, range(len(data.numbers))) for metric in data.metrics):
        return []
    axes = swept_axes(data)
    spread = (
        " A line is the median over the seeds, a band from the least to the most."
        if data.is_repeated
        else ""
    )
    figures = []
    if len(axes) == 1:
        figures.append(_lines(data, axes[0], None, spread))
    elif len(axes) == 2:
        figures += _of_two(data, axes[0], axes[1], spread)
    elif axes:
        figures.append(
            SweepFigure(
                "parallel",
                "All keys and metrics",
                "A line for each point, from key to key and on to its metrics; its colour is that "
                "of the first metric. Dotted: points that failed.",
                [parallel_panel(data, axes)],
                "Parallel coordinates",
                _WIDE_HEIGHT_IN,
            )
        )
    if len(data.metrics) > 1:
        figures.append(_pareto(data))
    return figures


def _of_two(data: SweepData, a: SweptAxis, b: SweptAxis, spread: str) -> list[SweepFigure]:
    # Along the key with more values; names are better told apart by colour.
    along, other = (a, b) if _rank(a) >= _rank(b) else (b, a)
    figures = []
    if len(other.ticks) <= SERIES_MAX:
        figures.append(_lines(data, along, other, spread))
    cells = len(along.ticks) * len(other.ticks)
    if len(data.configurations()) >= _GRID_SHARE_MIN * cells:
        figures.append(
            SweepFigure(
                "heat-map",
                f"{along.label} and {other.label}",
                "A cell for each pair of values"
                + (", with the median over the seeds." if data.is_repeated else ".")
                + " A cross is where points failed.",
                [heat_panel(data, metric, along, other) for metric in data.metrics],
                "Heat map",
                max(_ROW_HEIGHT_IN, 1 + _CELL_HEIGHT_IN * len(other.ticks)),
            )
        )
    else:
        figures.append(
            SweepFigure(
                "scatter",
                f"{along.label} and {other.label}",
                "A dot for each point, coloured by the metric. A cross is a point that failed.",
                [scatter_panel(data, metric, along, other) for metric in data.metrics],
                "Points",
            )
        )
    return figures


def _rank(axis: SweptAxis) -> tuple[bool, int]:
    return axis.scale is not AxisScale.NAMES, len(axis.ticks)


def _lines(data: SweepData, along: SweptAxis, series: SweptAxis | None, spread: str) -> SweepFigure:
    each = f", a colour for each value of {series.label}" if series else ""
    return SweepFigure(
        "lines",
        f"Metrics over {along.label}",
        f"A dot for each point{each}.{spread} A cross at the foot is a point that failed.",
        [line_panel(data, metric, along, series) for metric in data.metrics],
        "Lines",
        series=series,
    )


def _pareto(data: SweepData) -> SweepFigure:
    first, second = data.metrics[:2]
    known = first.direction and second.direction
    return SweepFigure(
        "pareto",
        "Pareto front" if known else f"{second.name} over {first.name}",
        (
            "The line is the Pareto front: of what is on it, nothing else is better in both."
            if known
            else "There is no Pareto front, as it is not known which values are better; say "
            "--metric NAME=lower or NAME=higher."
        )
        + (" Thin lines are from the least to the most over the seeds." * data.is_repeated),
        [pareto_panel(data, first, second)],
        "Pareto front",
        _WIDE_HEIGHT_IN,
    )


def draw_sweep_figure(kind: SweepFigure, extensions: Sequence[str], **settings: Any) -> DrawnSweep:
    """The figure, one file for each extension; the same data make the same bytes."""
    with new_figure(*_size_in([kind]), **settings) as figure:
        marks = _draw([kind], figure)
        files = [figure_bytes(figure, each) for each in extensions]
        return DrawnSweep(files, point_panels(figure, marks))


def live_sweep_figure(data: SweepData) -> LiveFigure:
    """All figures, one below the other, for a program that goes on with them, or a notebook.

    Raises:
        InputError: there is nothing to draw.
    """
    from freezingtime.report.figures.live_figure import LiveFigure

    kinds = sweep_figures(data)
    if not kinds:
        raise InputError("plot: there is nothing to draw, as no point has figures that count")
    with new_figure(*_size_in(kinds), LiveFigure) as figure:
        _draw(kinds, figure)
    assert isinstance(figure, LiveFigure)
    return figure


def _size_in(kinds: Sequence[SweepFigure]) -> tuple[float, float]:
    height_in = sum(-(-len(kind.panels) // 2) * kind.row_height_in for kind in kinds)
    return _WIDTH_IN, height_in + _LEGEND_HEIGHT_IN * any(kind.series for kind in kinds)


def _draw(kinds: Sequence[SweepFigure], figure: Figure) -> dict[Axes, list[PointMarks]]:
    heights = [kind.row_height_in for kind in kinds for _ in range(-(-len(kind.panels) // 2))]
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    marks: dict[Axes, list[PointMarks]] = {}
    row = 0
    for kind in kinds:
        for number, panel in enumerate(kind.panels):
            at: Any = slice(None) if len(kind.panels) == 1 else number % 2
            axes = figure.add_subplot(grid[row + number // 2, at])
            marks[axes] = list(panel.draw(axes))
            axes.set_title(panel.title, parse_math=False)
        row += -(-len(kind.panels) // 2)
        if kind.series is not None:
            _legend(figure, kind.series)
    return marks


def _legend(figure: Figure, series: SweptAxis) -> None:
    """Above all panels: which colour is which value."""
    looks = {
        short(name): {"color": color, "linewidth": 3}
        for (_, name), color in zip(series.ticks, COLORS, strict=False)
    }
    drawn = figure.legend(
        handles=line_handles(looks),
        loc="outside upper center",
        ncols=_LEGEND_COLUMNS,
        title=series.label,
    )
    for text in (*drawn.get_texts(), drawn.get_title()):
        text.set_parse_math(False)


def write_sweep_figures(data: SweepData, directory: Path, option: str) -> list[Path]:
    """Write every figure into a directory, as SVG and as PNG; returns the files.

    Raises:
        InputError: they cannot be written.
    """
    drawn = (
        (kind.name, draw_sweep_figure(kind, FIGURE_EXTENSIONS).files)
        for kind in sweep_figures(data)
    )
    return write_figures(drawn, directory, option)
