# SPDX-License-Identifier: GPL-2.0-or-later
"""Executions of a gate: of a job, or a replay, those that the store has read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.explore.sweep.sweep import (
    Sweep,
    SweepObserver,
    SweepOptions,
    new_sweep,
    run_sweep,
)
from freezingtime.explore.sweep.worker import PointOutcome, Status
from freezingtime.store.results.result_store import ResultStore


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of what is gated."""

    path: Path
    """What opens it: a run directory, or the record of a replay."""
    key: str
    is_cached: bool


def execute_points(
    request: SweepRequest,
    points: Sequence[Point],
    store: ResultStore,
    observer: SweepObserver,
    *,
    refresh: bool = False,
) -> list[Execution]:
    """Return an execution for each point, run if the store has it not, or on ``refresh``.

    Raises:
        InputError: it cannot be run.
        RunError: it failed, or its figures are not valid.
    """
    sweep: Sweep = new_sweep(points)
    # One is run here: another process takes longer to begin.
    workers = 1 if len(points) == 1 else None
    run_sweep(sweep, request, SweepOptions(store=store, refresh=refresh, workers=workers), observer)
    return [
        _execution(request, point, outcome, store)
        for point, outcome in zip(points, sweep.outcomes, strict=True)
    ]


def find_executions(
    request: SweepRequest, points: Sequence[Point], store: ResultStore, keys: Sequence[str]
) -> list[Execution] | None:
    """The executions of known keys, one for each point; None if the store has not all of them."""
    found = [store.find(key) for key in keys]
    return (
        [
            Execution(request.unit(point).record_path(result.run_path), result.key, is_cached=True)
            for point, result in zip(points, found, strict=True)
            if result is not None
        ]
        if None not in found
        else None
    )


def _execution(
    request: SweepRequest, point: Point, outcome: PointOutcome, store: ResultStore
) -> Execution:
    if outcome.status in (Status.ERROR, Status.NOT_RUN) or outcome.key is None:
        raise RunError(outcome.reason or "the job was not run")
    found = store.find(outcome.key)
    if found is None:
        raise RunError(f"the store {store.root} has lost the result; repeat the command")
    path = request.unit(point).record_path(found.run_path)
    return Execution(path, outcome.key, outcome.is_cached)
