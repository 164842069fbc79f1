# SPDX-License-Identifier: GPL-2.0-or-later
"""Plan of a run, complete and checked, and how the options of a run become one.

Messages name the option as the command line has it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from freezingtime.application.duration import expected_guest_ns
from freezingtime.application.read import AUTO, check_source
from freezingtime.clock.kind import ClockKind, parse_clock
from freezingtime.disk.changes import with_changes
from freezingtime.disk.faults import with_faults
from freezingtime.disk.spec import DiskSpec, check_disk, parse_disk
from freezingtime.errors import InputError
from freezingtime.frontend import DEFAULT_QUEUES, Frontend
from freezingtime.images.container.plan import ContainerPlan, parse_container
from freezingtime.images.guest_image import find_image, find_image_by_id
from freezingtime.images.locked.lock_file import Lock, read_lock
from freezingtime.images.names import MINI
from freezingtime.option import FilePath
from freezingtime.runs.locked import require_options_of_lock
from freezingtime.runs.options import CPU_RATE, MAX_LEAK, MEMORY, RunOptions
from freezingtime.runs.own.system import OwnSystem, import_plan, is_disk_file, own_name
from freezingtime.runs.script import Command
from freezingtime.store.saved_machine import find_saved
from freezingtime.units import (
    MAX_VALUE,
    Limits,
    format_size_bytes,
    parse_option,
    parse_rate_hz,
    parse_size_bytes,
    parse_time_ns,
)
from freezingtime.vm.control_disk import COLLECT_MAX_BYTES
from freezingtime.vm.environment import parse_environment
from freezingtime.vm.job import COLLECT_LIMIT_BYTES, program_start
from freezingtime.vm.qemu.command import CPUS_MAX
from freezingtime.vm.qemu.cpu_model import CpuModel, parse_cpu_model
from freezingtime.vm.qemu.surprise import REMOVABLE

# The CPU model's addresses end at 1 TiB.
_log = logging.getLogger(__name__)

_MEMORY_LIMITS = Limits(128 << 20, 256 << 30, "whole MiB, from 128MiB to 256GiB", unit=1 << 20)
_RATE_LIMITS = Limits(1_000_000, 16_000_000_000, "from 1M to 16G instructions per second")
_CPUS_LIMITS = Limits(1, CPUS_MAX, f"from 1 to {CPUS_MAX}")
_LEAK_LIMIT = Limits(0, 10**9, "from 0ns to 1s")
# The guest waits for an answer of the control disk, and gives up after 30 s.
_START_DELAY = Limits(0, 20 * 10**9, "from 0 to 20s")
_TIME_LIMIT = Limits(1, MAX_VALUE, "more than 0, such as 60s")
_MEDIUM_DEADLINE = Limits(1, 10**15, "more than 0 and at most 1000000s")
_COLLECT_LIMIT = Limits(
    1,
    COLLECT_MAX_BYTES,
    f"more than 0 and at most {format_size_bytes(COLLECT_MAX_BYTES)}; put larger files on a disk",
)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Complete plan of a run: equal plans give equal guest output."""

    disks: Sequence[DiskSpec]
    script: bytes
    guest: str = MINI
    """The name of the guest's image."""
    system: OwnSystem | None = None
    """The files that the image is of, if it is of the user's own."""
    root_device: DiskSpec | None = None
    """The device of the guest's root disk; None: one that takes no time."""
    job_directory: Path | None = None
    """A directory whose files appear in the guest under /job."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the job's environment beside those that it always has."""
    collect: Sequence[str] = ()
    """Patterns of files to copy to the run directory afterwards."""
    collect_limit_bytes: int = COLLECT_LIMIT_BYTES
    """How much those files may have."""
    metrics: str = AUTO
    """Where the application's own figures come from."""
    limit_ns: int | None = None
    """How much guest time the job may take."""
    host_limit_s: float | None = None
    """How much host time the job may take."""
    expected_ns: int | None = None
    """How much guest time the job will take, as far as that is known."""
    clock: ClockKind = ClockKind.EXACT
    max_leak_ns: int = 10_000
    """Under KVM: how late a request may be in a run that is valid."""
    rate_hz: int = 4_000_000_000
    memory_bytes: int = 512 << 20
    cpu_count: int = 1
    cpu_model: CpuModel = CpuModel.V1
    start_delay_ns: int = 0
    """How much guest time passes before the job starts."""
    seed: int = 0
    fresh_boot: bool = False
    """Boot in place instead of starting from the snapshot."""
    start_from: str | None = None
    """The snapshot to start from: a saved machine's name."""
    save_as: str | None = None
    """The name to save the machine under when its job has ended well."""
    qemu: str | None = None
    """The QEMU to run: a program, or a directory that one was unpacked into."""
    lock: Lock | None = None
    """What guest and QEMU must be."""
    medium_deadline_s: float = 60.0
    boot_deadline_s: float = 300.0
    out: Path | None = None
    logs_writes: bool = False
    """Whether the run directory gets a write log (:mod:`freezingtime.trace.writes.log`)."""


class _Machine(NamedTuple):
    """Machine defaults, which options override."""

    guest: str = MINI
    memory: str = MEMORY
    cpus: int = 1
    cpu_model: str = CpuModel.V1


def make_plan(
    options: RunOptions,
    *,
    script: bytes | Command,
    job_directory: Path | None = None,
) -> RunPlan:
    """Make the plan of a run, whose job is ``script``.

    Where the options go on from a saved machine, that brings guest, memory and CPUs along.

    Raises:
        InputError: an option has a value that it cannot have, or there is no such machine.
    """
    lock = _lock(options)
    start_from = options.start_from
    machine = _Machine() if start_from is None else _saved_machine(start_from)
    guest = machine.guest if options.guest is None else options.guest
    if lock is not None:
        guest = lock.guest.name
    system = _system(guest, options, script)
    cpus = machine.cpus if options.cpus is None else options.cpus
    memory = machine.memory if options.memory is None else options.memory
    deadline = options.medium_deadline
    job = _script(script, guest, system, start_from)
    if isinstance(script, Command) and _is_built_here(guest, system, start_from):
        script.require_no_host_file(job_directory)
    environment = parse_environment(options.env)
    expected_ns = _limit_ns("--expect", options.expect)
    given = with_changes(with_faults(options.disks, options.faults), options.at)
    disks = [check_disk(disk) for disk in given]
    root_device = _root_device(options.root_device)
    _require_removable(disks, root_device, options.save)
    return RunPlan(
        disks=disks,
        script=job,
        guest=guest if system is None else own_name(system),
        system=system,
        root_device=root_device,
        job_directory=job_directory,
        environment=environment,
        collect=options.collect,
        collect_limit_bytes=parse_option(
            "--collect-limit", options.collect_limit, parse_size_bytes, _COLLECT_LIMIT
        ),
        metrics=check_source(options.metrics),
        limit_ns=_limit_ns("--time-limit", options.time_limit),
        host_limit_s=_limit_s("--real-time-limit", options.real_time_limit),
        expected_ns=expected_ns or expected_guest_ns(_text(job, job_directory), environment),
        clock=choose_clock(options, disks),
        max_leak_ns=parse_option("--max-leak", options.max_leak, parse_time_ns, _LEAK_LIMIT),
        rate_hz=parse_option("--cpu-rate", options.cpu_rate, parse_rate_hz, _RATE_LIMITS),
        memory_bytes=parse_option("--memory", memory, parse_size_bytes, _MEMORY_LIMITS),
        cpu_count=_CPUS_LIMITS.check("--cpus", cpus, cpus),
        cpu_model=parse_cpu_model(options.cpu_model or machine.cpu_model),
        start_delay_ns=parse_option(
            "--start-delay", options.start_delay, parse_time_ns, _START_DELAY
        ),
        seed=options.seed,
        fresh_boot=options.boot,
        start_from=start_from,
        save_as=options.save,
        qemu=options.qemu,
        lock=lock,
        medium_deadline_s=parse_option(
            "--medium-deadline", deadline, parse_time_ns, _MEDIUM_DEADLINE
        )
        / 1e9,
        boot_deadline_s=_limit_s("--boot-deadline", options.boot_deadline) or 0.0,
        out=_path(options.out),
    )


def choose_clock(options: RunOptions, disks: Sequence[DiskSpec] = ()) -> ClockKind:
    """Return the clock that is asked for, which `auto` leaves to the host.

    ``disks`` are the run's, as far as they are known.

    Raises:
        InputError: an option has no meaning with it.
    """
    clock = parse_clock(options.clock)
    if clock is ClockKind.EXACT:
        if options.max_leak != MAX_LEAK:
            raise InputError(
                f"--max-leak {options.max_leak}: --clock exact has no leak; leave it out"
            )
        return clock
    reason = next(_not_with_kvm(options, disks), None)
    if reason is None:
        return clock
    if clock is ClockKind.KVM:
        raise InputError(f"{reason} under --clock kvm; leave it out, or take --clock exact")
    _log.warning("the clock is exact: %s under --clock kvm", reason)
    return ClockKind.EXACT


def _not_with_kvm(options: RunOptions, disks: Sequence[DiskSpec]) -> Iterator[str]:
    if options.cpu_rate != CPU_RATE:
        yield f"--cpu-rate {options.cpu_rate}: the host's CPU has its own"
    start_from = options.start_from
    if start_from is not None and find_saved(start_from).description.booted is None:
        yield f"--from {start_from}: a guest that was booted under --clock exact cannot go on"
    for spec in disks:
        if spec.device.disappears:
            yield f"{spec.given.place}fault disappear: no disk disappears"


def _lock(options: RunOptions) -> Lock | None:
    if options.locked is None:
        return None
    lock = read_lock(Path(options.locked))
    require_options_of_lock(lock, options)
    return lock


def _script(job: bytes | Command, guest: str, system: OwnSystem | None, saved: str | None) -> bytes:
    if isinstance(job, bytes):
        return job
    if _is_container(guest, system, saved):
        return job.script_in_container()
    if job == Command():
        raise InputError(
            "give one of: a COMMAND behind '--', --script FILE, --job DIR; and not several"
        )
    return job.script()


def _text(script: bytes, job_directory: Path | None) -> str:
    """What the job does, where it is a script: its program in a job directory may be another."""
    text = script if job_directory is None else program_start(job_directory)
    return text.decode(errors="replace")


def _is_container(guest: str, system: OwnSystem | None, saved: str | None) -> bool:
    if system is not None:
        return isinstance(system, ContainerPlan)
    if saved is not None:
        image = find_image_by_id(find_saved(saved).description.machine.image_id)
    else:
        image = None if guest == MINI else find_image(guest)
    return image is not None and image.is_container


def _is_built_here(guest: str, system: OwnSystem | None, saved: str | None) -> bool:
    """Whether nobody has put files of their own into the guest."""
    if system is not None or saved is not None:
        return False
    image = None if guest == MINI else find_image(guest)
    return image is None or not (image.is_imported or image.is_container)


def _path(path: FilePath | None) -> Path | None:
    return None if path is None else Path(path)


def _saved_machine(name: str) -> _Machine:
    was = find_saved(name).description
    memory = format_size_bytes(was.machine.memory_bytes)
    return _Machine(was.guest, memory, was.machine.cpu_count, was.machine.cpu_model)


def _system(guest: str, options: RunOptions, script: bytes | Command) -> OwnSystem | None:
    """Return the user's own, if ``guest`` names a file or a container's image."""
    if (container := parse_container(guest)) is not None:
        _refuse_files(options)
        if script == Command() and not container.settings().starts_something:
            raise InputError(
                f"--guest {guest}: has neither an entrypoint nor a command; "
                "give a COMMAND behind '--'"
            )
        return container
    if is_disk_file(guest):
        return import_plan(Path(guest), options, "--guest")
    _refuse_files(options)
    return None


def _refuse_files(options: RunOptions) -> None:
    for option in ("kernel", "initrd", "append", "allow_backing"):
        if getattr(options, option) not in (None, ()):
            raise InputError(
                f"--{option.replace('_', '-')}: only for your own system; "
                "name its disk with --guest ./FILE"
            )


def _root_device(text: str | None) -> DiskSpec | None:
    if text is None:
        return None
    spec = parse_disk(text, f"--root-device {text}: ")
    attached = (
        spec.frontend is Frontend.VIRTIO_BLK and spec.write_cache and spec.queues == DEFAULT_QUEUES
    )
    if spec.name or spec.mount or spec.size_bytes or "medium=" in text or not attached:
        raise InputError(
            f"{spec.given.place}name, size, medium and controller come from the image; "
            "write DEVICE or DEVICE,delay=TIME"
        )
    return spec


def _require_removable(
    disks: Sequence[DiskSpec], root: DiskSpec | None, save_as: str | None
) -> None:
    """Require that what is to disappear can, in a run that saves its machine or not."""
    if root is not None and root.device.disappears:
        raise InputError(
            f"{root.given.place}fault disappear: the guest lives on that disk; it can hang, or "
            "fail with error=EIO"
        )
    for spec in disks:
        if not spec.device.disappears:
            continue
        if spec.frontend not in REMOVABLE:
            raise InputError(
                f"{spec.given.place}fault disappear: frontend={spec.frontend}: QEMU's controller "
                f"goes on using a disk that is gone; use {', '.join(REMOVABLE)}, or hang"
            )
        if save_as is not None:
            raise InputError(
                f"--save {save_as}: a machine whose disk is to disappear is not saved; "
                "leave one of the two out"
            )


def _limit_ns(option: str, text: str | None) -> int | None:
    return None if text is None else parse_option(option, text, parse_time_ns, _TIME_LIMIT)


def _limit_s(option: str, text: str | None) -> float | None:
    limit_ns = _limit_ns(option, text)
    return None if limit_ns is None else limit_ns / 1e9
