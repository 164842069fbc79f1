# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixed part of a sweep of runs in a guest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError, about
from freezingtime.explore.sweep.names import JOBS, NOT_VARIED
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.request import (
    SweepRequest,
    disks_of_point,
    find_option,
    is_disk_key,
    option_value,
)
from freezingtime.explore.sweep.run_unit import RunUnit
from freezingtime.explore.sweep.unit import SweepUnit
from freezingtime.option import list_options
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command, file_script
from freezingtime.trace.readers import OnReading
from freezingtime.vm.job import directory_script

_ENVIRONMENT = "env."


@dataclass(frozen=True)
class RunRequest(SweepRequest):
    """Runs of one job."""

    options: RunOptions
    job: bytes | Command
    job_directory: Path | None = None
    prepare: Path | None = None
    """The script, or the directory, of a job that is run once; all points go on from there."""

    @cached_property
    def _preparing(self) -> RunUnit | None:
        """The run that prepares, on the disks and with the options that no point has changed."""
        if self.prepare is None:
            return None
        with about("--prepare: "):
            if self.prepare.is_dir():
                return RunUnit(self.options, directory_script(self.prepare), self.prepare)
            return RunUnit(self.options, file_script(self.prepare, "it"))

    def preview(self, point: Point, notify: Callable[[str], None], on_reading: OnReading) -> None:
        """Prepare the machine here, if it is not there yet; the user is told so."""
        if self._preparing is not None:
            notify(f"preparing a machine with {self.prepare}, unless that was done before")
            self._preparing.prepared()

    def unit(self, point: Point) -> RunUnit:
        """The run of a point."""
        changes: dict[str, Any] = {}
        job, directory = self.job, self.job_directory
        environment = dict(text.partition("=")[::2] for text in self.options.env)
        for key, value in point.items():
            if is_disk_key(key):
                continue
            if key in JOBS:
                job, directory = _job(key, value)
                continue
            if key.startswith(_ENVIRONMENT):
                environment[key.removeprefix(_ENVIRONMENT)] = value
                continue
            name, option = find_option(RunOptions, key, ("disk", f"{_ENVIRONMENT}NAME", *JOBS))
            if name in NOT_VARIED:
                raise InputError(f"--set {key}: cannot be varied; a sweep keeps the results itself")
            changes[name] = option_value(key, option, value)
        disks = [disk.spec for disk in disks_of_point(self.options.disks, point)]
        env = [f"{name}={value}" for name, value in environment.items()]
        options = replace(self.options, disks=disks, env=env, **changes)
        return RunUnit(options, job, directory, self._preparing)

    def unit_bytes(self, unit: SweepUnit) -> int:
        """Return the memory of the unit's guest."""
        return unit.plan().memory_bytes if isinstance(unit, RunUnit) else 0

    def describe(self) -> dict[str, Any]:
        """The options, and the job."""
        options = {name: _plain(getattr(self.options, name)) for name in list_options(RunOptions)}
        job = (
            [*self.job.words, self.job.line]
            if isinstance(self.job, Command)
            else hashlib.sha256(self.job).hexdigest()
        )
        directory = self.job_directory and str(self.job_directory)
        prepare = {} if self.prepare is None else {"prepare": str(self.prepare)}
        return {"kind": "run", **options, "job": job, "job_directory": directory, **prepare}


def _job(key: str, value: str) -> tuple[bytes | Command, Path | None]:
    """The script of a job that is varied, and the directory that goes with it."""
    with about(f"--set {key}={value}: "):
        if key == "job":
            return directory_script(Path(value)), Path(value)
        if key == "script":
            return file_script(Path(value)), None
        return Command(line=value), None


def _plain(value: object) -> object:
    """The value of an option as JSON has it."""
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Sequence):
        return [each.spec if isinstance(each, Disk) else str(each) for each in value]
    return str(value)
