# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's disks, whose devices' parameters change while it runs as somebody asks for it.

A change is made at an exact guest time and noted as ``--at`` would have it, so that a run with what
was noted is the same run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from freezingtime.device.changes.change import change_text, parse_values
from freezingtime.device.registry import tunable, values_at
from freezingtime.disk.changes import values_of_disks
from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import InputError
from freezingtime.runs.disks import OpenDisk, changing_device
from freezingtime.runs.plan import RunPlan
from freezingtime.units import format_time_ns

#: More of them are a mistake of whoever makes them: each stands in the record and in run.json.
_CHANGES_MAX = 1000
_FORM = "write KEY=VALUE..., such as read=2ms; it counts from now on"


def tunable_plan(plan: RunPlan) -> RunPlan:
    """The plan with its disks' devices made ready for changes."""
    disks = [dataclasses.replace(disk, device=tunable(disk.device)) for disk in plan.disks]
    return dataclasses.replace(plan, disks=disks)


class TunedDisks:
    """The disks, and the changes so far. Used by one thread at a time: the emulator's."""

    def __init__(self, disks: Sequence[OpenDisk]) -> None:
        self._names = [disk.plan.name for disk in disks]
        self._changing = [changing_device(disk) for disk in disks]
        self._start_ns: int | None = None
        #: The disks as they are by now: their changes included, to be run again as they were.
        self.specs: list[DiskSpec] = [disk.spec for disk in disks]
        #: The changes, as `--at` has them.
        self.texts: list[str] = []

    def start(self, now_ns: int) -> None:
        """Count the times of changes from now on: the job starts."""
        self._start_ns = now_ns

    def change(self, pairs: Sequence[str], now_ns: int) -> str:
        """Change parameters at the next nanosecond; before the job, at its start.

        All that happens up to ``now_ns`` has been told to the devices, and nothing later.

        Returns the change as ``--at`` has it.

        Raises:
            InputError: there can be no such change; nothing has been changed.
        """
        if len(self.texts) >= _CHANGES_MAX:
            raise InputError(f"the run has been changed {_CHANGES_MAX} times, and takes no more")
        values = parse_values([each for text in pairs for each in text.split()], _FORM)
        time = format_time_ns(self._next_ns(now_ns))
        of_disks = values_of_disks([spec.as_given for spec in self.specs], values)
        specs = list(self.specs)
        for index, own in of_disks.items():
            specs[index] = specs[index].with_change(change_text(time, own))
            changing = self._changing[index]
            if changing is None:
                raise InputError(f"{self._names[index]}: its device cannot change while it runs")
            changing.check(specs[index].device.changes)
        for index in of_disks:
            if (changing := self._changing[index]) is not None:
                changing.replace_changes(specs[index].device.changes)
        self.specs = specs
        self.texts.append(change_text(time, values))
        return self.texts[-1]

    def values(self, now_ns: int) -> dict[str, dict[str, str]]:
        """Return what can change, by disk and key, with its value from the next nanosecond on."""
        time_ns = self._next_ns(now_ns)
        return {
            name: values_at(spec.device, time_ns)
            for name, spec in zip(self._names, self.specs, strict=True)
        }

    def _next_ns(self, now_ns: int) -> int:
        return 0 if self._start_ns is None else now_ns + 1 - self._start_ns
