# SPDX-License-Identifier: GPL-2.0-or-later
"""Holding a device to what was measured on the real one, by the method of the paper.

The measured requests of each cell are cut into two halves, in blocks that alternate
(:mod:`~freezingtime.calibrate.halves`). The device is fitted to the first half, or is any
other; a guest uses it over a slower medium, with one CPU and with several; and what the guest was
given, request by request, is compared with the half that the device has not seen. (Bona et al.,
"Freezing Time", MASCOTS 2018, compares a real device with the emulated one so.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezingtime.calibrate.distance import Distance, distance
from freezingtime.calibrate.fit.device_toml import device_toml
from freezingtime.calibrate.fit.fit import FitPlan, fit_content, require_enough
from freezingtime.calibrate.fit.models import EMPIRICAL
from freezingtime.calibrate.fit.sources import Source
from freezingtime.calibrate.guest_job import Observer
from freezingtime.calibrate.halves import Drift, drift, mean_uncertainty, split
from freezingtime.calibrate.latency_cells import CELL_MIN, Cell, LatencyCells, sort_into_cells
from freezingtime.calibrate.validate.in_guest import (
    GuestLoad,
    reason_not_comparable,
    run_in_guest,
)
from freezingtime.calibrate.validate.options import FIT
from freezingtime.clock.kind import ClockKind
from freezingtime.device.trace_device import OperationClass
from freezingtime.disk.disk import Disk
from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import InputError
from freezingtime.runs.options import RunOptions
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.readers.latencies import Latencies

CPUS = (1, 4)
#: Default maximum of requests per class.
REQUESTS_MAX = 100_000
#: How near a held-out figure should come.
AIMS = {"mean": 0.03, "p99": 0.10}

FITTED_NAME = "fitted.toml"


@dataclass(frozen=True, slots=True)
class ValidatePlan:
    """Options of a validation."""

    device: DiskSpec | None = None
    """Without what is for media; None: the one that is fitted."""
    model: str = EMPIRICAL
    """Of the fitted device."""
    cpus: Sequence[int] = CPUS
    requests: int | None = None
    """Of each cell, in each guest; None: as many as were held out, 100,000 at most."""
    delay: str | None = None
    """Of the medium, as in ``--disk``; None: twice the mean of each cell."""
    run: RunOptions = RunOptions()  # noqa: RUF009 - frozen
    """What else the guests are run with."""


@dataclass(frozen=True, slots=True)
class ValidatedCell:
    """One cell: what was measured, what of it was held out, and what guests were given."""

    cell: Cell
    fitted_ns: IntColumn
    """The first half."""
    held_out_ns: IntColumn
    """The second half, with which everything is compared."""
    drift: Drift
    guests_ns: Mapping[int, IntColumn]
    """By number of CPUs: the guest's requests."""
    distances: Mapping[int, Distance]
    """By number of CPUs: of the guest's requests from the second half."""

    def chance(self, cpus: int) -> float:
        """The standard error of the mean of the guest's requests, as a share of it."""
        return mean_uncertainty(self.guests_ns[cpus])

    def misses(self) -> list[tuple[int, str]]:
        """CPUs and figures that are beyond the aim."""
        return [
            (cpus, figure)
            for cpus, found in self.distances.items()
            for figure, aim in AIMS.items()
            if abs(found.error(figure)) > aim
        ]


@dataclass(frozen=True, slots=True)
class Validation:
    """Result of a validation."""

    device: str
    sources: Sequence[Source]
    cells: Sequence[ValidatedCell]
    left_out: Sequence[str]
    """What was measured and not compared, and why."""
    frozen_host_ns: Mapping[int, int]
    """By number of CPUs: how long guest time stood still for the medium."""
    request_counts: Mapping[int, int]
    clock: ClockKind = ClockKind.EXACT
    """The clock that all guests had."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "device": self.device,
            "clock": self.clock,
            "sources": [source.text for source in self.sources],
            "aims": dict(AIMS),
            "left_out": list(self.left_out),
            "frozen_host_ns": {str(cpus): ns for cpus, ns in self.frozen_host_ns.items()},
            "cells": [
                {
                    "operation": found.cell.operation,
                    "size_bytes": found.cell.size_bytes,
                    "depth": found.cell.depth,
                    "log_against_itself": found.drift.as_dict(),
                    "guest_against_held_out": {
                        str(cpus): {**apart.as_dict(), "mean_uncertainty": found.chance(cpus)}
                        for cpus, apart in found.distances.items()
                    },
                }
                for found in self.cells
            ],
        }


def validate(
    latencies: Latencies,
    sources: Sequence[Source],
    plan: ValidatePlan,
    *,
    out: Path | None = None,
    observer: Observer = lambda step, done, total: None,
) -> Validation:
    """Validate a device against measured latencies; ``out`` keeps the device and the runs.

    Raises:
        InputError: the log has too little, or not in order, or the device is none.
        RunError: a run failed or is not valid.
    """
    cells, left_out = _comparable(sort_into_cells(latencies))
    halves = [split(cell.latency_ns) for cell in cells]
    with ExitStack() as cleanup:
        place = out or Path(
            cleanup.enter_context(tempfile.TemporaryDirectory(prefix="freezingtime-"))
        )
        place.mkdir(parents=True, exist_ok=True)
        first = [cell.with_latencies(a) for cell, (a, _) in zip(cells, halves, strict=True)]
        disk = _disk(plan, first, sources, place)
        counts = [plan.requests or min(len(b), REQUESTS_MAX) for _, b in halves]
        guests = {
            cpus: run_in_guest(
                GuestLoad(disk, cells, counts, plan.delay, cpus, plan.run),
                place / f"run-{cpus}-cpus",
                observer,
            )
            for cpus in plan.cpus
        }
    validated = []
    for number, (cell, (first_ns, held_out_ns)) in enumerate(zip(cells, halves, strict=True)):
        observer(f"comparing {cell.name}", number, len(cells))
        given_ns = {cpus: found.latency_ns[number] for cpus, found in guests.items()}
        apart = {cpus: distance(held_out_ns, found_ns) for cpus, found_ns in given_ns.items()}
        validated.append(ValidatedCell(cell, first_ns, held_out_ns, drift(cell), given_ns, apart))
    return Validation(
        FIT if plan.device is None else plan.device.text,
        sources,
        validated,
        left_out,
        {cpus: found.frozen_host_ns for cpus, found in guests.items()},
        {cpus: found.request_count for cpus, found in guests.items()},
        guests[plan.cpus[0]].clock,
    )


def _comparable(cells: LatencyCells) -> tuple[list[Cell], list[str]]:
    """The cells that can be held out and run in a guest, and why the others cannot."""
    kept, left_out = [], []
    for cell in [*cells.cells, *cells.thin]:
        reason = _reason_not_held_out(cell) or reason_not_comparable(cell)
        if reason is None:
            kept.append(cell)
        else:
            left_out.append(f"{cell.name}: {reason}")
    if not kept:
        reasons = "; ".join(left_out) or "it has no requests"
        raise InputError(f"the log has nothing to compare: {reasons}")
    return kept, left_out


def _reason_not_held_out(cell: Cell) -> str | None:
    count = len(cell.latency_ns)
    if count < 2 * CELL_MIN:
        return f"too few requests: {count}; {2 * CELL_MIN} are needed, half of them held out"
    if not cell.is_ordered:
        return "from a histogram, which has no single requests to hold out"
    return None


def _disk(
    plan: ValidatePlan, first: Sequence[Cell], sources: Sequence[Source], place: Path
) -> Disk:
    """The disk of the device; a fitted one is written to its file."""
    if plan.device is not None:
        return plan.device.given.disk
    cells = LatencyCells(first, [])
    # Unmeasured operations are not run, but a device still needs them.
    missing: dict[OperationClass, OperationClass | int] = {}
    for lacking, other in (
        (OperationClass.READ, OperationClass.WRITE),
        (OperationClass.WRITE, OperationClass.READ),
    ):
        if not cells.of(lacking):
            missing[lacking] = other
    fit_plan = FitPlan(plan.model, missing, summary=f"fitted to half of {sources[0].path.name}")
    require_enough(cells, missing)
    content, _ = fit_content(cells, sources, fit_plan)
    file = place / FITTED_NAME
    file.write_text(device_toml(content))
    return Disk(file)
