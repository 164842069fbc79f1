# SPDX-License-Identifier: GPL-2.0-or-later
"""Varied keys of a sweep, and the unit of each point: options, with the point's values in place.

=====================  =================================================================
``disk``, ``disk2``    the device of a disk, with further keys of ``--disk`` if need be
``disk.KEY``           a key of ``--disk``, or a parameter of the device by its path
``workload``           the whole line
``workload.KEY``       a key of the line, or its ``pattern``
``env.NAME``           a variable of the job's environment
``OPTION``             any other option of ``run`` or ``replay``; one that is repeatable: once
=====================  =================================================================
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from freezingtime.device.toml.changed import is_parameter, read_value
from freezingtime.disk.disk import DISK_KEYS, MEDIUM, PARAMETERS, REPEATED, Disk, field_of
from freezingtime.disk.spec import read_option
from freezingtime.errors import InputError, about, did_you_mean
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.replay_unit import ReplayUnit
from freezingtime.explore.sweep.unit import SweepUnit
from freezingtime.option import DeclaredOption, flag_of, list_options
from freezingtime.simulate.options import ReplayOptions, trace_source, workload_source
from freezingtime.simulate.replay import TraceSource, read_source
from freezingtime.trace.readers import OnReading

_DISK = re.compile(r"disk([1-9][0-9]?)?(?:\.(.+))?", re.DOTALL)
#: Options of a run that a replay has, too.
OF_REPLAYS = ("disks", "seed")

#: Options of which a part is varied: ``disk.KEY``, ``env.NAME``.
_NOT_WHOLE = ("disks", "env")
_WORKLOAD, _PATTERN, _SEED = "workload", "pattern", "seed"


class SweepRequest(ABC):
    """The fixed part of a sweep: all but what its points vary."""

    @abstractmethod
    def unit(self, point: Point) -> SweepUnit:
        """The unit of a point.

        Raises:
            InputError: a key is none that can be varied, or a value is not possible.
        """

    def preview(  # noqa: B027 -- most have nothing to read
        self, point: Point, notify: Callable[[str], None], on_reading: OnReading
    ) -> None:
        """Read what all points read once here, so that the user is told how it is read."""

    def unit_bytes(self, unit: SweepUnit) -> int:
        """Return the memory that a unit takes beside its process's."""
        return 0

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what stays the same, for the sweep's own file."""


@dataclass(frozen=True)
class ReplayRequest(SweepRequest):
    """Replays, each on one device."""

    disks: Sequence[Disk | str]
    """One, unless each point names it."""
    workload: str | None
    trace: Path | None
    options: ReplayOptions
    seed: int = 0

    def unit(self, point: Point) -> ReplayUnit:
        """The replay of a point."""
        disks = disks_of_point(self.disks, point)
        if len(disks) != 1:
            raise InputError(
                "--disk: name one device; a replay has one (a sweep varies it with "
                "--set disk=choice(...))"
            )
        options: dict[str, Any] = {}
        workload, seed = self.workload, self.seed
        for key, value in point.items():
            if is_disk_key(key):
                continue
            if key == _WORKLOAD:
                workload = value
            elif key.startswith(f"{_WORKLOAD}."):
                if workload is None:
                    raise InputError(f"--set {key}: there is no workload; give --workload LINE")
                workload = _with_workload_key(workload, key.partition(".")[2], value)
            elif key == _SEED:
                seed = whole_number(key, value)
            else:
                name, option = find_option(ReplayOptions, key, (_WORKLOAD, _SEED, "disk"))
                options[name] = option_value(key, option, value)
        changed = replace(self.options, **options)
        if (workload is None) == (self.trace is None):
            raise InputError("give either --trace FILE or --workload LINE, not both")
        source = (
            trace_source(self.trace, changed)
            if workload is None and self.trace is not None
            else workload_source(workload or "", changed)
        )
        return ReplayUnit(source, disks[0].spec, seed)

    def preview(self, point: Point, notify: Callable[[str], None], on_reading: OnReading) -> None:
        """Read the trace of a point; that it cannot be read is the points' own outcome."""
        with suppress(InputError):
            source = self.unit(point).source
            if isinstance(source, TraceSource):
                read_source(source, lambda done, total: None, notify, on_reading)

    def describe(self) -> dict[str, Any]:
        """The options."""
        options = {name: getattr(self.options, name) for name in list_options(ReplayOptions)}
        return {
            "kind": "replay",
            "disks": [disk if isinstance(disk, str) else disk.spec for disk in self.disks],
            "workload": self.workload,
            "trace": self.trace and str(self.trace),
            **{name: value and str(value) for name, value in options.items()},
            "seed": self.seed,
        }


def is_disk_key(key: str) -> bool:
    """Whether a key is of a disk."""
    return _DISK.fullmatch(key) is not None


def disks_of_point(disks: Sequence[Disk | str], point: Point) -> list[Disk]:
    """The disks of a point: devices first, then what is changed of them.

    Raises:
        InputError: there is no such disk or key.
    """
    found: list[Disk | None] = []
    for disk in disks:
        with about(f"--disk {disk}: "):
            found.append(read_option(disk) if isinstance(disk, str) else disk)
    for is_key in (False, True):
        for name, value in point.items():
            match = _DISK.fullmatch(name)
            if match is None or (match[2] is not None) != is_key:
                continue
            index = int(match[1] or 1) - 1
            if index == len(found) and not is_key:
                found.append(None)
            if index >= len(found):
                raise InputError(f"--set {name}: there is no disk {index + 1}; add --disk")
            with about(f"--set {name}={value}: "):
                found[index] = _changed_disk(found[index], match[2], value)
    return [disk for disk in found if disk is not None]


def _changed_disk(disk: Disk | None, key: str | None, value: str) -> Disk:
    if key is None:
        said = read_option(value)
        if disk is None:
            return said
        # The keys of the disk stay, but not what belonged to its device.
        given = said.given_values().items()
        own: dict[str, Any] = {name: each for name, each in given if name != PARAMETERS}
        return replace(disk, device=said.device, parameters=said.parameters, **own)
    if disk is None:
        raise InputError("there is no disk yet; add --disk")
    if is_parameter(key) or key not in DISK_KEYS:
        path = key if is_parameter(key) else f"{PARAMETERS}.{key}"
        return replace(disk, parameters={**(disk.parameters or {}), path: read_value(value)})
    if key == MEDIUM:
        return replace(disk, file=read_option(f"constant:0,{MEDIUM}={value}").file)
    changes: dict[str, Any] = {field_of(key): (value,) if key in REPEATED else value}
    return replace(disk, **changes)


def _with_workload_key(line: str, key: str, value: str) -> str:
    pattern, *fields = line.split(",")
    if key == _PATTERN:
        return ",".join([value, *fields])
    said = f"{key}={value}"
    names = [each.partition("=")[0] for each in fields]
    if key in names:
        fields[names.index(key)] = said
    else:
        fields.append(said)
    return ",".join([pattern, *fields])


def find_option(options: type[Any], key: str, others: Sequence[str]) -> tuple[str, DeclaredOption]:
    """The field of an option that is varied by the name that the command line has for it.

    Raises:
        InputError: there is none.
    """
    known = {
        flag_of(name, option.declared).removeprefix("--"): (name, option)
        for name, option in list_options(options).items()
        if name not in _NOT_WHOLE and isinstance(option.default, str | int | tuple | None)
    }
    if key not in known:
        names = [*others, *known]
        raise InputError(
            f"--set {key}: is nothing that can be varied; {did_you_mean(key, names)}"
            f"available: {', '.join(names)}"
        )
    return known[key]


def option_value(key: str, option: DeclaredOption, value: str) -> object:
    """A value of an option, from its text.

    Raises:
        InputError: it is none.
    """
    kinds = get_args(option.kind) or (option.kind,)
    if isinstance(option.default, tuple):
        return (value,)
    if bool in kinds:
        if value not in ("yes", "no"):
            raise InputError(f"--set {key}={value}: write yes or no")
        return value == "yes"
    return value if str in kinds or Path in kinds else whole_number(key, value)


def whole_number(key: str, value: str) -> int:
    """A number, from its text.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch("[0-9]{1,18}", value):
        raise InputError(f"--set {key}={value}: must be a whole number")
    return int(value)
