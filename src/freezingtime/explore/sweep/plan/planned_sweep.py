# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans of sweeps for Python: the file that the command takes, or its content as a dict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezingtime.errors import InputError
from freezingtime.explore.sweep.plan.read_plan import SweepPlan, plan_of, read_plan
from freezingtime.explore.sweep.values import VariedKey
from freezingtime.option import FilePath

_WORK = ("job", "workload", "trace")


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """Arguments of a call with those that its plan adds."""

    changes: Mapping[str, Any]
    """Arguments, by their names."""
    varied: Sequence[VariedKey]
    metrics: Sequence[str] = ()
    name: str = ""
    """As messages call it; empty: there is none."""


def planned_sweep(
    plan: FilePath | Mapping[str, Any] | None, given: Set[str], own: Sequence[VariedKey]
) -> PlannedSweep:
    """Return what a plan says that was not ``given``, as the command line takes it.

    What is run is taken as a whole; of what is varied, key by key: ``own`` are those of the call.

    Raises:
        InputError: the plan is not right; the text names its key.
    """
    if plan is None:
        return PlannedSweep({}, own)
    if not isinstance(plan, str | os.PathLike | Mapping):
        raise InputError(f"plan: {plan!r} is no plan; give the path of its file, or its content")
    is_content = isinstance(plan, Mapping)
    name = "plan" if is_content else str(plan)
    read = plan_of(plan, name) if isinstance(plan, Mapping) else read_plan(Path(plan))
    changes = dict(_changes(read, given))
    mine = {key.name: key for key in own}
    varied = [mine.pop(key.name, key) for key in read.varied]
    return PlannedSweep(changes, [*varied, *mine.values()], read.file.metrics, f"{name}: ")


def _changes(plan: SweepPlan, given: Set[str]) -> Mapping[str, Any]:
    file = plan.file
    found: dict[str, Any] = {**plan.replays, **plan.runs}
    if not given & {*_WORK}:
        trace = None if file.trace is None else Path(file.trace)
        found |= {"job": _job_of(plan), "workload": file.workload, "trace": trace}
    if file.prepare is not None:
        found["prepare"] = Path(file.prepare)
    found |= {"zip": file.zipped, "sample": file.sample}
    return {name: value for name, value in found.items() if name not in given}


def _job_of(plan: SweepPlan) -> str | list[str] | Path | None:
    file = plan.file
    if file.command is not None:
        [first, *others] = file.command
        is_line = not others and len(first.split()) > 1
        return first if is_line else list(file.command)
    path = file.script or file.job
    return None if path is None else Path(path)
