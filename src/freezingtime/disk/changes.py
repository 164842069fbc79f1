# SPDX-License-Identifier: GPL-2.0-or-later
"""The option ``--at``: changes of devices while they run, of a run's disks and of a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freezingtime.device.changes.change import change_text, parse_change
from freezingtime.disk.disk import Disk, with_change
from freezingtime.disk.faults import disk_index, disk_names
from freezingtime.errors import InputError, about, did_you_mean


def with_changes(disks: Sequence[Disk | str], changes: Sequence[str]) -> list[Disk | str]:
    """The disks with the changes of ``--at``, each ``TIME [DISK.]KEY=VALUE...``.

    Raises:
        InputError: a change is none, or of no disk.
    """
    changed = list(disks)
    for text in changes:
        with about(f"--at {text}: "):
            time, values = parse_change(text)
            of_disks = values_of_disks(changed, values)
        for index, own in of_disks.items():
            changed[index] = with_change(changed[index], change_text(time, own))
    return changed


def values_of_disks(
    disks: Sequence[Disk | str], values: Mapping[str, object]
) -> dict[int, dict[str, object]]:
    """Return the values by their disks, which are named before each if there are several.

    Raises:
        InputError: one is of no disk.
    """
    names = disk_names(disks)
    of_disks: dict[int, dict[str, object]] = {}
    for path, value in values.items():
        first, dot, rest = path.partition(".")
        is_named = bool(dot) and first in names
        if dot and not is_named and len(names) > 1 and (hint := did_you_mean(first, names)):
            raise InputError(
                f"{path}: there is no disk {first!r}; {hint}available: {', '.join(names)}"
            )
        index = disk_index(disks, first if is_named else None, "{name}.KEY=VALUE")
        of_disks.setdefault(index, {})[rest if is_named else path] = value
    return of_disks


def with_changes_of_each(devices: Sequence[Disk | str], changes: Sequence[str]) -> list[Disk | str]:
    """The devices of a replay with the changes of ``--at``, which are for each of them.

    Raises:
        InputError: a change is none.
    """
    changed = list(devices)
    for text in changes:
        with about(f"--at {text}: "):
            parse_change(text)
        changed = [with_change(device, text) for device in changed]
    return changed
