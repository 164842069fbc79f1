# SPDX-License-Identifier: GPL-2.0-or-later
"""A gate: a job as it is now beside the run of a baseline, if the two can be compared at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.sweep import (
    Sweep,
    SweepObserver,
    SweepOptions,
    new_sweep,
    run_sweep,
)
from freezingtime.explore.sweep.worker import PointOutcome, Status
from freezingtime.results.compare import RunComparison
from freezingtime.results.plan_difference import PlanDifference
from freezingtime.store.results.result_store import ResultStore
from freezingtime.trace.run_directory import DOCUMENT_NAME

#: Keys of ``run.json``: what runs the job, of which a difference is no change of the job.
_SOFTWARE = (
    *("versions.kernel", "versions.image", "versions.packages."),
    *("versions.qemu", "versions.qemu_sha256", "versions.agent"),
)


def run_candidate(
    request: RunRequest, store: ResultStore, observer: SweepObserver, *, refresh: bool
) -> tuple[Path, bool]:
    """Return the run directory of a job, and whether the store had it.

    Raises:
        InputError: it cannot be run.
        RunError: it failed, or its figures are not valid.
    """
    sweep: Sweep = new_sweep([{}])
    run_sweep(sweep, request, SweepOptions(store=store, refresh=refresh, workers=1), observer)
    outcome: PointOutcome = sweep.outcomes[0]
    if outcome.status is Status.ERROR or outcome.key is None:
        raise RunError(outcome.reason or "the job was not run")
    found = store.find(outcome.key)
    if found is None:
        raise RunError(f"the store {store.root} has lost the result; repeat the command")
    return found.run_path, outcome.is_cached


def software_differences(comparison: RunComparison) -> list[PlanDifference]:
    """Return the differences of what runs the job: packages, kernel, QEMU, agent."""
    return [each for each in comparison.plan if each.key.startswith(_SOFTWARE)]


def require_run_directory(baseline: Path) -> None:
    """Require a baseline to be a run directory, whose versions are known.

    Raises:
        InputError: it is none.
    """
    if (baseline / DOCUMENT_NAME).is_file():
        return
    problem = f"is no run directory: it has no {DOCUMENT_NAME}"
    if not baseline.exists():
        problem = "does not exist"
    raise InputError(f"--baseline {baseline}: {problem}; make one with --update")


def write_baseline(run_path: Path, baseline: Path, unfit: Sequence[str]) -> None:
    """Make a run the baseline; one that is there is replaced, at once.

    Raises:
        InputError: something else is there, or it cannot be written.
        RunError: the run cannot be judged by.
    """
    if unfit:
        raise RunError(f"{unfit[0]}; the baseline stays as it was")
    if baseline.exists() and not (baseline / DOCUMENT_NAME).is_file() and _is_taken(baseline):
        raise InputError(f"--baseline {baseline}: is not empty, and no run directory; name another")
    building, former = (
        baseline.with_name(f".{baseline.name}.{secrets.token_hex(4)}.{what}")
        for what in ("partial", "former")
    )
    try:
        baseline.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(run_path, building)
        if baseline.exists():
            baseline.rename(former)
        try:
            building.rename(baseline)
        except OSError:
            if former.exists():
                former.rename(baseline)
            raise
    except OSError as error:
        raise InputError(
            f"--baseline {baseline}: cannot be written ({error.strerror or error}); name another"
        ) from error
    finally:
        for left in (building, former):
            with suppress(OSError):
                shutil.rmtree(left)


def _is_taken(path: Path) -> bool:
    return not path.is_dir() or any(path.iterdir())
