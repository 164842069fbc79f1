# SPDX-License-Identifier: GPL-2.0-or-later
"""An XFS root disk: made by the guest itself, as nothing else makes one without a mount.

mkfs.xfs of Debian 12 fills a new file system from a prototype only, which knows no sticky
bits, times, hard links, attributes, nor names with spaces. So the system is installed on
ext4 first, and booted from a layer over that; it copies the ext4 disk, on which nothing has
run, to the XFS one. In the guest all times and random numbers are the same each time: so are
the bytes of the copy.
"""

from __future__ import annotations

import contextlib
import tempfile
from importlib import resources
from pathlib import Path

from freezingtime.device.constant import ConstantDevice
from freezingtime.errors import InputError, RunError
from freezingtime.images.guest_image import GuestImage, ImageContent, store_image
from freezingtime.medium.base import Medium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.units import format_size_bytes
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.job import Job
from freezingtime.vm.machine import BOOT_RATE_HZ, Machine
from freezingtime.vm.service import DiskPlan

_MEMORY_BYTES = 1 << 30
_COPY_DEADLINE_S = 3600.0


def copy_to_xfs(system: ImageContent, file_system_id: str, directory: Path) -> Path:
    """Copy the root disk of ``system``, which is ext4, to an XFS one of its size.

    ``system`` moves into the empty ``directory``; so does the copy, whose file is returned.

    Raises:
        InputError: the system does not fit, or QEMU is missing.
        RunError: the guest could not do it.
    """
    stage = directory / "ext4"
    stage.mkdir(parents=True)
    image = GuestImage(stage, store_image(stage, "stage", system))
    if image.root_path is None or image.manifest.root is None:
        raise RuntimeError("the system has no root disk")
    target_path = directory / "xfs.img"
    with target_path.open("wb") as file:
        file.truncate(image.manifest.root.size_bytes)
    script = (resources.files("freezingtime.vm") / "guest" / "copy-to-xfs").read_bytes()
    job = Job(script, {"FILE_SYSTEM_ID": file_system_id}, sync=True)
    with contextlib.ExitStack() as cleanup:
        target = FileMedium(target_path, writable=True)
        cleanup.callback(target.close)
        machine = cleanup.enter_context(
            Machine(
                MachineConfig(image, _MEMORY_BYTES, BOOT_RATE_HZ),
                [
                    _disk("source", _layer_over(image.root_path, cleanup)),
                    _disk("target", target),
                ],
                root=_disk("root", _layer_over(image.root_path, cleanup)),
            )
        )
        machine.get_ready()
        ended = machine.run_job(job, host_limit_s=_COPY_DEADLINE_S)
        if ended.exit_status:
            _complain(machine.stderr.read_all().decode(errors="replace"), target.size_bytes)
    return target_path


def _disk(name: str, medium: Medium) -> DiskPlan:
    no_time = ConstantDevice(read_ns=0, write_ns=0, flush_ns=0, discard_ns=0)
    return DiskPlan(name, no_time, medium, internal=True)


def _layer_over(path: Path, cleanup: contextlib.ExitStack) -> OverlayMedium:
    base = FileMedium(path, writable=False)
    cleanup.callback(base.close)
    overlay = OverlayMedium(base, Path(tempfile.gettempdir()))
    cleanup.callback(overlay.close)
    return overlay


def _complain(words: str, size_bytes: int) -> None:
    if "No space left" in words:
        raise InputError(
            f"--size {format_size_bytes(size_bytes)}: the packages do not fit a root disk "
            "of that size; enlarge it"
        )
    last_words = (words.strip().splitlines() or ["no reason given"])[-1]
    raise RunError(f"the guest cannot copy the system to XFS: {last_words}")
