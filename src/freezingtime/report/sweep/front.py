# SPDX-License-Identifier: GPL-2.0-or-later
"""The Pareto front: what nothing else is better than in both of two metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from freezingtime.application.figure import Direction


def pareto_front(
    places: Sequence[tuple[float, float]], directions: tuple[Direction, Direction]
) -> list[int]:
    """The numbers of those on the front, in order of the first metric; equal ones are all on it.

    Raises:
        ValueError: a direction is unknown.
    """
    if Direction.UNKNOWN in directions:
        raise ValueError("a front needs to know which values are better")
    signs = [1 if direction is Direction.LOWER else -1 for direction in directions]
    costs = [tuple(sign * value for sign, value in zip(signs, xy, strict=True)) for xy in places]
    front: list[int] = []
    best = (math.inf, math.inf)
    for number in sorted(range(len(costs)), key=lambda each: costs[each]):
        if costs[number][1] < best[1] or costs[number] == best:
            best = (costs[number][0], costs[number][1])
            front.append(number)
    return sorted(front, key=lambda number: places[number])
