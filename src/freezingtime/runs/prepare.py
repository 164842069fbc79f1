# SPDX-License-Identifier: GPL-2.0-or-later
"""Get ready what a run needs before its machine is started, in an order that fails early."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from freezingtime.clock.agent import agent_path
from freezingtime.disk.mount import Mount
from freezingtime.errors import InputError
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import GuestImage, find_image, find_image_by_id
from freezingtime.runs.device_states import (
    has_saved_state,
    root_with_saved_state,
    with_saved_states,
)
from freezingtime.runs.disks import OpenDisk, open_disks
from freezingtime.runs.guest import (
    ROOT_DISK_NAME,
    open_root,
    ready_image,
    ready_snapshot,
    require_image,
    require_usable_qemu,
)
from freezingtime.runs.locked import ready_locked_image, ready_qemu_of_lock
from freezingtime.runs.output_directory import prepared_directory
from freezingtime.runs.own.system import ready_own_image
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.saving import (
    load_saved,
    matching_saved,
    require_machine_fits,
    require_options_fit,
    require_savable,
    saved_image,
)
from freezingtime.store.machine_identity import KvmBoot
from freezingtime.store.saved_machine import SavedMachine, find_saved, require_free_name
from freezingtime.store.snapshot import Snapshot
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.environment import SEED_NAME
from freezingtime.vm.job import Job, pack
from freezingtime.vm.qemu.kvm_machine import KvmMachine, choose_kvm
from freezingtime.vm.qemu.program import find_qemu


@dataclass(frozen=True, slots=True)
class Prepared:
    """Prepared machine of a run, and its job."""

    image: GuestImage
    config: MachineConfig
    disks: Sequence[OpenDisk]
    root: OpenDisk | None
    """The disk that the guest's system is on, if it is on one."""
    snapshot: Snapshot | None
    """What the machine starts from; None: it boots."""
    job: Job


def prepare(
    plan: RunPlan, report: Progress, ownership: contextlib.ExitStack, cleanup: contextlib.ExitStack
) -> Prepared:
    """Get a run ready; what can be refused is refused before anything is built or written.

    ``cleanup`` closes what was opened; ``ownership`` is of the run's directory, to the last word
    written there.

    Raises:
        InputError: the plan cannot be run.
        RunError: something failed on the way.
    """
    agent_path()  # without one no guest can run, so nothing is fetched in vain
    saved = _find_saved(plan)
    booted = None if saved is None else saved.description.booted
    kvm = choose_kvm(plan.clock, plan.max_leak_ns, booted, plan.cpu_count)
    _require_guest(plan, saved)
    plan = dataclasses.replace(plan, qemu=ready_qemu_of_lock(plan.lock, plan.qemu, report))
    _require_usable_qemu(plan, saved)
    if plan.save_as is not None:
        require_free_name(plan.save_as)
    image = None if saved is None else _saved_image(plan, saved, report)
    disks = _open_disks(plan, saved, cleanup)
    job = _make_job(plan, disks, cleanup)
    with contextlib.ExitStack() as on_error:
        if plan.out is not None:
            directory = prepared_directory(plan.out, collects=bool(plan.collect))
            on_error.callback(ownership.enter_context(directory))
        image = image or _ready_image(plan, report)
        config = _config(plan, image, kvm, booted)
        snapshot = _snapshot(plan, saved, image, config, report, cleanup)
        root_seed = plan.seed + len(disks)
        root = open_root(image, plan.root_device, root_seed, snapshot, cleanup)
        root = root_with_saved_state(root, saved, root_seed)
        on_error.pop_all()
    return Prepared(image, config, disks, root, snapshot, job)


def ready_machine(plan: RunPlan, report: Progress) -> MachineConfig:
    """Return the machine of a plan, whose guest and QEMU are made ready if they are not there.

    Raises:
        InputError: the plan cannot be run.
        RunError: something failed on the way.
    """
    agent_path()
    saved = _find_saved(plan)
    _require_guest(plan, saved)
    plan = dataclasses.replace(plan, qemu=ready_qemu_of_lock(plan.lock, plan.qemu, report))
    _require_usable_qemu(plan, saved)
    image = _ready_image(plan, report) if saved is None else _saved_image(plan, saved, report)
    return _config(plan, image)


def _require_usable_qemu(plan: RunPlan, saved: SavedMachine | None) -> None:
    if saved is not None:
        # It did when the machine was saved, and another is refused.
        find_qemu(plan.qemu)
        return
    image = _find_image(plan)
    booted_before = None if image is None else _config(plan, image)
    require_usable_qemu(plan.qemu, plan.cpu_model, booted_before)


def _find_image(plan: RunPlan) -> GuestImage | None:
    if plan.lock is not None:
        return find_image_by_id(plan.lock.guest.image_id)
    return find_image(plan.guest)


def _require_guest(plan: RunPlan, saved: SavedMachine | None) -> None:
    if plan.system is not None:
        plan.system.check()
    elif saved is None and plan.lock is None:
        require_image(plan.guest)


def _saved_image(plan: RunPlan, saved: SavedMachine, report: Progress) -> GuestImage:
    image = saved_image(saved, plan.system, report)
    if plan.lock is not None and image.image_id != plan.lock.guest.image_id:
        raise InputError(
            f"--from {saved.name}: was saved in the guest image {image.image_id[:12]}, and the "
            f"lock is of {plan.lock.guest.image_id[:12]}; leave out --locked"
        )
    require_machine_fits(saved, _config(plan, image))
    return image


def _ready_image(plan: RunPlan, report: Progress) -> GuestImage:
    if plan.system is not None:
        return ready_own_image(plan.guest, plan.system, report, plan.qemu)
    if plan.lock is not None:
        return ready_locked_image(plan.lock, report)
    return ready_image(plan.guest, report)


def _config(
    plan: RunPlan,
    image: GuestImage,
    kvm: KvmMachine | None = None,
    booted: KvmBoot | None = None,
) -> MachineConfig:
    return MachineConfig(
        image,
        plan.memory_bytes,
        plan.rate_hz,
        plan.cpu_count,
        plan.cpu_model,
        plan.qemu,
        plan.medium_deadline_s,
        plan.boot_deadline_s,
        kvm,
        kvm.host if kvm is not None and booted is None else booted,
    )


def _find_saved(plan: RunPlan) -> SavedMachine | None:
    if plan.start_from is None:
        return None
    saved = find_saved(plan.start_from)
    if plan.fresh_boot:
        raise InputError(f"--from {saved.name}: starts from a snapshot; leave out --boot")
    named_by = plan.guest if plan.system is None else plan.system.named_by
    require_options_fit(
        saved, plan.guest, named_by, plan.memory_bytes, plan.cpu_count, plan.cpu_model
    )
    return saved


def _snapshot(
    plan: RunPlan,
    saved: SavedMachine | None,
    image: GuestImage,
    config: MachineConfig,
    report: Progress,
    cleanup: contextlib.ExitStack,
) -> Snapshot | None:
    if saved is not None:
        return saved.snapshot
    if plan.fresh_boot or config.kvm is not None:
        return None
    return ready_snapshot(
        image,
        config,
        lambda machine: report("boot the guest once", machine.totals.now_ns, 0),
        cleanup,
        lambda holder: report(holder, 0, 1),
    )


def _open_disks(
    plan: RunPlan, saved: SavedMachine | None, cleanup: contextlib.ExitStack
) -> list[OpenDisk]:
    specs = plan.disks if saved is None else matching_saved(plan.disks, saved)
    if plan.save_as is not None:
        require_savable(plan.save_as, specs)
    taken = [] if plan.root_device is None else [ROOT_DISK_NAME]
    kept = saved is not None or plan.save_as is not None
    if saved is None:
        return open_disks(specs, plan.seed, taken, kept=kept, cleanup=cleanup)
    saved.check(cleanup)
    goes_on = partial(has_saved_state, saved)
    disks = open_disks(specs, plan.seed, taken, kept=kept, cleanup=cleanup, goes_on=goes_on)
    load_saved(disks, saved)
    return with_saved_states(disks, saved, plan.seed)


def _make_job(plan: RunPlan, disks: Sequence[OpenDisk], cleanup: contextlib.ExitStack) -> Job:
    if plan.collect and plan.out is None:
        raise InputError("--collect: the files go to the run directory; set it with --out DIR")
    if any("\n" in pattern for pattern in plan.collect):
        raise InputError("--collect: a pattern contains a newline; repeat --collect instead")
    files = None
    if plan.job_directory is not None:
        files = pack(plan.job_directory)
        cleanup.callback(files.close)
    variables = {SEED_NAME: str(plan.seed), **plan.environment}
    # A modified file must be consistent for its next reader.
    is_written = any(spec.writable for spec in plan.disks)
    return Job(
        plan.script,
        variables,
        files,
        plan.collect,
        plan.collect_limit_bytes,
        sync=is_written or plan.save_as is not None,
        unmount=is_written,
        mounts=_mounts(disks),
        start_delay_ns=plan.start_delay_ns,
    )


def _mounts(disks: Sequence[OpenDisk]) -> dict[str, Mount]:
    mounts = {disk.plan.name: disk.spec.mount for disk in disks if disk.spec.mount is not None}
    points = [mount.point for mount in mounts.values()]
    for point in points:
        if points.count(point) > 1:
            raise InputError(f"--disk: two disks have mount={point}; mount one elsewhere")
    return mounts
