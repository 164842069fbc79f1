# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures in files: SVG, PNG or PDF. Plain data in, bytes out; no display is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import InputError
from freezingtime.host.replaced_file import require_place
from freezingtime.report.figures.axes import (
    NEUTRAL,
    cdf_of,
    label_times,
    line_legend,
    share_axis,
    visible,
)
from freezingtime.report.figures.canvas import EXTENSIONS, figure_bytes, new_figure, write_file
from freezingtime.report.figures.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More devices than that in one figure are indistinguishable.
DEVICES_MAX = len(COLORS)

_STATISTICS: dict[str, Any] = {"mean": "-", "p50": "--", "p99": "-.", "p99.9": ":"}
# How a mark looks, by whether it is from a rate, and a bound.
_LOOKS: dict[tuple[bool, bool], tuple[str, dict[str, Any]]] = {
    (False, False): ("latency", {"marker": "o"}),
    (False, True): ("latency, at most", {"marker": "v"}),
    (True, False): ("IOPS: depth / IOPS", {"marker": "o", "markerfacecolor": "white"}),
    (True, True): ("IOPS, at least", {"marker": "v", "markerfacecolor": "white"}),
}
_CDF_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True, slots=True)
class Mark:
    """A published figure in the panel of latency over depth."""

    depth: int
    latency_ns: float
    bound: bool
    """At most so much."""
    from_rate: bool
    """Computed from a rate: depth / IOPS."""


@dataclass(frozen=True, slots=True)
class LatencySeries:
    """One device's latencies under one kind of request."""

    device: str
    statistics_ns: dict[str, dict[int, float]]
    """"mean", "p50", "p99" and "p99.9", each by queue depth."""
    sorted_ns: dict[int, NDArray[np.int64]]
    """All latencies, sorted, by queue depth: for the distribution."""
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One row of the figure: what the requests are, and a series for each device."""

    title: str
    series: Sequence[LatencySeries]


@dataclass(frozen=True, slots=True)
class FillSeries:
    """The rate at which one device is written from its beginning to its end, by what is written."""

    device: str
    written_bytes: NDArray[np.float64]
    new_bytes_per_s: NDArray[np.float64]
    full_bytes_per_s: NDArray[np.float64]
    """Overwritten when it was full."""
    cache_bytes: int | None
    """Published: written at the first of the following rates, until it falls to the second."""
    cached_bytes_per_s: int | None
    after_cache_bytes_per_s: int | None


def check_figure_path(path: Path, option: str) -> None:
    """Find out before the work begins whether the figure can be written.

    Raises:
        InputError: the extension is unknown, or there can be no such file.
    """
    if path.suffix not in EXTENSIONS:
        raise InputError(f"{option} {path}: unknown extension; write {', '.join(EXTENSIONS)}")
    require_place(option, path)


def draw_latency(
    rows: Sequence[LatencyRow],
    path: Path,
    option: str,
    fills: Sequence[FillSeries | None] = (),
) -> None:
    """Draw latency over queue depth and its distribution, two panels in each row.

    ``fills`` are of the rows' devices, None where there is none: a row of its own, if any is.
    The same data make the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    height = len(rows) + any(fills)
    with new_figure(9.0, 3.4 * height + 0.5) as figure:
        panels: Any = figure.subplots(height, 2, squeeze=False)
        if any(fills):
            _draw_fills(panels[-1], fills)
        for row, (over_depth, distribution) in zip(rows, panels, strict=False):
            _draw_over_depth(over_depth, row)
            _draw_distribution(distribution, row)
        _device_legend(figure, rows)
        write_file(path, figure_bytes(figure, path.suffix), option)


def _draw_over_depth(axes: Axes, row: LatencyRow) -> None:
    for series, color in zip(row.series, COLORS, strict=False):
        for name, line in _STATISTICS.items():
            values_ns = series.statistics_ns[name]
            axes.plot(list(values_ns), visible(list(values_ns.values())), line, color=color)
        for mark in series.marks:
            axes.plot(
                [mark.depth],
                visible([mark.latency_ns]),
                color=color,
                linestyle="none",
                zorder=3,
                **_LOOKS[_kind(mark)][1],
            )
    depths = sorted({depth for series in row.series for depth in series.statistics_ns["mean"]})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    label_times(axes.yaxis)
    axes.set_title(f"{row.title}: latency")
    axes.set_xlabel("queue depth")
    line_legend(axes, {name: {"linestyle": line} for name, line in _STATISTICS.items()})


def _draw_distribution(axes: Axes, row: LatencyRow) -> None:
    depths = sorted({depth for series in row.series for depth in series.sorted_ns})
    lines = dict(zip(depths, _CDF_STYLES, strict=False))
    for series, color in zip(row.series, COLORS, strict=False):
        for depth, sorted_ns in series.sorted_ns.items():
            latencies_ns, shares = cdf_of(sorted_ns)
            axes.plot(visible(latencies_ns), shares, lines[depth], color=color)
    axes.set_xscale("log")
    share_axis(axes)
    label_times(axes.xaxis)
    axes.set_title(f"{row.title}: distribution")
    axes.set_xlabel("latency")
    line_legend(axes, {f"depth {depth}": {"linestyle": line} for depth, line in lines.items()})


def _draw_fills(panels: Sequence[Axes], fills: Sequence[FillSeries | None]) -> None:
    """New disks on the left, with what is published, full ones on the right."""
    for series, color in zip(fills, COLORS, strict=False):
        if series is None:
            continue
        written_gb = series.written_bytes / 1e9
        rates = (series.new_bytes_per_s, series.full_bytes_per_s)
        for axes, bytes_per_s in zip(panels, rates, strict=True):
            axes.step(written_gb, bytes_per_s / 1e6, where="pre", color=color)
        if series.cache_bytes is not None:
            published = [series.cached_bytes_per_s, series.after_cache_bytes_per_s]
            marks = [rate / 1e6 for rate in published if rate is not None]
            panels[0].plot(
                [series.cache_bytes / 1e9] * len(marks), marks, "o", color=color, zorder=3
            )
    for axes, title in zip(panels, ("new", "full, overwritten"), strict=True):
        axes.set_yscale("log")
        axes.set_title(f"sequential writes, {title}")
        axes.set_xlabel("written, GB")
        axes.set_ylabel("MB/s")
        axes.yaxis.set_major_formatter("{x:g}")


def _device_legend(figure: Figure, rows: Sequence[LatencyRow]) -> None:
    """Above the panels: which colour is which device, and what the marks are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, linewidth=3, label=series.device)
        for series, color in zip(rows[0].series, COLORS, strict=False)
    ]
    marks = [mark for row in rows for series in row.series for mark in series.marks]
    for kind in sorted({_kind(mark) for mark in marks}):
        name, look = _LOOKS[kind]
        handles.append(
            Line2D([], [], linestyle="none", color=NEUTRAL, label=f"published {name}", **look)
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=4)


def _kind(mark: Mark) -> tuple[bool, bool]:
    return mark.from_rate, mark.bound
