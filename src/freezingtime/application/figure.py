# SPDX-License-Identifier: GPL-2.0-or-later
"""A figure that an application says of itself; whatever a guest has printed, it is bounded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from freezingtime.units import largest_time_unit

#: More figures than that are no summary.
FIGURES_MAX = 200

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,59}")
_NO_LETTER = re.compile(r"[^A-Za-z0-9_.]+")
_UNIT_LENGTH = 16
_MB = 10**6


class Direction(StrEnum):
    """Direction in which values are better."""

    LOWER = "lower"
    HIGHER = "higher"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, in the unit that the application gave it."""

    name: str
    value: float
    unit: str
    direction: Direction

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "direction": self.direction.value or None,
        }

    def __str__(self) -> str:
        """Name, value in six digits at most, and unit."""
        return f"{self.name} {value_text(self.value, self.unit)}"


def value_text(value: float, unit: str) -> str:
    """Return the value in six digits at most, with its unit, or a larger one that fits it."""
    if unit == "ns":
        larger, unit_ns = largest_time_unit(abs(value))
        value, unit = value / unit_ns, larger
    elif unit == "bytes/s" and abs(value) >= _MB:
        value, unit = value / _MB, "MB/s"
    return f"{value:,.6g} {unit}".rstrip()


def make_figure(name: object, value: object, unit: object, direction: object) -> Figure:
    """Make a figure of what a guest has said.

    Raises:
        ValueError: it is none; the text says why, but not of which figure.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "a name is a letter, and up to 59 more letters, digits, '_' and '.' behind it"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError("a value is a finite number")
    if not isinstance(unit, str) or len(unit) > _UNIT_LENGTH or not unit.isprintable():
        raise ValueError(f"a unit is up to {_UNIT_LENGTH} letters")
    try:
        better = Direction(str(direction or ""))
    except ValueError:
        raise ValueError("a direction is 'lower' or 'higher'") from None
    return Figure(name, float(value), unit, better)


def as_name(text: str) -> str:
    """Make a name of a part of another program's, such as a job of fio."""
    return _NO_LETTER.sub("_", text).strip("_.") or "x"


def numbered(figures: Iterable[Figure]) -> list[Figure]:
    """Give each figure a name of its own: the second ``tps`` is ``tps_2``; the first 200."""
    taken: dict[str, Figure] = {}
    for figure in figures:
        name, number = figure.name, 1
        while name in taken:
            number += 1
            name = f"{figure.name}_{number}"
        taken[name] = Figure(name, figure.value, figure.unit, figure.direction)
        if len(taken) == FIGURES_MAX:
            break
    return list(taken.values())


def figures_of(document: Mapping[str, Any] | None) -> Sequence[Figure]:
    """The figures in the content of a ``run.json``; none where it has none.

    Raises:
        ValueError: one of them is not right.
    """
    said = [] if document is None else document.get("metrics", [])
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise ValueError("metrics is not a list of figures")
    return numbered(_from_dict(each) for each in said[:FIGURES_MAX])


def _from_dict(said: Mapping[str, object]) -> Figure:
    return make_figure(
        said.get("name"), said.get("value"), said.get("unit", ""), said.get("direction")
    )


def from_json(said: object) -> list[Figure]:
    """The figures of a job's ``metrics.json``: a list of objects, or an object of values by name.

    Raises:
        ValueError: it is neither; the text names the figure.
    """
    if isinstance(said, dict):
        said = [{"name": name, "value": value} for name, value in said.items()]
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise ValueError("must be a list of objects with name, value, unit and direction")
    figures = []
    for number, each in enumerate(said[:FIGURES_MAX], start=1):
        try:
            figures.append(_from_dict(each))
        except ValueError as error:
            raise ValueError(f"figure {number}: {error}") from error
    return figures


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floating-point numbers
        return False
