# SPDX-License-Identifier: GPL-2.0-or-later
"""Axes of varied keys: numbers, evenly or in their logarithm, or names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from freezingtime.errors import InputError
from freezingtime.report.figures.axes import time_text
from freezingtime.report.sweep.data import SEED, SweepData, SweptKey, key_text
from freezingtime.units import format_size_bytes, parse_size_bytes, parse_time_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More values than that are not each named at an axis.
TICKS_MAX = 12
_LOG_SPAN_MIN = 8
_LABEL_MAX = 26
_SIDE_BY_SIDE_MAX = 64
_PER_S = "/s"


class AxisScale(Enum):
    """Placing of values along an axis."""

    EVEN = "even"
    LOG = "log"
    NAMES = "names"
    """One beside the other, in the order in which they were given."""


@dataclass(frozen=True, slots=True)
class SweptAxis:
    """An axis of a varied key, or of several that take their values side by side."""

    label: str
    names: Sequence[str]
    """Of its keys."""
    places: Sequence[float]
    """Of each point, in data coordinates."""
    ticks: Sequence[tuple[float, str]]
    """Of each value: its place and name, in order."""
    scale: AxisScale
    format_place: Callable[[float], str]

    def show(self, axes: Axes, which: str) -> None:
        """Make it the ``x`` or the ``y`` axis."""
        axis = getattr(axes, f"{which}axis")
        getattr(axes, f"set_{which}label")(self.label, parse_math=False)
        if self.scale is AxisScale.LOG:
            getattr(axes, f"set_{which}scale")("log")
        if len(self.ticks) <= TICKS_MAX:
            self._name_ticks(axes, which)
            axis.minorticks_off()
        elif self.scale is AxisScale.NAMES:
            step = -(-len(self.ticks) // TICKS_MAX)
            self._name_ticks(axes, which, step)
        else:
            from matplotlib.ticker import FuncFormatter, NullFormatter

            axis.set_major_formatter(FuncFormatter(lambda place, _: self.format_place(place)))
            axis.set_minor_formatter(NullFormatter())

    def _name_ticks(self, axes: Axes, which: str, step: int = 1) -> None:
        places, names = zip(*self.ticks[::step], strict=True)
        shown = [short(name) for name in names]
        getattr(axes, f"set_{which}ticks")(places, shown)
        for label in getattr(axes, f"get_{which}ticklabels")():
            label.set_parse_math(False)
            if which == "x" and sum(map(len, shown)) > _SIDE_BY_SIDE_MAX:
                label.set(rotation=25, ha="right", rotation_mode="anchor")


def short(name: str) -> str:
    """A name that fits at an axis, its middle left out if need be."""
    if len(name) <= _LABEL_MAX:
        return name
    half = _LABEL_MAX // 2
    return f"{name[: half - 1]}\u2026{name[-half:]}"


def swept_axes(data: SweepData) -> list[SweptAxis]:
    """The axes of a sweep: one for each key that has several values, in order.

    Keys that take their values side by side share one. Of repetitions, the seed is none.
    """
    found: list[SweptAxis] = []
    done: set[str] = set()
    by_name = {key.name: key for key in data.keys}
    groups = {name: group for group in data.zipped for name in group if set(group) <= {*by_name}}
    for key in data.keys:
        names = groups.get(key.name, [key.name])
        if key.name in done or (key.name == SEED and data.is_repeated):
            continue
        done.update(names)
        keys = [by_name[name] for name in names]
        if any(len(set(each.values)) > 1 for each in keys):
            found.append(_axis(keys))
    return found


def _axis(keys: Sequence[SweptKey]) -> SweptAxis:
    label = ", ".join(key.name for key in keys)
    names = [key.name for key in keys]
    values = list(zip(*(key.values for key in keys), strict=True))
    texts = [", ".join(map(key_text, each)) for each in values]
    measured = _numbers(keys[0].values) if len(keys) == 1 else None
    if measured is None:
        order = list(dict.fromkeys(texts))
        places: Sequence[float] = [float(order.index(text)) for text in texts]
        ticks = [(float(place), text) for place, text in enumerate(order)]
        return SweptAxis(
            label,
            names,
            places,
            ticks,
            AxisScale.NAMES,
            lambda place: order[min(max(round(place), 0), len(order) - 1)],
        )
    places, format_place = measured
    ticks = sorted(dict(zip(places, texts, strict=True)).items())
    scale = AxisScale.LOG if _is_log([place for place, _ in ticks]) else AxisScale.EVEN
    return SweptAxis(label, names, places, ticks, scale, format_place)


def _numbers(values: Sequence[Any]) -> tuple[list[float], Callable[[float], str]] | None:
    """The numbers that values are, and how such a number is said; None if they are names."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values], lambda place: f"{place:.6g}"
    if not all(isinstance(value, str) for value in values):
        return None
    for end in ("", _PER_S):
        if all(value.endswith(end) for value in values):
            cut = [value.removesuffix(end) for value in values]
            with suppress(InputError):
                return [float(parse_time_ns(value)) for value in cut], time_text
            with suppress(InputError):
                sizes = [float(parse_size_bytes(value)) for value in cut]
                return sizes, lambda place, end=end: f"{format_size_bytes(round(place))}{end}"
    return None


def _is_log(sorted_values: Sequence[float]) -> bool:
    """Whether values lie more evenly in their logarithm."""
    if sorted_values[0] <= 0 or sorted_values[-1] < _LOG_SPAN_MIN * sorted_values[0]:
        return False
    return _unevenness([math.log(value) for value in sorted_values]) < _unevenness(sorted_values)


def _unevenness(values: Sequence[float]) -> float:
    """How far a value is from where it would be were all equally far apart, at most."""
    low, span, last = values[0], values[-1] - values[0], len(values) - 1
    return max(
        (abs((value - low) / span - number / last) for number, value in enumerate(values)),
        default=0.0,
    )
