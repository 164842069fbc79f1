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
from importlib import resources
from pathlib import Path

from freezingtime.disk.spec import build_device
from freezingtime.errors import InputError, RunError
from freezingtime.images.check import is_sound
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import MINI, GuestImage, find_image
from freezingtime.images.imported import BootFiles, ImportPlan, import_image
from freezingtime.medium.file import FileMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.runs.disks import NO_TIME
from freezingtime.runs.guest import ready_image, ready_snapshot
from freezingtime.vm.collected_files import unpack_collected
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.job import Job
from freezingtime.vm.machine import BOOT_RATE_HZ, Machine
from freezingtime.vm.service import DiskPlan

_SUFFIXES = (".qcow2", ".raw", ".img")
_MEMORY_BYTES = 512 << 20
_LOOK_DEADLINE_S = 300.0
_BOOT_FILES_MAX_BYTES = 1 << 30
_STEM_LENGTH_MAX = 28
_DIGITS_IN_NAME = 8


def is_disk_file(guest: str) -> bool:
    """Whether ``--guest`` names a disk image's file, not an image of the cache."""
    return "/" in guest or guest.endswith(_SUFFIXES)


def own_name(plan: ImportPlan) -> str:
    """What the image of these files is called in the cache, however they change."""
    files = [plan.root_disk, plan.kernel, plan.initrd]
    paths = [str(path and path.resolve()) for path in files]
    digest = hashlib.sha256("\n".join([*paths, plan.append]).encode()).hexdigest()
    stem = re.sub("[^a-z0-9]+", "-", plan.root_disk.stem.lower()).strip("-")
    return f"{stem[:_STEM_LENGTH_MAX] or 'own'}-{digest[:_DIGITS_IN_NAME]}"


def ready_own_image(name: str, plan: ImportPlan, progress: Progress) -> GuestImage:
    """The image of these files as they are now, which is made if it is not there.

    Raises:
        InputError: they are no system that can be booted.
        RunError: the cache takes no more.
    """
    image = find_image(name)
    if image is not None and image.manifest.source == plan.source() and is_sound(image):
        return image
    return import_system(name, plan, progress)


def import_system(name: str, plan: ImportPlan, progress: Progress) -> GuestImage:
    """Make an image of these files; where they name no kernel, of that on the disk.

    Raises:
        InputError: they are no system that can be booted.
        RunError: the cache takes no more.
    """
    plan.check()
    if plan.kernel is None:
        ready_image(MINI, progress)  # now, as the images are locked while one is being made

    def look(disk: Path) -> BootFiles:
        try:
            return _find_boot_files(disk, progress)
        except InputError as error:
            raise InputError(
                f"{plan.disk_option} {plan.root_disk}: {error}; give --kernel and --initrd, "
                "and with --append root=..."
            ) from error

    return import_image(name, plan, look, progress)


def _find_boot_files(disk: Path, progress: Progress) -> BootFiles:
    mini = ready_image(MINI, progress)
    config = MachineConfig(mini, _MEMORY_BYTES, BOOT_RATE_HZ)
    script = (resources.files("freezingtime.vm") / "guest" / "find-system").read_bytes()
    with contextlib.ExitStack() as cleanup:
        snapshot = ready_snapshot(
            mini,
            config,
            lambda machine: progress("boot the mini guest", 0, 1),
            cleanup,
            lambda holder: progress(holder, 0, 1),
        )
        base = FileMedium(disk, writable=False, is_raw=True)
        cleanup.callback(base.close)
        overlay = OverlayMedium(base, Path(tempfile.gettempdir()))
        cleanup.callback(overlay.close)
        device = build_device(NO_TIME, 0, overlay.size_bytes)
        plan = DiskPlan("system", device, overlay, internal=True)
        machine = cleanup.enter_context(Machine(config, [plan], snapshot=snapshot))
        machine.get_ready()
        job = Job(script, collect=["vmlinuz", "initrd"], collect_limit_bytes=_BOOT_FILES_MAX_BYTES)
        ended = machine.run_job(job, host_limit_s=_LOOK_DEADLINE_S)
        words = machine.stderr.read_all().decode(errors="replace").strip()
        if ended.exit_status:
            raise InputError(words.splitlines()[-1] if words else "it cannot be looked into")
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
            raise RunError(f"the mini guest has not handed over a kernel: {error}") from error
