# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of the user's own, from nothing but a disk image: taken in when it is new or changed.

The kernel and its initramfs are read out of the image in the mini guest, which knows its
file systems; so this takes neither root nor tools of the host, and no mount of a foreign disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from pathlib import Path
from typing import TypeAlias

from freezingtime.errors import InputError, RunError
from freezingtime.images.check import is_sound
from freezingtime.images.container.plan import ContainerPlan
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import GuestImage, find_image
from freezingtime.images.imported import BootFiles, ImportPlan, import_image
from freezingtime.runs.options import MachineOptions
from freezingtime.runs.own.container import import_container
from freezingtime.runs.own.mini_job import DiskFile, guest_script, mini_job, ready_mini_guest
from freezingtime.vm.collected_files import unpack_collected
from freezingtime.vm.job import Job

OwnSystem: TypeAlias = ImportPlan | ContainerPlan

_SUFFIXES = (".qcow2", ".raw", ".img")
_LOOK_DEADLINE_S = 300.0
_BOOT_FILES_MAX_BYTES = 1 << 30
_STEM_LENGTH_MAX = 28
_DIGITS_IN_NAME = 8


def is_disk_file(guest: str) -> bool:
    """Whether ``--guest`` names a disk image's file, not an image of the cache."""
    return "/" in guest or guest.endswith(_SUFFIXES)


def import_plan(root_disk: Path, options: MachineOptions, disk_option: str) -> ImportPlan:
    """Make the plan of a system on a disk, which that option has named."""
    kernel, initrd = (
        None if file is None else Path(file) for file in (options.kernel, options.initrd)
    )
    return ImportPlan(
        root_disk,
        kernel,
        initrd,
        options.append or "",
        disk_option=disk_option,
        allow_backing=tuple(map(Path, options.allow_backing)),
    )


def own_name(plan: OwnSystem) -> str:
    """Return the name in the cache of the image of these files, however they change."""
    digest = hashlib.sha256(plan.identity().encode()).hexdigest()
    stem = re.sub("[^a-z0-9]+", "-", plan.stem.lower()).strip("-")
    return f"{stem[:_STEM_LENGTH_MAX] or 'own'}-{digest[:_DIGITS_IN_NAME]}"


def ready_own_image(
    name: str, plan: OwnSystem, progress: Progress, qemu: str | None = None
) -> GuestImage:
    """The image of these files as they are now; if it is not there it is made, in this QEMU.

    Raises:
        InputError: they are no system that can be booted.
        RunError: the cache takes no more.
    """
    image = find_image(name)
    if image is not None and image.manifest.source == plan.source() and is_sound(image):
        return image
    if isinstance(plan, ContainerPlan):
        return import_container(name, plan, progress, qemu)
    return import_system(name, plan, progress, qemu)


def import_system(
    name: str, plan: ImportPlan, progress: Progress, qemu: str | None = None
) -> GuestImage:
    """Make an image of these files; where they name no kernel, of that which ``qemu`` finds there.

    Raises:
        InputError: they are no system that can be booted.
        RunError: the cache takes no more.
    """
    plan.check()
    if plan.kernel is None:
        ready_mini_guest(progress, qemu)  # now, as the images are locked while one is being made

    def look(disk: Path) -> BootFiles:
        try:
            return _find_boot_files(disk, progress, qemu)
        except InputError as error:
            raise InputError(
                f"{plan.disk_option} {plan.root_disk}: {error}; give --kernel and --initrd, "
                "and with --append root=..."
            ) from error

    return import_image(name, plan, look, progress)


def _find_boot_files(disk: Path, progress: Progress, qemu: str | None) -> BootFiles:
    job = Job(
        guest_script("find-system"),
        collect=["vmlinuz", "initrd"],
        collect_limit_bytes=_BOOT_FILES_MAX_BYTES,
    )
    disks = [DiskFile("system", disk)]
    with contextlib.ExitStack() as cleanup:
        _, machine = cleanup.enter_context(mini_job(job, disks, _LOOK_DEADLINE_S, progress, qemu))
        place = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="freezingtime-"))
        found = Path(place) / "found"
        unpack_collected(machine.collected, found, limit_bytes=_BOOT_FILES_MAX_BYTES)
        lines = machine.stdout.read_all().decode(errors="replace").splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        try:
            return BootFiles(
                (found / "vmlinuz").read_bytes(), (found / "initrd").read_bytes(), values["append"]
            )
        except (OSError, KeyError) as error:
            raise RunError(f"the mini guest handed over no kernel: {error}") from error
