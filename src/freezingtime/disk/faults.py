# SPDX-License-Identifier: GPL-2.0-or-later
"""The option ``--fault``: rules by which devices fail, of a run's disks and of a replay."""

from __future__ import annotations

import re
from collections.abc import Sequence

from freezingtime.device.faults.rule import FaultTable
from freezingtime.device.faults.rule_text import parse_rule
from freezingtime.disk.disk import Disk, with_fault
from freezingtime.disk.spec import read_option
from freezingtime.errors import InputError, about, did_you_mean

_OF_DISK = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*):(.*)", re.DOTALL)


def with_faults(disks: Sequence[Disk | str], faults: Sequence[str]) -> list[Disk | str]:
    """The disks with the rules of ``--fault``, each ``[DISK:]RULE``.

    Raises:
        InputError: a rule is not right, or of no disk.
    """
    changed = list(disks)
    for text in faults:
        place = f"--fault {text}"
        found = _OF_DISK.fullmatch(text)
        rule = text if found is None else found[2]
        with about(f"{place}: "):
            content = parse_rule(rule)
            index = disk_index(changed, None if found is None else found[1], "{name}:RULE")
        FaultTable(content, place).given()
        changed[index] = with_fault(changed[index], rule)
    return changed


def with_faults_of_each(devices: Sequence[Disk | str], faults: Sequence[str]) -> list[Disk | str]:
    """The devices of a replay with the rules of ``--fault``, which are for each of them.

    Raises:
        InputError: a rule is not right.
    """
    changed = list(devices)
    for text in faults:
        place = f"--fault {text}"
        with about(f"{place}: "):
            content = parse_rule(text)
        FaultTable(content, place).given()
        changed = [with_fault(device, text) for device in changed]
    return changed


def disk_index(disks: Sequence[Disk | str], name: str | None, form: str) -> int:
    """Return the place of the disk of that name; None: of the only one.

    ``form``: how the user names one, with ``{name}``.

    Raises:
        InputError: there is no such disk, or there are several.
    """
    if not disks:
        raise InputError("there is no disk; add --disk")
    names = disk_names(disks)
    if name is None and len(disks) > 1:
        raise InputError(
            f"say of which disk, such as {form.format(name=names[0])}; there are {', '.join(names)}"
        )
    if name is not None and name not in names:
        hint = did_you_mean(name, names)
        raise InputError(f"there is no disk {name!r}; {hint}available: {', '.join(names)}")
    return 0 if name is None else names.index(name)


def disk_names(disks: Sequence[Disk | str]) -> list[str]:
    """Return the names of the disks."""
    return [_name(disk) or f"disk{number}" for number, disk in enumerate(disks, start=1)]


def _name(disk: Disk | str) -> str | None:
    with about("--disk: "):
        return (read_option(disk) if isinstance(disk, str) else disk).name
