# SPDX-License-Identifier: GPL-2.0-or-later
"""The panels of a sweep's figures: what each one draws, and where its points are then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freezingtime.application.figure import Direction
from freezingtime.report.figures.axes import NEUTRAL, label_times, time_text
from freezingtime.report.figures.hover import PointMarks
from freezingtime.report.figures.style import COLORS
from freezingtime.report.sweep.axis import AxisScale, SweptAxis
from freezingtime.report.sweep.data import SweepData, SweepMetric, rounded
from freezingtime.report.sweep.front import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: As many lines as there are colours.
SERIES_MAX = len(COLORS)
#: More cells than that have no room for their values.
CELL_TEXTS_MAX = 90
_LOG_SPAN_MIN = 20
_FAILED: dict[str, Any] = {"marker": "x", "color": NEUTRAL, "linestyle": "none", "markersize": 6}
_DOT_AREA, _SMALL_DOT_AREA = 22, 9
_MANY = 200
_BAND_ALPHA = 0.18
#: The part of matplotlib's viridis that is clear on light and on dark pages, in steps that an SVG
#: has as areas.
_RAMP, _RAMP_PART, _RAMP_STEPS = "viridis", (0.12, 0.92), 32
#: Text in a cell is in neither of the page's colours, as the cell is not either.
_ON_DARK, _ON_LIGHT = "#fefefe", "#101010"


@dataclass(frozen=True, slots=True)
class SweepPanel:
    """One pair of axes: its title, and what draws into it and tells where the points are."""

    title: str
    draw: Callable[[Axes], Iterator[PointMarks]]


def line_panel(
    data: SweepData, metric: SweepMetric, along: SweptAxis, series: SweptAxis | None
) -> SweepPanel:
    """A metric over one key: the median of repetitions, and all that they are between."""

    def draw(axes: Axes) -> Iterator[PointMarks]:
        lines = [place for place, _ in series.ticks] if series else [0.0]
        marks: list[tuple[int, float, float]] = []
        for place, color in zip(lines, COLORS, strict=False):
            of_line = [
                each.points
                for each in data.configurations()
                if series is None or series.places[each.points[0]] == place
            ]
            drawn = sorted(
                (along.places[points[0]], middle, data.values(metric, points), points)
                for points in of_line
                if (middle := data.median(metric, points)) is not None
            )
            if not drawn:
                continue
            x = [each[0] for each in drawn]
            line = "none" if along.scale is AxisScale.NAMES else "-"
            axes.plot(x, [each[1] for each in drawn], line, color=color)
            if any(len(values) > 1 for _, _, values, _ in drawn):
                low, high = ([pick(each[2]) for each in drawn] for pick in (min, max))
                axes.fill_between(x, low, high, color=color, alpha=_BAND_ALPHA, linewidth=0)
            points = [
                (point, at, value)
                for at, _, _, points in drawn
                for point in points
                if (value := data.value(metric, point)) is not None
            ]
            _dots(axes, data, points, color=color)
            marks += points
        along.show(axes, "x")
        if along.scale is AxisScale.NAMES:
            axes.set_xlim(-0.5, len(along.ticks) - 0.5)
        _metric_scale(axes, "y", metric, [value for _, _, value in marks])
        yield PointMarks.of(marks, axes.transData)
        yield from _failed(axes, data, along)

    return SweepPanel(metric.label, draw)


def heat_panel(
    data: SweepData, metric: SweepMetric, across: SweptAxis, up: SweptAxis
) -> SweepPanel:
    """A metric over two keys of which every value is combined: a cell for each."""
    columns = {place: number for number, (place, _) in enumerate(across.ticks)}
    rows = {place: number for number, (place, _) in enumerate(up.ticks)}

    def draw(axes: Axes) -> Iterator[PointMarks]:
        from matplotlib.collections import PolyCollection

        cells = []
        for number, each in enumerate(data.configurations()):
            first = each.points[0]
            x, y = columns[across.places[first]], rows[up.places[first]]
            cells.append((number, x, y, first, data.median(metric, each.points)))
        known = [value for *_, value in cells if value is not None]
        shade = Shade(metric, known)
        for is_known in (True, False):
            shown = [cell for cell in cells if (cell[4] is not None) is is_known]
            squares = PolyCollection(
                [
                    [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
                    for _, x, y, _, _ in shown
                ],
                facecolors=[
                    shade.color(value) if value is not None else "none" for *_, value in shown
                ],
                edgecolors="#ffffff" if is_known else NEUTRAL,
                linewidths=0.8,
            )
            squares.set_urls([data.links[first] for _, _, _, first, _ in shown])
            axes.add_collection(squares)
        for _, x, y, _, value in cells:
            if value is None:
                axes.plot([x], [y], **_FAILED)
            elif len(cells) <= CELL_TEXTS_MAX:
                text = _cell_text(metric, value)
                ink = _ON_LIGHT if shade.is_light(value) else _ON_DARK
                axes.text(x, y, text, color=ink, ha="center", va="center", fontsize=7)
        for axis, which in ((across, "x"), (up, "y")):
            _named_axis(axis).show(axes, which)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.grid(visible=False)
        shade.bar(axes)
        yield PointMarks.of(
            [(data.mark_of(number), float(x), float(y)) for number, x, y, _, _ in cells],
            axes.transData,
        )

    return SweepPanel(metric.label, draw)


def scatter_panel(
    data: SweepData, metric: SweepMetric, across: SweptAxis, up: SweptAxis
) -> SweepPanel:
    """A metric at points of two keys that were drawn at random: a dot for each."""

    def draw(axes: Axes) -> Iterator[PointMarks]:
        marks, values = [], []
        for point in range(len(data.numbers)):
            value = data.value(metric, point)
            x, y = across.places[point], up.places[point]
            marks.append((point, x, y))
            if value is None:
                axes.plot([x], [y], **_FAILED)
            values.append(value)
        shade = Shade(metric, [value for value in values if value is not None])
        drawn = [
            (mark, value) for mark, value in zip(marks, values, strict=True) if value is not None
        ]
        colors = [shade.color(value) for _, value in drawn]
        _dots(axes, data, [mark for mark, _ in drawn], color=colors)
        across.show(axes, "x")
        up.show(axes, "y")
        shade.bar(axes)
        yield PointMarks.of(marks, axes.transData)

    return SweepPanel(metric.label, draw)


def pareto_panel(data: SweepData, first: SweepMetric, second: SweepMetric) -> SweepPanel:
    """Two metrics against each other, and what nothing is better than in both."""

    def draw(axes: Axes) -> Iterator[PointMarks]:
        marks, dots, spreads = [], [], []
        for number, each in enumerate(data.configurations()):
            x, y = (data.median(metric, each.points) for metric in (first, second))
            if x is None or y is None:
                continue
            marks.append((data.mark_of(number), x, y))
            dots.append((each.points[0], x, y))
            spreads.append([data.values(metric, each.points) for metric in (first, second)])
        places = [(x, y) for _, x, y in marks]
        for (x, y), (along, up) in zip(places, spreads, strict=True):
            if len(along) > 1:
                look: dict[str, Any] = {"color": NEUTRAL, "linewidth": 0.7, "alpha": 0.6}
                axes.plot([min(along), max(along)], [y, y], **look)
                axes.plot([x, x], [min(up), max(up)], **look)
        front = front_of(data, first, second)
        if front:
            on_front = [places[number] for number in front]
            where: Literal["post", "pre"] = "post" if first.direction is Direction.LOWER else "pre"
            axes.step(*zip(*on_front, strict=True), where=where, color=COLORS[1])
        _dots(axes, data, dots, color=COLORS[0])
        if front:
            _dots(axes, data, [dots[number] for number in front], color=COLORS[1])
        _metric_scale(axes, "x", first, [x for x, _ in places])
        _metric_scale(axes, "y", second, [y for _, y in places])
        axes.set_xlabel(_with_direction(first), parse_math=False)
        axes.set_ylabel(_with_direction(second), parse_math=False)
        yield PointMarks.of(marks, axes.transData)

    return SweepPanel("", draw)


def front_of(data: SweepData, first: SweepMetric, second: SweepMetric) -> list[int]:
    """The front, as numbers among the configurations that have both; empty if it is unknown."""
    if Direction.UNKNOWN in (first.direction, second.direction):
        return []
    places = [
        (x, y)
        for each in data.configurations()
        if (x := data.median(first, each.points)) is not None
        and (y := data.median(second, each.points)) is not None
    ]
    return pareto_front(places, (first.direction, second.direction))


class Shade:
    """The colour of a value, and the bar that explains it."""

    def __init__(self, metric: SweepMetric, values: Sequence[float]) -> None:
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        is_log = is_wide(values)
        norm = LogNorm(low, high) if is_log else Normalize(low, high if high > low else low + 1)
        ramp = matplotlib.colormaps[_RAMP]
        start, stop = _RAMP_PART
        steps = [
            ramp(start + (stop - start) * step / (_RAMP_STEPS - 1)) for step in range(_RAMP_STEPS)
        ]
        colors = LinearSegmentedColormap.from_list("ramp", steps, N=_RAMP_STEPS)
        self._metric = metric
        self._is_log = is_log
        self._map = ScalarMappable(norm, colors)
        self._is_known = bool(values)

    def color(self, value: float) -> Any:
        return self._map.to_rgba(np.array([value]))[0]

    def is_light(self, value: float) -> bool:
        red, green, blue, _ = self.color(value)
        return float(0.3 * red + 0.59 * green + 0.11 * blue) > 0.5

    def bar(self, axes: Axes) -> None:
        """Beside the axes; a part of them, so that both are enlarged together."""
        if not self._is_known or axes.figure is None:
            return
        beside = axes.inset_axes((1.02, 0.0, 0.03, 1.0))
        bar = axes.figure.colorbar(self._map, cax=beside)
        bar.outline.set_visible(False)
        _format_metric(beside, "y", self._metric, is_log=self._is_log)


def is_wide(values: Sequence[float]) -> bool:
    """Whether values need a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) > _LOG_SPAN_MIN * min(values)


def _dots(
    axes: Axes, data: SweepData, points: Sequence[tuple[int, float, float]], color: Any
) -> None:
    """A dot for each point, which leads to its run."""
    if not points:
        return
    _, x, y = zip(*points, strict=True)
    area = _DOT_AREA if len(points) < _MANY else _SMALL_DOT_AREA
    dots = axes.scatter(x, y, s=area, c=color, linewidths=0, zorder=3)
    dots.set_urls([data.links[point] for point, _, _ in points])


def _failed(axes: Axes, data: SweepData, along: SweptAxis) -> Iterator[PointMarks]:
    """Crosses at the lower edge, for points without figures that count."""
    failed = [point for point in range(len(data.numbers)) if not data.has_passed(point)]
    if failed:
        edge = axes.get_xaxis_transform()
        x = [along.places[point] for point in failed]
        axes.plot(x, [0.0] * len(x), transform=edge, clip_on=False, zorder=4, **_FAILED)
        yield PointMarks.of([(point, at, 0.0) for point, at in zip(failed, x, strict=True)], edge)


def _named_axis(axis: SweptAxis) -> SweptAxis:
    """The same with its values side by side, as the cells of a heat map are."""
    ticks = [(float(number), name) for number, (_, name) in enumerate(axis.ticks)]
    return SweptAxis(axis.label, axis.names, (), ticks, AxisScale.NAMES, axis.format_place)


def _metric_scale(axes: Axes, which: str, metric: SweepMetric, values: Sequence[float]) -> None:
    is_log = is_wide(values)
    if is_log:
        getattr(axes, f"set_{which}scale")("log")
    elif values and min(values) >= 0:
        # From 0 on, unless differences would be lost.
        low, high = min(values), max(values)
        if low < 0.5 * high or low == high:
            getattr(axes, f"set_{which}lim")(0, high * 1.08 or 1)
    _format_metric(axes, which, metric, is_log=is_log)


def _format_metric(axes: Axes, which: str, metric: SweepMetric, *, is_log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = getattr(axes, f"{which}axis")
    if metric.unit == "ns" and is_log:
        label_times(axis)
    elif metric.unit == "ns":
        axis.set_major_formatter(FuncFormatter(lambda value, _: time_text(value)))
    else:
        axis.set_major_formatter(FuncFormatter(lambda value, _: _number_text(metric, value)))
        if is_log:
            low, high = axis.get_view_interval()
            if high < 100 * low:
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_formatter(NullFormatter())


def _number_text(metric: SweepMetric, value: float) -> str:
    if metric.unit == "bytes/s":
        return f"{value / 10**6:,.4g} MB/s"
    return rounded(value)


def _cell_text(metric: SweepMetric, value: float) -> str:
    if metric.unit == "ns":
        return metric.text(value)
    return _number_text(metric, value).partition(" ")[0]


def _with_direction(metric: SweepMetric) -> str:
    better = f" ({metric.direction} is better)" if metric.direction else ""
    return f"{metric.label}{better}"
