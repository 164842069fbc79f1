# SPDX-License-Identifier: GPL-2.0-or-later
"""The figure of an exploration: the job's writes and flushes, and what the power cuts did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezingtime.report.exploration.read import ExplorationData
from freezingtime.report.figures.canvas import figure_bytes, new_figure
from freezingtime.report.figures.style import COLORS
from freezingtime.units import largest_time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN = 9.0
_ROW_HEIGHT_IN = 0.42
_FRAME_HEIGHT_IN = 0.9
#: More marks than that in a row are one band.
_MARKS_MOST = 4000
_PASSED, _FAILED = COLORS[2], COLORS[1]

DESCRIPTION = (
    "Guest time since the start of the job. A line is a request from its arrival to its "
    "completion; a mark is a moment at which the power was cut: all states passed, or some failed."
)


def draw_timeline(data: ExplorationData, **settings: Any) -> bytes:
    """The figure as SVG; ``settings`` are matplotlib's."""
    rows = [
        (disk, is_flush)
        for disk in range(len(data.disks))
        for is_flush in (False, True)
        if any(each.disk == disk and each.is_flush is is_flush for each in data.writes)
    ]
    height_in = _FRAME_HEIGHT_IN + _ROW_HEIGHT_IN * (len(rows) + 1)
    with new_figure(_WIDTH_IN, height_in, **settings) as figure:
        axes = figure.add_subplot()
        unit, unit_ns = largest_time_unit(data.end_ns - data.start_ns)
        _draw_cuts(axes, data, unit_ns)
        labels = ["power cuts"]
        for place, (disk, is_flush) in enumerate(rows, 1):
            spans = [each for each in data.writes if (each.disk, each.is_flush) == (disk, is_flush)]
            step = -(-len(spans) // _MARKS_MOST)
            shown = spans[:: max(1, step)]
            axes.hlines(
                [place] * len(shown),
                [each.arrival_ns / unit_ns for each in shown],
                [each.completion_ns / unit_ns for each in shown],
                colors=COLORS[3] if is_flush else COLORS[0],
                linewidth=7,
            )
            labels.append(f"{data.disks[disk]}: {'flushes' if is_flush else 'writes'}")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, max((data.end_ns - data.start_ns) / unit_ns, 1e-9))
        axes.set_xlabel(f"guest time since the start of the job, {unit}")
        return figure_bytes(figure, ".svg")


def _draw_cuts(axes: Axes, data: ExplorationData, unit_ns: int) -> None:
    for has_failed, color, marker, label in (
        (False, _PASSED, "|", "all states passed"),
        (True, _FAILED, "x", "states failed"),
    ):
        times = [
            (each.point.time_ns - data.start_ns) / unit_ns
            for each in data.points
            if bool(each.failed) is has_failed
        ]
        if times:
            axes.plot(
                *(times, [0] * len(times)),
                color=color,
                marker=marker,
                markersize=9,
                linestyle="none",
                label=f"{label} ({len(times)})",
                clip_on=False,
            )
    if data.points:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
