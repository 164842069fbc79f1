# SPDX-License-Identifier: GPL-2.0-or-later
"""Parallel coordinates: an axis for each key and each metric, a line for each point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freezingtime.report.figures.axes import NEUTRAL
from freezingtime.report.figures.hover import PointMarks
from freezingtime.report.figures.style import COLORS
from freezingtime.report.sweep.axis import TICKS_MAX, AxisScale, SweptAxis, short
from freezingtime.report.sweep.data import SweepData, SweepMetric
from freezingtime.report.sweep.panels import Shade, SweepPanel, is_wide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TICKS = 5
_FEW, _MANY = 60, 400
_TICK_LENGTH = 0.02
# Names at the foot are side by side up to so many letters, and else aslant.
_SIDE_BY_SIDE_MAX = 90


@dataclass(frozen=True, slots=True)
class _Upright:
    """One of the axes: where its values are, from 0 at the foot to 1."""

    label: str
    shares: Sequence[float | None]
    """Of each point; None: it has no value."""
    ticks: Sequence[tuple[float, str]]


def parallel_panel(data: SweepData, axes_of_keys: Sequence[SweptAxis]) -> SweepPanel:
    """All keys and metrics, coloured by the first metric."""
    uprights = [_of_key(axis) for axis in axes_of_keys]
    uprights += [_of_metric(data, metric) for metric in data.metrics]
    metric = data.metrics[0]

    def draw(axes: Axes) -> Iterator[PointMarks]:
        from matplotlib.collections import LineCollection

        shade = Shade(metric, data.values(metric, range(len(data.numbers))))
        passed: list[tuple[int, list[tuple[float, float]]]] = []
        failed: list[tuple[int, list[tuple[float, float]]]] = []
        marks: list[tuple[int, float, float]] = []
        for point in range(len(data.numbers)):
            line = [
                (float(number), share)
                for number, upright in enumerate(uprights)
                if (share := upright.shares[point]) is not None
            ]
            marks += [(point, x, y) for x, y in line]
            (passed if data.value(metric, point) is not None else failed).append((point, line))
        count = len(data.numbers)
        width = 1.4 if count <= _FEW else 0.9 if count <= _MANY else 0.5
        for lines, look in (
            (passed, {"colors": [shade.color(metric.values[point] or 0) for point, _ in passed]}),
            (failed, {"colors": COLORS[1], "linestyles": "dotted"}),
        ):
            drawn = LineCollection([line for _, line in lines], linewidths=width, **look)
            drawn.set_urls([data.links[point] for point, _ in lines])
            axes.add_collection(drawn)
        for number, upright in enumerate(uprights):
            _draw_upright(axes, number, upright)
        _frame(axes, uprights)
        shade.bar(axes)
        yield PointMarks.of(marks, axes.transData)

    return SweepPanel(f"coloured by {metric.name}", draw)


def _draw_upright(axes: Axes, number: int, upright: _Upright) -> None:
    axes.plot([number, number], [0, 1], color=NEUTRAL, linewidth=0.8, zorder=3)
    beside: dict[str, Any] = {"boxstyle": "square,pad=0.1", "facecolor": "#ffffff"}
    for share, text in upright.ticks:
        axes.plot(
            *([number - _TICK_LENGTH, number], [share, share]),
            color=NEUTRAL,
            linewidth=0.8,
            zorder=3,
        )
        axes.text(
            *(number - 1.5 * _TICK_LENGTH, share, short(text)),
            ha="right",
            va="center",
            fontsize=7,
            zorder=4,
            parse_math=False,
            bbox={**beside, "edgecolor": "none", "alpha": 0.75},
        )


def _frame(axes: Axes, uprights: Sequence[_Upright]) -> None:
    axes.set_xlim(-0.6, len(uprights) - 0.85)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([])
    labels = [upright.label for upright in uprights]
    axes.set_xticks(range(len(uprights)), [short(label) for label in labels])
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
        if sum(map(len, labels)) > _SIDE_BY_SIDE_MAX:
            label.set(rotation=20, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _of_key(axis: SweptAxis) -> _Upright:
    places = [place for place, _ in axis.ticks]
    share = _share(places, is_log=axis.scale is AxisScale.LOG)
    step = max(1, -(-len(axis.ticks) // TICKS_MAX))
    ticks = [(share(place), text) for place, text in axis.ticks[::step]]
    if axis.scale is not AxisScale.NAMES and len(axis.ticks) > TICKS_MAX:
        ticks = _even_ticks(places, axis.format_place, is_log=axis.scale is AxisScale.LOG)
    return _Upright(axis.label, [share(place) for place in axis.places], ticks)


def _of_metric(data: SweepData, metric: SweepMetric) -> _Upright:
    values = data.values(metric, range(len(data.numbers)))
    if not values:
        return _Upright(metric.name, [None] * len(data.numbers), [])
    is_log = is_wide(values)
    share = _share(values, is_log=is_log)
    shares = [
        None if value is None else share(value)
        for value in (data.value(metric, point) for point in range(len(data.numbers)))
    ]
    ticks = _even_ticks(values, metric.text, is_log=is_log)
    return _Upright(metric.name, shares, ticks if min(values) < max(values) else ticks[:1])


def _share(values: Sequence[float], *, is_log: bool) -> Callable[[float], float]:
    """From the least value, 0, to the greatest, 1; in the middle if all are equal."""
    low, high = min(values), max(values)
    if low == high:
        return lambda value: 0.5
    if is_log:
        return lambda value: math.log(value / low) / math.log(high / low)
    return lambda value: (value - low) / (high - low)


def _even_ticks(
    values: Sequence[float], text: Callable[[float], str], *, is_log: bool
) -> list[tuple[float, str]]:
    low, high = min(values), max(values)
    if low == high:
        return [(0.5, text(low))]
    shares = [number / (_TICKS - 1) for number in range(_TICKS)]
    places = [
        low * (high / low) ** share if is_log else low + share * (high - low) for share in shares
    ]
    return [
        (share, text(float(f"{place:.4g}"))) for share, place in zip(shares, places, strict=True)
    ]
