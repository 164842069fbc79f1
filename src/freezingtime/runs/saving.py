# SPDX-License-Identifier: GPL-2.0-or-later
"""Saving a machine at the end of a job, and going on from it with the same disks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend
from freezingtime.images.check import is_sound
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import (
    GuestImage,
    find_image_by_id,
    list_images,
)
from freezingtime.images.mini.name import mini_suite
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.runs.device_states import save_device_states
from freezingtime.runs.disks import OpenDisk, load_changes
from freezingtime.runs.guest import ready_image
from freezingtime.runs.own.system import OwnSystem
from freezingtime.store.saved_machine import (
    BaseFile,
    MachineDescription,
    SavedDisk,
    SavedMachine,
    disk_changes_path,
    save_machine,
)
from freezingtime.store.snapshot import Snapshot
from freezingtime.units import format_size_bytes
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.machine import Machine


def matching_saved(specs: Sequence[DiskSpec], saved: SavedMachine) -> list[DiskSpec]:
    """Return the disks with the names and sizes of the saved ones.

    Raises:
        InputError: they are not the disks that were saved.
    """
    disks = saved.description.disks
    if len(specs) != len(disks):
        raise InputError(
            f"--from {saved.name}: was saved with {len(disks)} disks, not {len(specs)}; "
            "give as many --disk"
        )
    return [_matching_saved(spec, disk, saved) for spec, disk in zip(specs, disks, strict=True)]


def _matching_saved(spec: DiskSpec, disk: SavedDisk, saved: SavedMachine) -> DiskSpec:
    given = spec.given
    about = f"{given.shown}: --from {saved.name}: the disk"
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
            f"give frontend={disk.frontend}, {given.key('write_cache')}={cache}, "
            f"{given.key('queue_depth')}={disk.queues.depth}, queues={disk.queues.count}"
        )
    if (base := _base_file(spec)) != disk.base:
        if disk.base is None:
            raise InputError(f"{about} is all in the snapshot; leave out {given.key('file')}=")
        if base is None:
            raise InputError(f"{about} was saved over a file; give that one as {given.file_form}")
        raise InputError(f"{about} was saved over a different file, or one that has changed since")
    if spec.overrides.applied_to(disk.traits) != disk.traits:
        raise InputError(
            f"{about} has the block sizes it was saved with; "
            f"leave out {given.key('block_size')}= and rotational="
        )
    return dataclasses.replace(spec, name=disk.name, size_bytes=disk.size_bytes, traits=disk.traits)


def can_be_saved(specs: Sequence[DiskSpec]) -> bool:
    """Whether QEMU can save the state of the disks' controllers."""
    return all(spec.frontend is not Frontend.NVME for spec in specs)


def require_savable(name: str, specs: Sequence[DiskSpec]) -> None:
    """Require that QEMU can save the state of the disks' controllers.

    Raises:
        InputError: it cannot.
    """
    for spec in specs:
        if not can_be_saved([spec]):
            raise InputError(
                f"{spec.given.shown}: --save {name}: QEMU cannot save an nvme controller; "
                "use another frontend"
            )


def _base_file(spec: DiskSpec) -> BaseFile | None:
    if spec.file is None:
        return None
    try:
        status = spec.file.stat()
    except OSError as error:
        raise InputError(f"{spec.given.shown}: {error.strerror}; name a readable file") from error
    return BaseFile(status.st_size, status.st_mtime_ns)


def require_options_fit(
    saved: SavedMachine,
    guest: str,
    named_by: str,
    memory_bytes: int,
    cpu_count: int,
    cpu_model: str,
) -> None:
    """Require that the options match the saved machine.

    ``guest`` is the name of its image, ``named_by`` what was given as ``--guest``.

    Raises:
        InputError: one asks for another; it is named.
    """
    was, machine = saved.description, saved.description.machine
    memory, memory_was = map(format_size_bytes, (memory_bytes, machine.memory_bytes))
    options = (
        ("--guest", named_by, guest == was.guest, was.guest),
        ("--memory", memory, memory == memory_was, memory_was),
        ("--cpus", cpu_count, cpu_count == machine.cpu_count, machine.cpu_count),
        ("--cpu-model", cpu_model, cpu_model == machine.cpu_model, machine.cpu_model),
    )
    for option, value, fits, value_was in options:
        if not fits:
            raise InputError(
                f"{option} {value}: --from {saved.name}: was saved with {option} {value_was}, "
                f"which it keeps; leave out {option}"
            )


def saved_image(saved: SavedMachine, system: OwnSystem | None, progress: Progress) -> GuestImage:
    """Return the saved image; ``system`` are the files it was made from, if given.

    Raises:
        InputError: the image is no longer there, or damaged, or the files have changed since.
    """
    was = saved.description
    image_id = was.machine.image_id
    image = _sound_image(image_id)
    if image is None and mini_suite(was.guest) is not None:
        ready_image(was.guest, progress)  # same packages, same image
        image = _sound_image(image_id)
    if image is None:
        there = ", ".join(f"{each.name} {each.image_id[:12]}" for each in list_images()) or "none"
        raise InputError(
            f"--from {saved.name}: was saved with the image {was.guest} {image_id[:12]}, which "
            f"no longer exists, is damaged, or was built by another version (available: "
            f"{there}); {_save_again(saved)}"
        )
    if system is not None and image.manifest.source != system.source():
        raise InputError(
            f"--guest {system.named_by}: --from {saved.name}: has changed since the snapshot; "
            "leave out --guest to use the saved copy"
        )
    return image


def _sound_image(image_id: str) -> GuestImage | None:
    image = find_image_by_id(image_id)
    return image if image is not None and is_sound(image) else None


def require_machine_fits(saved: SavedMachine, config: MachineConfig) -> None:
    """Require that the machine has the identity of the saved one.

    Raises:
        InputError: it is another machine; the differences are named.
    """
    was = saved.description
    differences = config.identity().differences(was.machine)
    if differences:
        raise InputError(
            f"--from {saved.name}: was saved by a different machine: {'; '.join(differences)} "
            f"(it was saved with QEMU {was.qemu_version}); {_save_again(saved)}"
        )


def _save_again(saved: SavedMachine) -> str:
    return f"save it again after 'freezingtime snapshot remove {saved.name}'"


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
        save_device_states(snapshot.directory, machine, disks, root)

    saved_disks = tuple(
        SavedDisk(
            disk.plan.name,
            disk.plan.medium.size_bytes,
            _base_file(disk.spec),
            disk.plan.frontend,
            disk.plan.write_cache,
            disk.plan.queues,
            disk.plan.traits,
        )
        for disk in disks
    )
    description = MachineDescription(
        config.identity(),
        config.image.name,
        machine.qemu_version(),
        saved_ns,
        saved_disks,
        config.booted,
    )
    save_machine(name, description, write_files)


def _layer(disk: OpenDisk) -> OverlayMedium:
    if disk.layer is None:
        raise RuntimeError(f"the disk {disk.plan.name} was opened without an overlay to save")
    return disk.layer
