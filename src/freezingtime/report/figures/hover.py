# SPDX-License-Identifier: GPL-2.0-or-later
"""The values behind a drawn figure's lines, for a page that says them where the pointer is.

They are taken from the figure as matplotlib has laid it out, so no panel needs to know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from freezingtime.report.figures.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

# An SVG of matplotlib's has points, from its upper left corner.
_POINTS_PER_IN = 72
_DECIMALS = 1


@dataclass(frozen=True, slots=True)
class PointMarks:
    """Points of a panel: the number of each, which says what it says, and where it is drawn."""

    numbers: Sequence[int]
    places: Sequence[tuple[float, float]]
    transform: Transform
    """What the places are in."""

    @classmethod
    def of(cls, marks: Iterable[tuple[int, float, float]], transform: Transform) -> Self:
        """Of triples: number, x and y."""
        marks = list(marks)
        return cls([number for number, _, _ in marks], [(x, y) for _, x, y in marks], transform)


@dataclass(frozen=True, slots=True)
class HoverPanel:
    """One pair of axes: where they are, and what their lines are."""

    box: Sequence[float]
    """Left, top, right and bottom, in the SVG's coordinates."""
    outer: Sequence[float]
    """The same with title and labels, as left, top, width and height."""
    is_vertical: bool
    """Whether lines are looked up by the pointer's height: shares, of which times are wanted."""
    lines: Sequence[tuple[int, str, Sequence[float], Sequence[str], Sequence[str]]]
    """The number of the colour (-1: none of a run's), the name, and of each point the place along
    the axis, what it is there, and its value."""
    points: Sequence[tuple[int, float, float]] = ()
    """Number and place of each point; a number that is there several times is one line."""

    def as_list(self) -> list[Any]:
        """For JSON, as short as it can be: lines mostly share their places."""
        shared: dict[tuple[tuple[float, ...], tuple[str, ...]], int] = {}
        lines = []
        for color, name, places, where, values in self.lines:
            along = (tuple(places), tuple(where))
            lines.append([color, name, shared.setdefault(along, len(shared)), values])
        panel = [self.box, self.outer, int(self.is_vertical), list(shared), lines]
        return [*panel, list(map(list, self.points))] if self.points else panel


def hover_panels(figure: Figure) -> list[HoverPanel]:
    """The panels of a figure that has been drawn."""
    return [_panel(figure, axes) for axes in figure.axes]


def point_panels(figure: Figure, marks: Mapping[Axes, Sequence[PointMarks]]) -> list[HoverPanel]:
    """The panels of a figure that has been drawn, of which points are what there is to say."""
    return [_panel(figure, axes, of_axes) for axes, of_axes in marks.items()]


def _panel(figure: Figure, axes: Axes, marks: Sequence[PointMarks] | None = None) -> HoverPanel:
    width_pt, height_pt = (float(size) * _POINTS_PER_IN for size in figure.get_size_inches())
    place = axes.get_position()
    box = (
        place.x0 * width_pt,
        (1 - place.y1) * height_pt,
        place.x1 * width_pt,
        (1 - place.y0) * height_pt,
    )
    tight = axes.get_tightbbox()
    outer = box
    if tight is not None:
        scale = _POINTS_PER_IN / figure.dpi
        outer = (
            tight.x0 * scale,
            height_pt - tight.y1 * scale,
            tight.width * scale,
            tight.height * scale,
        )
    is_vertical = axes.get_yscale() == "logit"
    return HoverPanel(
        _rounded(box),
        _rounded(outer),
        is_vertical,
        list(_lines(axes, box, is_vertical=is_vertical)) if marks is None else [],
        [] if marks is None else list(_points(axes, box, marks)),
    )


def _points(
    axes: Axes, box: Sequence[float], marks: Sequence[PointMarks]
) -> Iterator[tuple[int, float, float]]:
    left, top, right, bottom = box
    for each in marks:
        if not each.numbers:
            continue
        shares = axes.transAxes.inverted().transform(each.transform.transform(each.places))
        for number, (x, y) in zip(each.numbers, shares, strict=True):
            x_pt, y_pt = _rounded((left + x * (right - left), bottom - y * (bottom - top)))
            yield number, x_pt, y_pt


def _lines(
    axes: Axes, box: Sequence[float], *, is_vertical: bool
) -> Iterator[tuple[int, str, Sequence[float], Sequence[str], Sequence[str]]]:
    left, top, right, bottom = box
    for color, name, along, values in _artists(axes):
        xy = np.column_stack([np.asarray(along, float), np.asarray(values, float)])
        xy = xy[np.isfinite(xy).all(axis=1)]
        if not len(xy):
            continue
        with np.errstate(divide="ignore"):
            shares = axes.transAxes.inverted().transform(axes.transData.transform(xy))
        if is_vertical:
            places = bottom - shares[:, 1] * (bottom - top)
            at = [_share_text(share) for share in xy[:, 1]]
            said = [axes.format_xdata(value) for value in xy[:, 0]]
        else:
            places = left + shares[:, 0] * (right - left)
            at = [axes.format_xdata(value) for value in xy[:, 0]]
            said = [_y_text(axes, value) for value in xy[:, 1]]
        yield color, name, _rounded(places), at, said


def _artists(axes: Axes) -> Iterator[tuple[int, str, Any, Any]]:
    """The colour and name of each line, and its points."""
    from matplotlib.colors import to_hex
    from matplotlib.patches import StepPatch

    numbers = {color.lower(): number for number, color in enumerate(COLORS)}
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            values, edges, _ = patch.get_data()
            middles = (np.asarray(edges[:-1]) + np.asarray(edges[1:])) / 2
            color = to_hex(patch.get_edgecolor())
            yield numbers.get(color, -1), _name(patch.get_label()), middles, values
    for line in axes.lines:
        color = to_hex(line.get_color())
        yield numbers.get(color, -1), _name(line.get_label()), line.get_xdata(), line.get_ydata()


def _name(label: object) -> str:
    """matplotlib's own labels begin with an underscore."""
    return "" if str(label).startswith("_") else str(label)


def _share_text(share: float) -> str:
    """Digits up to where a tail's next request is."""
    return f"{share * 100:.6g} %"


def _y_text(axes: Axes, value: float) -> str:
    from matplotlib.ticker import EngFormatter

    formatter = axes.yaxis.get_major_formatter()
    if axes.fmt_ydata is None and isinstance(formatter, EngFormatter):
        return EngFormatter(places=2)(value)
    return f"{value:.4g}" if axes.fmt_ydata is None else axes.format_ydata(value)


def _rounded(values: Any) -> list[float]:
    return [round(float(value), _DECIMALS) for value in values]
