# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks of a run, from what the user wrote to device and medium."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freezingtime.device.changes.changing_device import ChangingDevice
from freezingtime.disk.media import open_layered, open_medium
from freezingtime.disk.spec import DiskSpec, parse_disk
from freezingtime.errors import InputError, RunError, about
from freezingtime.medium.base import Medium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.vm.qemu.command import DISKS_MAX
from freezingtime.vm.qemu.frontends import require_possible
from freezingtime.vm.service import DiskPlan

if TYPE_CHECKING:
    from freezingtime.device.faults.faulty_device import FaultyDevice

_log = logging.getLogger(__name__)

NO_TIME = parse_disk("constant:0")


@dataclass(frozen=True, slots=True)
class OpenDisk:
    """A disk that is open, and what it was opened from."""

    plan: DiskPlan
    spec: DiskSpec
    layer: OverlayMedium | None = None
    """Overlay with all changes to the medium, if these are saved or were loaded."""


def open_disks(
    specs: Sequence[DiskSpec],
    seed: int,
    taken_names: Sequence[str],
    *,
    kept: bool,
    cleanup: contextlib.ExitStack,
    goes_on: Callable[[int, DiskSpec, int], bool] = lambda number, spec, size_bytes: False,
) -> list[OpenDisk]:
    """Open the user's disks; ``cleanup`` will close them.

    With ``kept``, each has a layer whose changes can be saved and loaded. ``goes_on`` returns
    whether the device of a disk, counted from 1 and of that size, is about to go on from a saved
    state.

    Raises:
        InputError: a disk cannot be opened, or there are too many, or two of one name.
    """
    if len(specs) > DISKS_MAX:
        raise InputError(f"--disk: {len(specs)} disks; a machine takes at most {DISKS_MAX}")
    names = [spec.name or f"disk{number}" for number, spec in enumerate(specs, start=1)]
    taken = [*names, *taken_names]
    if len(set(taken)) < len(taken):
        raise InputError(f"--disk: duplicate disk name: {', '.join(taken)}; use name=NAME")
    scratch = Path(tempfile.gettempdir())
    disks = []
    for number, (name, spec) in enumerate(zip(names, specs, strict=True)):
        if kept:
            medium, layer = open_layered(spec, scratch)
        else:
            medium, layer = open_medium(spec, scratch), None
        cleanup.callback(medium.close)
        # A seed for each disk: two equal disks must not draw the same numbers.
        has_state = goes_on(number + 1, spec, medium.size_bytes)
        device = spec.device.build(seed + number, medium.size_bytes, with_history=not has_state)
        with about(spec.given.place):
            require_possible(spec.frontend, spec.traits)
        plan = DiskPlan(
            *(name, device, medium, spec.frontend, spec.write_cache, spec.queues, spec.traits),
            may_fail=bool(spec.device.faults),
            disappears=spec.device.disappears,
        )
        disks.append(OpenDisk(plan, spec, layer))
    return disks


def faulty_devices(disks: Iterable[OpenDisk]) -> dict[str, FaultyDevice]:
    """The devices that fail, by the names of their disks."""
    faulty = [disk for disk in disks if disk.plan.may_fail]
    if not faulty:
        return {}
    from freezingtime.device.faults.faulty_device import FaultyDevice

    return {
        disk.plan.name: disk.plan.device
        for disk in faulty
        if isinstance(disk.plan.device, FaultyDevice)
    }


def devices_of_job(disks: Iterable[OpenDisk]) -> list[FaultyDevice | ChangingDevice]:
    """The devices that wait for the job's start: those that fail, and those that change."""
    waiting = [disk for disk in disks if disk.plan.may_fail or _changes(disk)]
    if not waiting:
        return []
    from freezingtime.device.faults.faulty_device import FaultyDevice

    return [
        disk.plan.device
        for disk in waiting
        if isinstance(disk.plan.device, FaultyDevice | ChangingDevice)
    ]


def changing_device(disk: OpenDisk) -> ChangingDevice | None:
    """Return what changes the parameters of a disk's device; None: nothing does."""
    device = faulty_devices([disk]).get(disk.plan.name)
    inner = disk.plan.device if device is None else device.inner
    return inner if isinstance(inner, ChangingDevice) else None


def _changes(disk: OpenDisk) -> bool:
    return bool(disk.spec.device.changes) or disk.spec.device.is_tunable


def check_displacement(medium: Medium, *, written: bool) -> None:
    """Warn if a medium's file was moved or removed while in use. Call before it is closed.

    ``written``: the writes are in that file, and nowhere else.

    Raises:
        RunError: it is lost.
    """
    what = medium.displacement()
    if what is None:
        return
    if written:
        raise RunError(f"{what}: the writes to it are lost; repeat them")
    _log.warning("%s: reads saw the old file", what)


def load_changes(layer: OverlayMedium, path: Path) -> None:
    """Make the changes that a snapshot's file holds.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            layer.load_changes(file)
    except (OSError, ValueError) as error:
        raise RunError(f"the snapshot in {path.parent} is damaged ({error}): remove it") from error
