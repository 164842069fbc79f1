# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on disks that takes root and a kernel's file systems: done by a job in the mini guest."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from freezingtime.errors import InputError
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import GuestImage, find_image
from freezingtime.images.names import MINI
from freezingtime.images.qemu import ready_qemu
from freezingtime.medium.base import Medium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.runs.disks import NO_TIME
from freezingtime.runs.guest import ready_image, ready_snapshot, require_usable_qemu
from freezingtime.store.snapshot import Snapshot
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.job import Job
from freezingtime.vm.machine import BOOT_RATE_HZ, Machine
from freezingtime.vm.qemu.cpu_model import CpuModel
from freezingtime.vm.service import DiskPlan

_MEMORY_BYTES = 512 << 20


class DiskFile(NamedTuple):
    """A raw file that the mini guest has as a disk, on a device that takes no time."""

    name: str
    path: Path
    writable: bool = False
    """Else writes to it are discarded."""


def guest_script(name: str) -> bytes:
    """One of the guest's own scripts."""
    return (resources.files("freezingtime.vm") / "guest" / name).read_bytes()


def ready_mini_guest(progress: Progress, qemu: str | None) -> None:
    """Get ready what :func:`mini_job` takes: before the images are locked, and anything is blamed.

    Raises:
        InputError: this QEMU will not do.
        RunError: the mini guest cannot be built or booted.
    """
    with contextlib.ExitStack() as cleanup:
        _ready(progress, qemu, cleanup)


def _ready(
    progress: Progress, qemu: str | None, cleanup: contextlib.ExitStack
) -> tuple[GuestImage, MachineConfig, Snapshot]:
    ready_qemu(qemu, progress)
    there = find_image(MINI)
    booted_before = None if there is None else _config(there, qemu)
    require_usable_qemu(qemu, CpuModel.V1, booted_before)
    mini = ready_image(MINI, progress)
    config = _config(mini, qemu)
    snapshot = ready_snapshot(
        mini,
        config,
        lambda machine: progress("boot the mini guest", 0, 1),
        cleanup,
        lambda holder: progress(holder, 0, 1),
    )
    return mini, config, snapshot


def _config(image: GuestImage, qemu: str | None) -> MachineConfig:
    return MachineConfig(image, _MEMORY_BYTES, BOOT_RATE_HZ, qemu=qemu)


@contextlib.contextmanager
def mini_job(
    job: Job,
    files: Sequence[DiskFile],
    deadline_s: float,
    progress: Progress,
    qemu: str | None,
) -> Iterator[tuple[GuestImage, Machine]]:
    """Run a job in the mini guest with these disks; the machine stays until the block ends.

    ``qemu`` is the one of the run that it is done for; None: the one that is found without a name.
    All that it takes is there if :func:`ready_mini_guest` was called before the images were locked.

    Raises:
        InputError: the job failed; the text is the last line that it printed on stderr.
        RunError: the guest could not run it.
    """
    with contextlib.ExitStack() as cleanup:
        mini, config, snapshot = _ready(progress, qemu, cleanup)
        disks = [_disk(file, cleanup) for file in files]
        machine = cleanup.enter_context(Machine(config, disks, snapshot=snapshot))
        machine.get_ready()
        ended = machine.run_job(job, host_limit_s=deadline_s)
        words = machine.stderr.read_all().decode(errors="replace").strip()
        if ended.exit_status:
            raise InputError(words.splitlines()[-1] if words else "it cannot be inspected")
        yield mini, machine


def _disk(file: DiskFile, cleanup: contextlib.ExitStack) -> DiskPlan:
    medium: Medium = FileMedium(file.path, writable=file.writable, is_raw=True)
    cleanup.callback(medium.close)
    if not file.writable:
        medium = OverlayMedium(medium, Path(tempfile.gettempdir()))
        cleanup.callback(medium.close)
    device = NO_TIME.device.build(0, medium.size_bytes)
    return DiskPlan(file.name, device, medium, internal=True)
