# SPDX-License-Identifier: GPL-2.0-or-later
"""Search for the best choice: a screening, then least squares from the best, then longer curves.

Simulated curves are costly and noisy, but smooth over a few per cent and cheap to begin
well: so a few dozen choices around what simple formulas say are tried, and from the best two the
robust least-squares method of scipy (``least_squares``, Cauchy's loss, trust region) descends,
with differences over steps that are wider than the noise. What it finds is improved on longer
curves. Deterministic by its seed, unless the time is over first: then it is the best choice so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.calibrate.fit.flash.objective import Vector, loss

#: The residuals of a choice; None if there is no such drive.
Residuals: TypeAlias = Callable[[Vector], Vector | None]
#: Gets the step, the share that is done (0 to 1), and the best loss so far.
Notify: TypeAlias = Callable[[str, float, float], None]

#: Choices of the screening, in all and for each number that jumps.
_SCREENED = 10
_SCREENED_PER_JUMP = 6
_SPREAD = 0.08
_STARTS = 2
_STEPS_COARSE, _STEPS_FINE = 12, 8
#: A step that brings less ends a descent.
_TOLERANCE = 0.005
#: What a choice costs that contradicts the data sheet.
_IMPOSSIBLE = 1e3


class _TimeIsOverError(Exception):
    """The budget is used up."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best choice."""

    places: Vector
    loss: float
    jacobian: Vector | None
    """Of the residuals by the smooth numbers, at the best choice or near it; None: not known."""
    evaluations: int
    is_cut: bool
    """Whether the time was over before the search had ended by itself."""


class _Watched:
    """Residuals that remember the best choice, and stop when the time is over."""

    def __init__(self, end_s: float, notify: Notify) -> None:
        self._end_s, self._notify = end_s, notify
        self.step, self.expected = "screening", 1
        self.start(None, "screening", 1)
        self.count = 0

    def start(self, residuals: Residuals | None, step: str, expected: int) -> None:
        """Go on with other residuals; what was best with the former ones is forgotten."""
        self._residuals, self.step, self.expected = residuals, step, expected
        self.best: Vector | None = None
        self.best_loss = float("inf")
        self._done = 0

    def __call__(self, places: Vector) -> Vector | None:
        if self.count and time.monotonic() > self._end_s:
            raise _TimeIsOverError
        assert self._residuals is not None
        residuals = self._residuals(places)
        self.count += 1
        self._done += 1
        if residuals is not None and loss(residuals) < self.best_loss:
            self.best, self.best_loss = np.array(places), loss(residuals)
        self._notify(self.step, min(self._done / self.expected, 1.0), self.best_loss)
        return residuals


def search(
    coarse: Residuals,
    fine: Residuals,
    guess: Vector,
    steps: Sequence[float],
    *,
    seed: int,
    budget_s: float,
    notify: Notify,
) -> Found | None:
    """Return the best choice; None if there is no possible one.

    ``steps`` are the widths of differences; those of numbers that jump are 0.
    """
    watched = _Watched(time.monotonic() + budget_s, notify)
    widths = np.array(steps)
    choices = _screen(guess, widths == 0, seed)
    found: tuple[float, Vector] | None = None
    jacobian, is_cut = None, False
    try:
        watched.start(coarse, "screening", len(choices))
        tried = []
        for places in choices:
            residuals = watched(places)
            if residuals is not None:
                tried.append((loss(residuals), places))
                found = min(tried, key=lambda pair: pair[0])
        tried.sort(key=lambda pair: pair[0])
        smooth = np.flatnonzero(widths)
        for number, (_, places) in enumerate(tried[:_STARTS] if len(smooth) else [], start=1):
            expected = _STEPS_COARSE * (len(smooth) + 1)
            watched.start(coarse, f"searching, start {number}", expected)
            try:
                _descend(watched, places, widths, _STEPS_COARSE)
            finally:
                found = _better(found, watched)
        if found is not None:
            watched.start(fine, "improving", _STEPS_FINE * (len(smooth) + 1))
            before, found = found, None
            try:
                if len(smooth):
                    jacobian = _descend(watched, before[1], widths, _STEPS_FINE)
                else:
                    watched(before[1])
            finally:
                found = _better(found, watched) or before
    except _TimeIsOverError:
        is_cut = True
    return None if found is None else Found(found[1], found[0], jacobian, watched.count, is_cut)


def _better(found: tuple[float, Vector] | None, watched: _Watched) -> tuple[float, Vector] | None:
    if watched.best is None or (found is not None and found[0] <= watched.best_loss):
        return found
    return watched.best_loss, watched.best


def _screen(guess: Vector, jumps: NDArray[np.bool_], seed: int) -> list[Vector]:
    """The guess first, then choices near it; what jumps takes all of its range."""
    count = _SCREENED + _SCREENED_PER_JUMP * int(jumps.sum())
    generator = np.random.Generator(np.random.PCG64([seed, len(guess)]))
    choices = np.clip(guess + generator.normal(0.0, _SPREAD, (count, len(guess))), 0.0, 1.0)
    for column in np.flatnonzero(jumps):
        choices[:, column] = generator.permutation((np.arange(count) + 0.5) / count)
    choices[0] = guess
    return list(choices)


def _descend(watched: _Watched, start: Vector, widths: Vector, steps: int) -> Vector:
    """Least squares over what is smooth; return the Jacobian at its end."""
    from scipy.optimize import least_squares

    smooth = np.flatnonzero(widths)
    size = 0
    known: dict[bytes, Vector] = {}

    def whole(part: Vector) -> Vector:
        places = start.copy()
        places[smooth] = part
        return places

    def residuals(part: Vector) -> Vector:
        nonlocal size
        if part.tobytes() not in known:
            found = watched(whole(part))
            size = size if found is None else len(found)
            known[part.tobytes()] = np.full(size, _IMPOSSIBLE) if found is None else found
        return known[part.tobytes()]

    def jacobian(part: Vector) -> Vector:
        centre = residuals(part)
        columns = []
        for column, width in enumerate(widths[smooth]):
            moved = part.copy()
            moved[column] += width if part[column] < 0.5 else -width
            columns.append((residuals(moved) - centre) / (moved[column] - part[column]))
        return np.stack(columns, axis=1)

    result: Any = least_squares(
        residuals,
        np.clip(start[smooth], 1e-3, 1 - 1e-3),
        jac=jacobian,
        bounds=(0.0, 1.0),
        loss="cauchy",
        max_nfev=steps,
        ftol=_TOLERANCE,
        xtol=1e-3,
        gtol=1e-4,
    )
    return jacobian(np.asarray(result.x))
