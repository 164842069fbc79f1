# SPDX-License-Identifier: GPL-2.0-or-later
"""Fit the flash model to a measured load-latency curve, and judge the fit."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from freezingtime._version import __version__
from freezingtime.calibrate.fit.device_toml import device_toml, write_device
from freezingtime.calibrate.fit.flash.curve_file import (
    PROGRAM,
    PROVENANCE,
    CurveFile,
    leaves,
    read_curve_file,
)
from freezingtime.calibrate.fit.flash.objective import Vector, log_ratios, scales
from freezingtime.calibrate.fit.flash.quick_curve import COARSE, FINE, Effort, QuickCurve
from freezingtime.calibrate.fit.flash.search import Found, Residuals, search
from freezingtime.calibrate.fit.flash.search_space import (
    FASTEST,
    SLOWEST,
    SearchSpace,
    die_count,
    program_bytes,
    search_space,
)
from freezingtime.calibrate.fit.flash.sensitivity import Sensitivity, sensitivities
from freezingtime.calibrate.fit.flash.technology import TECHNOLOGIES
from freezingtime.calibrate.fit.models import FLASH
from freezingtime.device.flash.parameters import FlashParams
from freezingtime.device.parameters import Table
from freezingtime.device.registry import from_content
from freezingtime.errors import InputError
from freezingtime.simulate.load_curve import AIMS, FigureComparison, Point, compare

#: Gets the step, what is done and the total; both 0 where there is nothing to say.
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class FlashFitPlan:
    """Options of a fit to a curve."""

    cells: str = "tlc"
    """A name of :data:`~freezingtime.calibrate.fit.flash.technology.TECHNOLOGIES`."""
    budget_s: float = 600.0
    """Host time for the search."""
    held_out: float = 0.2
    """Which share of the points the search does not see."""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class FlashFit:
    """A drive that was fitted to a curve."""

    content: Mapping[str, Any]
    """The device's description, as in its TOML."""
    figures: Sequence[FigureComparison]
    """All figures of the curve, as the whole drive at full length has them."""
    held_out: Sequence[Point]
    """The points that the search did not see."""
    sensitivities: Sequence[Sensitivity]
    values: Mapping[str, float]
    """What was found, by parameter, in its unit."""
    found: Found

    @property
    def toml(self) -> str:
        """The device file."""
        return device_toml(self.content)

    def write(self, path: Path) -> None:
        """Write the device file; it appears in one instant.

        Raises:
            InputError: it cannot be written.
        """
        write_device(path, self.toml)

    def within_aims(self, *, held_out: bool) -> tuple[int, int]:
        """Count the figures of the fitted or the held-out points: within their aims, and all."""
        aimed = [
            figure
            for figure in self.figures
            if figure.figure in AIMS and (figure.point in self.held_out) == held_out
        ]
        return sum(not figure.missed for figure in aimed), len(aimed)


def fit_flash(
    path: Path,
    plan: FlashFitPlan,
    *,
    seed: int = 0,
    progress: Progress = lambda step, done, total: None,
) -> FlashFit:
    """Fit the flash model to the curve of a file, beside what that says of the drive.

    Raises:
        InputError: the file is not right, or no drive fits what it says.
    """
    technology = TECHNOLOGIES[plan.cells]
    known = read_curve_file(path, technology)
    space = search_space(known, technology)
    _check_buildable(space)
    held_out = _hold_out(known.curve.points, plan.held_out, seed)
    fitted = [point for point in known.curve.points if point not in held_out]
    found = search(
        _residuals(space, fitted, COARSE, seed),
        _residuals(space, fitted, FINE, seed),
        space.guess(),
        space.steps(),
        seed=seed,
        budget_s=plan.budget_s,
        notify=_Notice(progress, plan.budget_s),
    )
    parameters = None if found is None else space.parameters(found.places.tolist())
    if found is None or parameters is None:
        raise InputError(
            f"{path}: no {plan.cells} drive of these dies and channels comes to the published "
            "write bandwidth; check array, published.write_bandwidth, and --cells"
        )
    known_well: list[Sensitivity] = []
    if found.jacobian is not None:
        figures = QuickCurve(known, fitted, FINE, seed).compare(parameters)
        known_well = sensitivities(space, found.jacobian, figures)
    content = _content(space, parameters, known_well, found, plan, seed)
    description = from_content(content, str(path), path.stem)
    figures = []
    for figure in compare(description, known.curve, seed=seed):
        figures.append(figure)
        done = known.curve.points.index(figure.point)
        progress("comparing at full length", done, len(known.curve.points))
    return FlashFit(
        content, figures, held_out, known_well, space.values(found.places.tolist()), found
    )


class _Notice:
    """Progress of the search as text: what it has reached, and how long it will take at most."""

    def __init__(self, progress: Progress, budget_s: float) -> None:
        self._progress = progress
        self._end_s = time.monotonic() + budget_s

    def __call__(self, step: str, share: float, best_loss: float) -> None:
        left_s = max(round(self._end_s - time.monotonic()), 0)
        left = f"{left_s // 60} min {left_s % 60} s" if left_s >= 60 else f"{left_s} s"
        text = f"{step}, distance {best_loss:.3f}, at most {left} left"
        self._progress(text, round(100 * share), 100)


def _check_buildable(space: SearchSpace) -> None:
    """Raise InputError, with the file's own keys, if what is known makes no drive."""
    parameters = space.parameters(space.guess().tolist())
    if parameters is not None:
        content = {"parameters": parameters}
        Table(content, space.known.file).below("parameters").read(FlashParams)


def _hold_out(points: Sequence[Point], share: float, seed: int) -> list[Point]:
    """Draw points that the search does not see; never the lowest load, nor saturation."""
    below = sorted((point for point in points if not point.saturated), key=lambda point: point.iops)
    count = min(max(round(share * len(points)), 1), len(below) - 1) if share else 0
    generator = np.random.Generator(np.random.PCG64([seed, len(points)]))
    if count < 1:
        return []
    chosen = generator.choice(len(below) - 1, count, replace=False) + 1
    return [below[index] for index in sorted(chosen.tolist())]


def _residuals(space: SearchSpace, points: Sequence[Point], effort: Effort, seed: int) -> Residuals:
    quick = QuickCurve(space.known, points, effort, seed)

    def of(places: Vector) -> Vector | None:
        parameters = space.parameters(places.tolist())
        if parameters is None:
            return None
        figures = quick.compare(parameters)
        return log_ratios(figures) * scales(figures)

    return of


def _content(
    space: SearchSpace,
    parameters: Mapping[str, Any],
    known_well: Sequence[Sensitivity],
    found: Found,
    plan: FlashFitPlan,
    seed: int,
) -> dict[str, Any]:
    """The description: what the file had, the parameters, and where each comes from."""
    known = space.known
    content: dict[str, Any] = {
        "summary": plan.summary or known.content.get("summary") or "fitted to a measured curve",
        "class": known.content.get("class", "flash"),
        "capacity": known.content["capacity"],
        "model": FLASH,
        "parameters": copy.deepcopy(dict(parameters)),
    }
    for name in ("disk", "durability", "published", "measured", "sources"):
        if name in known.content:
            content[name] = copy.deepcopy(known.content[name])
    origins = dict(known.origins)
    for free in space.free:
        if free.name not in (FASTEST, SLOWEST):
            text = f"to {free.fitted_to} [{known.curve.source}]; {_known(free.name, known_well)}"
            origins[free.name] = ("fitted", text)
    if known.write_bytes_per_s is not None:
        origins[PROGRAM] = ("derived", _program_text(known, parameters))
    for table in PROVENANCE:
        content[table] = {
            path: origins[path][1]
            for path in leaves(parameters)
            if path in origins and origins[path][0] == table
        }
    cut = ", cut short by its budget" if found.is_cut else ""
    notes = dict(known.content.get("notes", {}))
    notes["fit"] = (
        f"freezingtime {__version__} fit --model flash --cells {plan.cells} --seed {seed} "
        f"--held-out {plan.held_out:g}: {found.evaluations} curves{cut}"
    )
    content["notes"] = notes
    return content


def _known(name: str, known_well: Sequence[Sensitivity]) -> str:
    for sensitivity in known_well:
        if sensitivity.name == name:
            told = "" if sensitivity.is_identifiable else ", not identifiable"
            return f"+-{sensitivity.uncertainty:.0%}{told}"
    return "the best of those that were tried"


def _program_text(known: CurveFile, parameters: Mapping[str, Any]) -> str:
    source = known.content["published"]["write_bandwidth"].get("source")
    cited = f" [{source}]" if source else ""
    return (
        f"from the data sheet's sequential write bandwidth{cited}: {die_count(parameters)} dies "
        f"that take in and program {program_bytes(parameters):_} bytes one after the other"
    )
