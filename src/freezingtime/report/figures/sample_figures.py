# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of measured latencies beside emulated ones: one panel for each kind of request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import InputError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.report.figures.axes import NEUTRAL, cdf_of, label_times, share_axis, visible
from freezingtime.report.figures.canvas import figure_bytes, new_figure, write_file
from freezingtime.report.figures.cdf import cdf_ranks
from freezingtime.report.figures.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS_MAX = 3
_PANEL_IN = (3.3, 2.9)
# More points than that of a scatter are not seen.
_SCATTER_MAX = 600
# Of marks and lines: what is drawn later is smaller, so that what is below it shows.
_SIZES = (2.0, 5.0, 2.2, 1.6, 1.6, 1.6)
_ERROR_LIMIT_PERCENT = 30.0

Latencies = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SamplePanel:
    """One kind of request: what was measured, and others by name, such as ``4 CPUs``."""

    title: str
    measured_ns: Latencies
    others_ns: Mapping[str, Latencies]


def make_directory(directory: Path, option: str) -> None:
    """See that figures can be written there.

    Raises:
        InputError: they cannot.
    """
    with os_errors_as(InputError, f"{option} {directory}", "name a directory"):
        directory.mkdir(parents=True, exist_ok=True)


def draw_quantiles(panels: Sequence[SamplePanel], path: Path, option: str) -> None:
    """Draw a Q-Q plot: on the diagonal, both agree."""

    def draw(axes: Axes, panel: SamplePanel) -> None:
        for number, (name, other_ns) in enumerate(panel.others_ns.items(), start=1):
            measured, other = paired(panel.measured_ns, other_ns)
            ranks = cdf_ranks(len(measured)) - 1
            axes.plot(
                visible(measured[ranks].tolist()),
                visible(other[ranks].tolist()),
                ".",
                markersize=_SIZES[number],
                color=COLORS[number],
                label=name,
            )
        ends = [float(panel.measured_ns.min()), float(panel.measured_ns.max())]
        axes.plot(visible(ends), visible(ends), "-", color=NEUTRAL, linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        label_times(axes.xaxis)
        label_times(axes.yaxis)
        axes.minorticks_off()
        axes.set_xlabel("measured")
        axes.set_ylabel("emulated")

    _draw_grid(panels, draw, path, option)


def draw_distributions(panels: Sequence[SamplePanel], path: Path, option: str) -> None:
    """Distribution functions, with their tails."""

    def draw(axes: Axes, panel: SamplePanel) -> None:
        named = {"measured": panel.measured_ns, **panel.others_ns}
        for number, (name, latency_ns) in enumerate(named.items()):
            times_ns, shares = cdf_of(np.sort(latency_ns))
            line = "-" if number == 0 else "--"
            look: Any = {"color": COLORS[number], "linewidth": _SIZES[number] / 2, "label": name}
            axes.plot(visible(times_ns), shares, line, **look)
        axes.set_xscale("log")
        share_axis(axes)
        label_times(axes.xaxis)
        axes.set_xlabel("latency")

    _draw_grid(panels, draw, path, option)


def draw_errors(panels: Sequence[SamplePanel], path: Path, option: str) -> None:
    """The error of each request, by its rank, and the band that 95 % of them are in."""

    def draw(axes: Axes, panel: SamplePanel) -> None:
        for number, (name, other_ns) in enumerate(panel.others_ns.items(), start=1):
            color = COLORS[number]
            errors = error_percent(panel.measured_ns, other_ns)
            step = max(1, len(errors) // _SCATTER_MAX)
            ranks = np.arange(len(errors))[::step] / len(errors) * 100
            axes.plot(
                ranks, errors[::step], ".", markersize=_SIZES[number] - 1, color=color, label=name
            )
            for edge in np.percentile(errors, (2.5, 97.5)):
                axes.axhline(float(edge), linestyle=":", linewidth=0.9, color=color)
        axes.axhline(0, color=NEUTRAL, linewidth=0.8)
        axes.set_ylim(-_ERROR_LIMIT_PERCENT, _ERROR_LIMIT_PERCENT)
        axes.set_xlabel("rank of the request, %")
        axes.set_ylabel("error, %")

    _draw_grid(panels, draw, path, option)


def draw_error_distributions(panels: Sequence[SamplePanel], path: Path, option: str) -> None:
    """Draw the cumulative distribution of the relative errors of requests."""

    def draw(axes: Axes, panel: SamplePanel) -> None:
        for number, (name, other_ns) in enumerate(panel.others_ns.items(), start=1):
            errors = np.sort(np.abs(error_percent(panel.measured_ns, other_ns)))
            shares = (np.arange(len(errors)) + 1) / len(errors) * 100
            step = max(1, len(errors) // _SCATTER_MAX)
            look: Any = {"color": COLORS[number], "linewidth": _SIZES[number] / 2, "label": name}
            axes.plot(errors[::step], shares[::step], "-", **look)
        axes.set_xlim(0, _ERROR_LIMIT_PERCENT)
        axes.set_ylim(0, 100)
        axes.set_xlabel("error at most, %")
        axes.set_ylabel("share of requests, %")

    _draw_grid(panels, draw, path, option)


def draw_course(panels: Sequence[SamplePanel], path: Path, option: str, block_count: int) -> None:
    """Draw the drift of the measurement: mean and median of its blocks over its course."""

    def draw(axes: Axes, panel: SamplePanel) -> None:
        blocks = np.array_split(panel.measured_ns, min(block_count, len(panel.measured_ns)))
        for name, of, color in (("mean", np.mean, COLORS[0]), ("median", np.median, COLORS[1])):
            values: Any = [float(of(block)) for block in blocks]
            axes.plot(range(1, len(values) + 1), visible(values), ".-", color=color, label=name)
        axes.set_yscale("log")
        label_times(axes.yaxis)
        axes.minorticks_off()
        axes.set_xlabel("block of the measurement")

    _draw_grid(panels, draw, path, option)


def paired(measured_ns: Latencies, other_ns: Latencies) -> tuple[Latencies, Latencies]:
    """Both samples' quantiles at as many shares as the smaller one has requests."""
    count = min(len(measured_ns), len(other_ns))
    shares = (np.arange(count) + 0.5) / count

    def quantiles(values_ns: Latencies) -> Latencies:
        return np.sort(values_ns)[(shares * len(values_ns)).astype(np.int64)]

    return quantiles(measured_ns), quantiles(other_ns)


def error_percent(measured_ns: Latencies, other_ns: Latencies) -> NDArray[np.float64]:
    """The relative error of each request against the one of its rank, in order of rank."""
    measured, other = paired(measured_ns, other_ns)
    errors: NDArray[np.float64] = (other - measured) / np.maximum(measured, 1) * 100
    return errors


def _draw_grid(
    panels: Sequence[SamplePanel],
    draw: Callable[[Axes, SamplePanel], None],
    path: Path,
    option: str,
) -> None:
    columns = min(len(panels), _COLUMNS_MAX)
    rows = -(-len(panels) // columns)
    width_in, height_in = _PANEL_IN
    with new_figure(width_in * columns, height_in * rows) as figure:
        grid: Any = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            draw(axes, panel)
            axes.set_title(panel.title)
            axes.legend(loc="best")
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        write_file(path, figure_bytes(figure, path.suffix), option)
