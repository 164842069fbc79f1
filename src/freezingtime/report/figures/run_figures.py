# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a report: some runs, one over the other, in as many panels as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.report.figures import run_panels
from freezingtime.report.figures.axes import line_handles
from freezingtime.report.figures.canvas import (
    FIGURE_EXTENSIONS,
    figure_bytes,
    new_figure,
    write_figures,
)
from freezingtime.report.figures.hover import HoverPanel, hover_panels
from freezingtime.report.figures.internals_panels import internals
from freezingtime.report.figures.run_panels import CHANGE, DOTS, OPERATION_LOOKS, PALE, THIN, Panel
from freezingtime.report.figures.style import COLORS
from freezingtime.report.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

#: More runs than that in one figure are indistinguishable.
RUNS_MAX = len(COLORS)

_WIDTH_IN = 9.0
_ROW_HEIGHT_IN = 2.6
_LEGEND_HEIGHT_IN = 0.3
# So wide is a legend that fits, in letters, and a line in front of each.
_LEGEND_LETTERS = 110
_LEGEND_LINE_LETTERS = 8
_LEGEND_LINE_IN = 0.17


@dataclass(frozen=True, slots=True)
class RunFigure:
    """One figure of a report."""

    name: str
    """Its file's name, without extension."""
    title: str
    description: str
    """What it shows, in sentences: its caption."""
    panels: Callable[[Sequence[RunData]], Iterable[Panel]]
    styles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Meaning of its line styles, whatever their colour."""
    is_over_time: bool = True
    """Whether guest time is the horizontal axis."""


LATENCY_DISTRIBUTION = RunFigure(
    "latency-distribution",
    "Latency distribution",
    "Share of requests within each latency, from exact quantiles, on a scale that shows the tails.",
    run_panels.latency_distribution,
    is_over_time=False,
)
LATENCY_OVER_TIME = RunFigure(
    "latency-over-time",
    "Latency over time",
    "Median, 99th percentile and maximum of the requests that were delivered in each bin of "
    "guest time.",
    run_panels.latency_over_time,
    {"median": {}, "p99": THIN, "max": DOTS},
)
QUEUE_DEPTH = RunFigure(
    "queue-depth",
    "Queue depth",
    "How many requests the device had when one more arrived, itself included: mean and maximum "
    "in each bin.",
    run_panels.queue_depth,
    {"mean": {}, "max": THIN},
)
THROUGHPUT = RunFigure(
    "throughput",
    "Throughput over time",
    "Requests, and bytes of reads and writes, that were delivered in each bin, per second.",
    run_panels.throughput,
    OPERATION_LOOKS,
)
SERVICE = RunFigure(
    "service",
    "Service time against target",
    "Mean service in each bin, as the model asked for it and as the guest was given it, and the "
    "most by which a delivery missed the model's completion.",
    run_panels.service,
    {"the model's": PALE, "delivered": {}},
)
WARP = RunFigure(
    "warp",
    "Warp",
    "Of the time from arrival to completion, the share in which the guest idled and was "
    "skipped, in each bin.",
    run_panels.warp,
)
FREEZE = RunFigure(
    "freeze",
    "Freeze",
    "Real time for which the guest stood still since the medium was not done, added up; and how "
    "long the medium took for a request. Real time differs from run to run, also where all else "
    "is the same.",
    run_panels.freeze,
    {"mean": {}, "max": THIN},
)
INTERNALS = RunFigure(
    "internals",
    "Device internals",
    "What the devices say: the mean time for which requests waited, by what held them, over all "
    "requests in a bin; the share of reads that did not need the medium; and between each two "
    "samples the device's own counters.",
    internals,
)
FAULTS = RunFigure(
    "faults",
    "Faults",
    "How many requests were hit by faults, of those that were delivered in each bin: a mark for "
    "each kind.",
    run_panels.faults,
    run_panels.FAULT_LOOKS,
)
RUN_FIGURES = (
    LATENCY_DISTRIBUTION,
    LATENCY_OVER_TIME,
    FAULTS,
    QUEUE_DEPTH,
    THROUGHPUT,
    SERVICE,
    WARP,
    FREEZE,
    INTERNALS,
)


def draw_run_figure(
    kind: RunFigure, runs: Sequence[RunData], extensions: Sequence[str], **settings: Any
) -> list[bytes]:
    """The figure of some runs, one file for each extension; the same data make the same bytes.

    No file if there is nothing to draw. ``settings`` are matplotlib's. A run's name stands in the
    figure only if there are several.
    """
    with _new_run_figure(kind, runs, settings) as figure:
        return [] if figure is None else [figure_bytes(figure, each) for each in extensions]


def draw_page_figure(
    kind: RunFigure, runs: Sequence[RunData], **settings: Any
) -> tuple[bytes, list[HoverPanel]] | None:
    """The figure as SVG, and the values behind its lines; None if there is nothing to draw."""
    with _new_run_figure(kind, runs, settings) as figure:
        return None if figure is None else (figure_bytes(figure, ".svg"), hover_panels(figure))


@contextmanager
def _new_run_figure(
    kind: RunFigure, runs: Sequence[RunData], settings: Mapping[str, Any]
) -> Iterator[Figure | None]:
    panels = list(kind.panels(runs))
    if not panels:
        yield None
        return
    styles = dict(kind.styles)
    if kind.is_over_time and any(run.change_times_ns() for run in runs):
        styles["parameters changed"] = CHANGE
    size_in = figure_size_in(len(panels), runs, styles)
    with new_figure(*size_in, **settings) as figure:
        draw_panels(figure, panels, runs, styles)
        yield figure


def figure_size_in(
    panel_count: int, runs: Sequence[RunData], styles: Mapping[str, Mapping[str, Any]]
) -> tuple[float, float]:
    """Return how wide and high a figure of so many panels is, in inches."""
    legend = _legend_handles(runs, styles)
    height_in = _ROW_HEIGHT_IN * -(-panel_count // 2) + _LEGEND_HEIGHT_IN
    height_in += _LEGEND_LINE_IN * (-(-len(legend) // _legend_columns(legend)) - 1)
    return _WIDTH_IN, height_in


def draw_panels(
    figure: Figure,
    panels: Sequence[Panel],
    runs: Sequence[RunData],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw panels into an empty figure, two in a row, below what colours and lines mean."""
    grid: Any = figure.subplots(-(-len(panels) // 2), min(2, len(panels)), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, panel in zip(grid.flat, panels, strict=False):
        panel.draw(axes)
        axes.set_title(run_panels.panel_title(panel.title), parse_math=False)
    legend = _legend_handles(runs, styles)
    if legend:
        columns = _legend_columns(legend)
        drawn = figure.legend(handles=legend, loc="outside upper center", ncols=columns)
        for text in drawn.get_texts():
            text.set_parse_math(False)


def write_run_figures(runs: Sequence[RunData], directory: Path, option: str) -> list[Path]:
    """Write every figure into a directory, as SVG and as PNG; returns the files.

    Raises:
        InputError: they cannot be written.
    """
    drawn = ((kind.name, draw_run_figure(kind, runs, FIGURE_EXTENSIONS)) for kind in RUN_FIGURES)
    return write_figures(drawn, directory, option)


def _legend_handles(
    runs: Sequence[RunData], styles: Mapping[str, Mapping[str, Any]]
) -> list[Line2D]:
    """Which colour is which run, if there are several, and what lines mean."""
    handles = line_handles(styles)
    if len(runs) > 1:
        handles += line_handles(
            {
                _label(run.label): {"color": color, "linewidth": 3}
                for run, color in zip(runs, COLORS, strict=False)
            }
        )
    return handles


def _legend_columns(handles: Sequence[Line2D]) -> int:
    """As many as there is room for: a legend goes on in a further line."""
    widest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return max(1, min(len(handles), _LEGEND_LETTERS // (widest + _LEGEND_LINE_LETTERS)))


def _label(name: str) -> str:
    """matplotlib leaves out of a legend what begins with an underscore."""
    return f"./{name}" if name.startswith("_") else name
