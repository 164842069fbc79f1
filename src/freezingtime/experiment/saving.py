"""Saving a machine at the end of a job, and going on from it with the same disks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from freezingtime.errors import InputError
from freezingtime.experiment.disks import OpenDisk, load_changes
from freezingtime.frontend import Frontend
from freezingtime.machine.machine import Machine
from freezingtime.machine.machine_config import MachineConfig
from freezingtime.machine.saved_machine import (
    BaseFile,
    MachineDescription,
    SavedDisk,
    SavedMachine,
    disk_changes_path,
    save_machine,
)
from freezingtime.machine.snapshot import Snapshot
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.spec import DiskSpec, FileSpec
from freezingtime.units import format_size_bytes


def like_saved(specs: Sequence[DiskSpec], saved: SavedMachine) -> list[DiskSpec]:
    """The disks to go on with: their names and sizes are those that were saved.

    Raises:
        InputError: they are not the disks that were saved.
    """
    disks = saved.description.disks
    if len(specs) != len(disks):
        raise InputError(
            f"--from {saved.name}: was saved with {len(disks)} disks, not {len(specs)}; "
            "give as many --disk"
        )
    return [_like_saved(spec, disk, saved) for spec, disk in zip(specs, disks, strict=True)]


def _like_saved(spec: DiskSpec, disk: SavedDisk, saved: SavedMachine) -> DiskSpec:
    about = f"--disk {spec.text}: --from {saved.name}: the disk"
    if spec.name not in (None, disk.name):
        raise InputError(f"{about} was saved as {disk.name}; leave out name=")
    if spec.size_bytes not in (None, disk.size_bytes):
        size = format_size_bytes(disk.size_bytes)
        raise InputError(f"{about} was saved with {size}; leave out size=")
    controller = (disk.frontend, disk.write_cache, disk.queues)
    if (spec.frontend, spec.write_cache, spec.queues) != controller:
        cache = "on" if disk.write_cache else "off"
        raise InputError(
            f"{about} was saved with another controller; "
            f"give frontend={disk.frontend},write-cache={cache},"
            f"queue-depth={disk.queues.depth},queues={disk.queues.count}"
        )
    if (base := _base_file(spec)) != disk.base:
        if disk.base is None:
            raise InputError(f"{about} is all in the snapshot; leave out medium=")
        if base is None:
            raise InputError(f"{about} was saved over a file; give that one with medium=file:PATH")
        raise InputError(f"{about} was saved over a file that differs, or has changed since")
    return dataclasses.replace(spec, name=disk.name, size_bytes=disk.size_bytes)


def require_savable(name: str, specs: Sequence[DiskSpec]) -> None:
    """See to it that QEMU can save the state of the disks' controllers.

    Raises:
        InputError: it cannot.
    """
    for spec in specs:
        if spec.frontend is Frontend.NVME:
            raise InputError(
                f"--disk {spec.text}: --save {name}: QEMU cannot save an nvme controller; "
                "use another frontend"
            )


def _base_file(spec: DiskSpec) -> BaseFile | None:
    if not isinstance(spec.medium, FileSpec):
        return None
    try:
        status = spec.medium.path.stat()
    except OSError as error:
        raise InputError(f"--disk {spec.text}: {error.strerror}; name a readable file") from error
    return BaseFile(status.st_size, status.st_mtime_ns)


def require_fit(saved: SavedMachine, guest: str, memory_bytes: int, key: str | None) -> None:
    """See to it that the machine is the one that was saved; ``key`` identifies it.

    Raises:
        InputError: it is another machine.
    """
    was = saved.description
    if (guest, memory_bytes) != (was.guest, was.memory_bytes):
        raise InputError(
            f"--from {saved.name}: is another machine; "
            f"give --guest {was.guest} --memory {format_size_bytes(was.memory_bytes)}"
        )
    if key != was.machine_key:
        raise InputError(
            f"--from {saved.name}: was saved with another version of freezingtime, of QEMU or of "
            f"the image; save it again after 'freezingtime snapshot remove {saved.name}'"
        )


def load_saved(disks: Sequence[OpenDisk], saved: SavedMachine) -> None:
    """Give the disks the content that was saved.

    Raises:
        RunError: it is damaged, or does not fit where writes go.
    """
    for number, disk in enumerate(disks, start=1):
        load_changes(_layer(disk), saved.disk_changes_path(number))


def save(
    name: str,
    machine: Machine,
    config: MachineConfig,
    saved_ns: int,
    disks: Sequence[OpenDisk],
    root: OpenDisk | None,
) -> None:
    """Save the machine, whose job has ended at the guest time ``saved_ns``, under ``name``.

    Raises:
        RunError: it cannot be written, or the name is no longer free.
    """

    def write_files(snapshot: Snapshot) -> None:
        machine.save(snapshot.state_path)
        for number, disk in enumerate(disks, start=1):
            with disk_changes_path(snapshot.directory, number).open("wb") as file:
                _layer(disk).save_changes(file)
        if root is not None:
            with snapshot.root_changes_path.open("wb") as file:
                _layer(root).save_changes(file)

    saved_disks = tuple(
        SavedDisk(
            disk.plan.name,
            disk.plan.medium.size_bytes,
            _base_file(disk.spec),
            disk.plan.frontend,
            disk.plan.write_cache,
            disk.plan.queues,
        )
        for disk in disks
    )
    description = MachineDescription(
        config.key, config.image.name, config.memory_bytes, saved_ns, saved_disks
    )
    save_machine(name, description, write_files)


def _layer(disk: OpenDisk) -> OverlayMedium:
    if disk.layer is None:
        raise RuntimeError(f"the disk {disk.plan.name} was opened without a layer to save")
    return disk.layer
