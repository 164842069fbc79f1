# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep as it is asked for: by the command line, and by a plan where that says nothing."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from freezingtime.errors import InputError
from freezingtime.runs.options import RunOptions
from freezingtime.simulate.options import ReplayOptions

if TYPE_CHECKING:
    from freezingtime.explore.sweep.plan.read_plan import SweepPlan
    from freezingtime.explore.sweep.values import VariedKey

PLAN_SUFFIX = ".toml"
_WORK = ("command", "script", "job", "workload", "trace")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSweep:
    """A sweep: its job or load, and its varied keys."""

    command: Sequence[str]
    script: Path | None
    job: Path | None
    workload: str | None
    trace: Path | None
    varied: Sequence[VariedKey]
    zipped: Sequence[str]
    sample: str | None
    options: RunOptions
    replays: ReplayOptions
    prepare: Path | None = None
    metrics: Sequence[str] = ()
    """Figures of the table that is printed, and of the report; none: the usual ones."""


def take_plan(asked: AskedSweep, plan: SweepPlan, given: Set[str]) -> AskedSweep:
    """Take from a plan what was not ``given`` on the command line, by its parameters' names.

    What is run is taken as a whole; of what is varied, key by key.
    """
    file = plan.file
    changes: dict[str, Any] = {}
    if not given & {*_WORK}:
        changes = {
            "command": file.command or (),
            "script": None if file.script is None else Path(file.script),
            "job": None if file.job is None else Path(file.job),
            "workload": file.workload,
            "trace": None if file.trace is None else Path(file.trace),
        }
    own = {key.name: key for key in asked.varied}
    varied = [own.pop(key.name, key) for key in plan.varied]
    if "zip_keys" not in given:
        changes["zipped"] = [",".join(names) for names in file.zipped]
    if "sample" not in given:
        changes["sample"] = file.sample
    if "prepare" not in given and file.prepare is not None:
        changes["prepare"] = Path(file.prepare)
    runs, replays = (
        {name: value for name, value in options.items() if name not in given}
        for options in (plan.runs, plan.replays)
    )
    return replace(
        asked,
        varied=[*varied, *own.values()],
        options=replace(asked.options, **runs),
        replays=replace(asked.replays, **replays),
        metrics=file.metrics,
        **changes,
    )


def refuse_late_plan(command: Sequence[str]) -> None:
    """Refuse a plan that would be taken for the COMMAND, since it is not the first argument.

    Raises:
        InputError: there is one.
    """
    if command and command[0].endswith(PLAN_SUFFIX) and Path(command[0]).is_file():
        raise InputError(
            f"{command[0]}: a plan is the first argument, before all options, or stands behind "
            "--plan; give one plan"
        )


class PlanFirst(TyperCommand):
    """A command whose first argument may be a plan: it is one if it is called so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with ``--plan`` before a plan."""
        is_plan = bool(args) and args[0].endswith(PLAN_SUFFIX) and not args[0].startswith("-")
        return super().parse_args(ctx, ["--plan", *args] if is_plan else args)
