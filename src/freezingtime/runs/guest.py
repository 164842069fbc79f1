# SPDX-License-Identifier: GPL-2.0-or-later
"""Getting a guest ready for a run: its image, its root disk, its snapshot."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import InputError, did_you_mean
from freezingtime.images.check import is_sound, open_root_disk
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import (
    GuestImage,
    find_image,
    is_called,
    list_images,
    list_unusable_images,
    named,
)
from freezingtime.images.mini.name import mini_suite
from freezingtime.images.names import MINI
from freezingtime.medium.delay import delayed
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.runs.disks import NO_TIME, OpenDisk, load_changes
from freezingtime.store.cache import Waiting
from freezingtime.store.snapshot import Snapshot, find_snapshot, has_snapshot, take_snapshot
from freezingtime.store.unusable import Unusable
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.machine import Machine
from freezingtime.vm.qemu.cpu_model import CpuModel
from freezingtime.vm.qemu.probe import require_qemu
from freezingtime.vm.service import DiskPlan

ROOT_DISK_NAME = "root"

_log = logging.getLogger(__name__)


def require_usable_qemu(
    name: str | None, cpu_model: CpuModel, booted_before: MachineConfig | None
) -> None:
    """Require that a QEMU will do, before anything is fetched, built or written for it in vain.

    A snapshot of a machine like ``booted_before`` shows that it did, so none is probed twice.

    Raises:
        InputError: it is not there, or will not do.
    """
    if booted_before is None or not has_snapshot(booted_before.identity().key):
        require_qemu(name, cpu_model)


def ready_image(name: str, progress: Progress) -> GuestImage:
    """The image that :func:`require_image` has found; a mini image is built if it is not there.

    Raises:
        InputError: it is damaged or missing, and cannot be built automatically.
    """
    image = find_image(name)
    problem = f"the image {name!r} no longer exists"
    if image is None:
        for unusable in _unusable(name):
            _log.warning("skipped the image %s: %s", unusable.directory.name, unusable.advice)
    elif is_sound(image):
        return image
    else:
        problem = f"the image {image.directory.name} is damaged"
    suite = mini_suite(name)
    if suite is None:
        raise _no_image(name, problem)
    # Imported here: a run of an existing image need not wait for its libraries.
    from freezingtime.images.build import build_mini_image

    return build_mini_image(suite, progress)


def require_image(name: str) -> None:
    """Require that an image ``name`` exists or can be built.

    Raises:
        InputError: there is no such image.
    """
    if find_image(name) is not None or mini_suite(name) is not None:
        return
    if named(list_images(), name):
        problem = f"the image {name!r} was built by another version of freezingtime"
    elif unusable := _unusable(name):
        problem = f"the image {unusable[0].directory.name} cannot be used: {unusable[0].reason}"
    else:
        names = sorted({MINI, *(image.name for image in list_images())})
        problem = f"no image {name!r}; {did_you_mean(name, names)}available: {', '.join(names)}"
    raise _no_image(name, problem)


def _unusable(name: str) -> list[Unusable]:
    return [each for each in list_unusable_images() if is_called(each, name)]


def _no_image(name: str, problem: str) -> InputError:
    named_so = "" if name == "debian" else f" --name {name}"
    of_suite = "" if name == "debian" else " (and --suite, if it is of another than the default)"
    return InputError(
        f"--guest {name}: {problem}; build it with 'freezingtime image build debian{named_so}'"
        f"{of_suite}, or import it again if it is your own system"
    )


def open_root(
    image: GuestImage,
    spec: DiskSpec | None,
    seed: int,
    snapshot: Snapshot | None,
    cleanup: contextlib.ExitStack,
) -> OpenDisk | None:
    """The image's root disk with a copy-on-write layer, as the snapshot left it.

    ``spec`` says which device it is, and how slow its medium; without one it takes no time,
    and is part of the machine rather than of the measurement.

    Raises:
        InputError: the image has no root disk, or it cannot be opened.
    """
    overlay = _open_overlay(image, cleanup)
    if overlay is None:
        if spec is not None:
            raise InputError(
                f"--root-device {spec.text}: the guest {image.name} has no root disk; "
                "choose another with --guest"
            )
        return None
    if snapshot is not None:
        load_changes(overlay, snapshot.root_changes_path)
    return _root_disk(overlay, spec, seed)


def ready_snapshot(
    image: GuestImage,
    config: MachineConfig,
    on_boot: Callable[[Machine], None],
    cleanup: contextlib.ExitStack,
    waiting: Waiting | None = None,
) -> Snapshot:
    """The snapshot of a machine of that image, taken if it is not there, telling ``on_boot``.

    It stays in the cache until ``cleanup``. ``waiting`` is called with the process waited for.
    """
    key = config.identity().key
    if snapshot := find_snapshot(key, cleanup):
        return snapshot

    def boot(target: Snapshot) -> int:
        with contextlib.ExitStack() as opened:
            overlay = _open_overlay(image, opened)
            root = None if overlay is None else _root_disk(overlay, None, 0).plan
            machine = opened.enter_context(Machine(config, root=root))
            ready_ns = machine.get_ready(lambda: on_boot(machine))
            machine.save(target.state_path)
            if overlay is not None:
                with target.root_changes_path.open("wb") as file:
                    overlay.save_changes(file)
            return ready_ns

    return take_snapshot(key, boot, cleanup, waiting)


def _root_disk(overlay: OverlayMedium, spec: DiskSpec | None, seed: int) -> OpenDisk:
    chosen = spec or NO_TIME
    device = chosen.device.build(seed, overlay.size_bytes)
    plan = DiskPlan(
        *(ROOT_DISK_NAME, device, delayed(overlay, chosen.delay)),
        internal=spec is None,
        may_fail=bool(chosen.device.faults),
    )
    return OpenDisk(plan, chosen, overlay)


def _open_overlay(image: GuestImage, cleanup: contextlib.ExitStack) -> OverlayMedium | None:
    if image.root_path is None:
        return None
    base = open_root_disk(image)
    cleanup.callback(base.close)
    overlay = OverlayMedium(base, Path(tempfile.gettempdir()))
    cleanup.callback(overlay.close)
    return overlay
