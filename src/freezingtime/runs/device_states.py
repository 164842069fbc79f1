# SPDX-License-Identifier: GPL-2.0-or-later
"""States of devices beside the machine that is saved, and devices that go on from them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from freezingtime.device.contract import GuardedDevice
from freezingtime.device.kept.saved_device import OtherDeviceError, is_of, load_device, save_device
from freezingtime.device.kept.state import NotKeptError, StateError
from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import RunError
from freezingtime.runs.disks import OpenDisk
from freezingtime.store.saved_machine import SavedMachine, device_state_path
from freezingtime.vm.machine import Machine

#: The number of the root disk's state; the user's disks count from 1.
_ROOT_NUMBER = 0

_log = logging.getLogger(__name__)


def save_device_states(
    directory: Path, machine: Machine, disks: Sequence[OpenDisk], root: OpenDisk | None
) -> None:
    """Write the states of the devices of a machine, which is stopped.

    A device that does not say what its state is leaves none, which is said.

    Raises:
        RunError: a device failed at that.
        OSError: one cannot be written.
    """
    indices = list(range(1, len(disks) + 1))
    numbered = list(zip(indices, indices, disks, strict=True))
    if root is not None and not root.plan.internal:
        numbered.append((_ROOT_NUMBER, len(disks) + 1, root))
    for number, disk_index, disk in numbered:
        guarded = machine.guarded_device(disk_index)
        size_bytes = disk.plan.medium.size_bytes
        path = device_state_path(directory, number)
        try:
            save_device(path, guarded, disk.spec.device, size_bytes)
        except NotKeptError as error:
            _log.warning(
                "disk %s: its device's state is not saved (%s); what starts from it finds the "
                "device as described",
                *(disk.plan.name, error),
            )


def has_saved_state(saved: SavedMachine, number: int, spec: DiskSpec, size_bytes: int) -> bool:
    """Return whether a snapshot has the state of the device of a disk of that number.

    Raises:
        RunError: it cannot be read.
    """
    path = saved.device_state_path(number)
    try:
        return path.exists() and is_of(path, spec.device, size_bytes)
    except OSError as error:
        raise RunError(f"the snapshot {saved.name} cannot be read: {error}") from error


def with_saved_state(disk: OpenDisk, saved: SavedMachine, number: int, seed: int) -> OpenDisk:
    """Return the disk with its device as it was saved, if it is the same device.

    Else it is as described, which is said if there was something to go on from.

    Raises:
        InputError: the device cannot be made again.
        RunError: it failed at loading.
    """
    path = saved.device_state_path(number)
    if not path.exists():
        return disk  # an older version saved it, or the device keeps no state
    device, size_bytes = disk.spec.device, disk.plan.medium.size_bytes
    guarded = GuardedDevice(disk.plan.device, disk.plan.name)
    try:
        orphans = load_device(path, guarded, device, size_bytes)
    except OSError as error:
        raise RunError(f"the snapshot {saved.name} cannot be read: {error}") from error
    except StateError as error:
        _log.warning(
            "disk %s: its device starts as described: the state in the snapshot %s %s",
            *(disk.plan.name, saved.name, error),
        )
        if not isinstance(error, OtherDeviceError):  # it may have been loaded in part
            new = device.build(seed, size_bytes)
            return dataclasses.replace(disk, plan=dataclasses.replace(disk.plan, device=new))
        return disk
    return dataclasses.replace(disk, plan=dataclasses.replace(disk.plan, orphans=orphans))


def with_saved_states(disks: Sequence[OpenDisk], saved: SavedMachine, seed: int) -> list[OpenDisk]:
    """Return the user's disks with their devices as they were saved; see above."""
    return [
        with_saved_state(disk, saved, number, seed + number - 1)
        for number, disk in enumerate(disks, start=1)
    ]


def root_with_saved_state(
    root: OpenDisk | None, saved: SavedMachine | None, seed: int
) -> OpenDisk | None:
    """Return the root disk with its device as it was saved, if that was one of the user's."""
    if root is None or saved is None or root.plan.internal:
        return root
    return with_saved_state(root, saved, _ROOT_NUMBER, seed)
