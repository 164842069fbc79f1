# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: a machine, its disks, one job, and the directory of results that it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from freezingtime._version import __version__
from freezingtime.disk.spec import DiskSpec
from freezingtime.emulator.loop import CompletedRequest, Totals
from freezingtime.errors import InputError, RunError
from freezingtime.host.replaced_file import replaced
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import GuestImage, find_image
from freezingtime.runs.disks import OpenDisk, open_disks, require_in_place
from freezingtime.runs.guest import (
    ROOT_DISK_NAME,
    open_root,
    ready_image,
    ready_snapshot,
    require_image,
)
from freezingtime.runs.job_output import JobOutput
from freezingtime.runs.meter import DiskMeter, RunMeter
from freezingtime.runs.own_system import ready_own_image
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.saving import (
    like_saved,
    load_saved,
    require_machine_fits,
    require_options_fit,
    require_savable,
    save,
    saved_image,
)
from freezingtime.runs.statistics_sampler import StatisticsSampler
from freezingtime.store.saved_machine import SavedMachine, find_saved, require_free_name
from freezingtime.store.snapshot import Snapshot
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.trace.run_directory import (
    DOCUMENT_FORMAT,
    DOCUMENT_NAME,
    STATISTICS_NAME,
    STDOUT_NAME,
    locked_run_directory,
)
from freezingtime.vm.collected_files import Collected, unpack_collected
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.job import Job, pack
from freezingtime.vm.machine import JobResult, Machine
from freezingtime.vm.qemu.probe import require_qemu
from freezingtime.vm.qemu.program import find_qemu
from freezingtime.vm.service import CONTROL_DISK_INDEX

#: Where in the run directory the files are that came back from the guest.
COLLECTED_DIRECTORY = "collected"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run; times in guest ns unless they say host."""

    plan: RunPlan
    job: JobResult
    wall_host_s: float
    image: GuestImage
    qemu_version: str
    ready_ns: int
    collected: Sequence[str] = ()
    """The files that came back, relative to ``collected/`` in the run directory."""
    not_collected: Sequence[str] = ()
    """What was to come back and is no file, such as a symbolic link."""
    statistics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What each disk's device says of itself, such as its write amplification."""

    @property
    def totals(self) -> Totals:
        """What the emulator counted."""
        return self.job.totals

    @property
    def on_time(self) -> bool:
        return self.totals.late_count == 0

    @property
    def valid(self) -> bool:
        """Every request was on time, nothing else of the host's reached the guest, and its
        kernel had no complaint."""
        undisturbed = self.totals.disturbed_ns is None
        return self.on_time and undisturbed and not self.job.complaints

    def as_dict(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        plan, job, totals = self.plan, self.job, self.totals
        return {
            "format": DOCUMENT_FORMAT,
            "versions": {
                "freezingtime": __version__,
                "qemu": self.qemu_version,
                "guest": self.image.name,
                "image": self.image.image_id,
                "kernel": self.image.manifest.kernel_release,
                "packages": {p.name: p.version for p in self.image.manifest.packages},
                "python": platform.python_version(),
            },
            "plan": {
                "guest": plan.guest,
                "system": plan.system and plan.system.as_dict(),
                "root_device": plan.root_device and plan.root_device.text,
                "disks": [spec.text for spec in plan.disks],
                "devices": [spec.device.settings() for spec in plan.disks],
                "controllers": [_controller(spec) for spec in plan.disks],
                "job_directory": plan.job_directory and str(plan.job_directory),
                "collect": list(plan.collect),
                "collect_limit_bytes": plan.collect_limit_bytes,
                "limit_ns": plan.limit_ns,
                "script": plan.script.decode(errors="surrogateescape"),
                "cpu_rate_hz": plan.rate_hz,
                "memory_bytes": plan.memory_bytes,
                "cpus": plan.cpu_count,
                "seed": plan.seed,
                "fresh_boot": plan.fresh_boot,
                "from": plan.start_from,
                "save": plan.save_as,
            },
            "job": {
                "exit_status": job.exit_status,
                "start_ns": job.start_ns,
                "end_ns": job.end_ns,
                "guest_ns": job.end_ns - job.start_ns,
                "collected": list(self.collected),
                "not_collected": list(self.not_collected),
            },
            "audit": {
                "valid": self.valid,
                "requests": totals.request_count,
                "late": totals.late_count,
                "worst_late_ns": totals.worst_late_ns,
                "disturbed_ns": totals.disturbed_ns,
                "kernel_complaints": list(job.complaints),
            },
            "totals": {
                "warped_ns": totals.warped_ns,
                "frozen_host_ns": totals.frozen_host_ns,
                "wall_host_s": round(self.wall_host_s, 6),
                "job_host_s": round(job.host_s, 6),
            },
            "statistics": {disk: dict(values) for disk, values in self.statistics.items()},
        }


class RunObserver:
    """Who is told how a run goes along, in the caller's thread. By itself it does nothing."""

    def preparing(self, step: str, done: int, total: int) -> None:
        """Something is being made that later runs will find ready."""

    def running(self, totals: Totals, meters: Sequence[DiskMeter]) -> None:
        """Some twenty times a second while the job runs; the meters are of the recorded disks."""

    def output(self, stdout: bytes, stderr: bytes) -> None:
        """What the job has printed since the last call."""


def run(plan: RunPlan, observer: RunObserver, terminal: socket.socket | None = None) -> RunResult:
    """Run a plan to its end.

    With ``terminal``, somebody types on the guest's serial console: what comes of the plan then
    depends on what is typed, and when.

    Raises:
        InputError: the plan cannot be run.
        RunError: something failed on the way.
    """
    with contextlib.ExitStack() as ownership:
        return _run(plan, observer, terminal, ownership)


def _run(
    plan: RunPlan,
    observer: RunObserver,
    terminal: socket.socket | None,
    ownership: contextlib.ExitStack,
) -> RunResult:
    """As :func:`run`; ``ownership`` is of the run's directory, to the last word written there."""
    start_s = time.monotonic()
    find_qemu(plan.qemu)
    with contextlib.ExitStack() as cleanup:
        saved = _find_saved(plan)
        if plan.system is not None:
            plan.system.check()
        elif saved is None:
            require_image(plan.guest)
        if plan.save_as is not None:
            require_free_name(plan.save_as)
        image = None
        if saved is not None:
            image = saved_image(saved, plan.system, observer.preparing)
            require_machine_fits(saved, _config(plan, image))
        disks = _open_disks(plan, saved, cleanup)
        job = _make_job(plan, cleanup)
        if plan.out is not None:
            ownership.enter_context(_prepared_directory(plan.out, collects=bool(plan.collect)))
        if image is None:
            image = _image(plan, observer.preparing)
        config = _config(plan, image)

        snapshot = _snapshot(plan, saved, image, config, observer, cleanup)
        root = open_root(image, plan.root_device, plan.seed + len(disks), snapshot, cleanup)
        record = _open_record(plan, disks, cleanup)
        sampler = StatisticsSampler({disk.plan.name: disk.plan.device for disk in disks})

        meter = RunMeter(_recorded_names(plan, disks), CONTROL_DISK_INDEX + 1)

        def on_completed(completed: CompletedRequest) -> None:
            record(completed)
            meter.note(completed)
            sampler.note(completed.delivery_ns)

        machine = cleanup.enter_context(
            Machine(
                config,
                [disk.plan for disk in disks],
                root=None if root is None else root.plan,
                snapshot=snapshot,
                terminal=terminal,
                on_completed=on_completed,
            )
        )
        version = machine.qemu_version()
        ready_ns = machine.get_ready(lambda: observer.preparing("boot the guest", 0, 1))

        stdout_path = None if plan.out is None else plan.out / STDOUT_NAME
        output = JobOutput(machine.stdout, machine.stderr, observer.output, stdout_path)

        def tick() -> None:
            output.pass_on()
            observer.running(machine.totals, meter.disks)

        with output:
            ended = machine.run_job(
                job, limit_ns=plan.limit_ns, host_limit_s=plan.host_limit_s, on_tick=tick
            )
        observer.running(machine.totals, meter.disks)
        collected = Collected()
        if plan.out is not None and plan.collect:
            collected = unpack_collected(
                machine.collected,
                plan.out / COLLECTED_DIRECTORY,
                limit_bytes=plan.collect_limit_bytes,
            )
        if plan.save_as is not None and not ended.exit_status:
            save(plan.save_as, machine, config, ended.stop_ns, disks, root)
        for disk in disks:
            require_in_place(disk.plan.medium, written=disk.spec.writable)
    # The machine is closed: nothing drives the devices any more.
    sampler.finish(ended.totals.now_ns)
    result = RunResult(
        plan,
        ended,
        time.monotonic() - start_s,
        image,
        version,
        ready_ns,
        collected.names,
        collected.left_out,
        sampler.totals(),
    )
    if plan.out is not None:
        _write_document(plan.out, result, sampler)
    return result


def _image(plan: RunPlan, progress: Progress) -> GuestImage:
    if find_image(plan.guest) is None:
        require_qemu(plan.qemu)  # before anything is fetched and built for it in vain
    if plan.system is not None:
        return ready_own_image(plan.guest, plan.system, progress)
    return ready_image(plan.guest, progress)


def _config(plan: RunPlan, image: GuestImage) -> MachineConfig:
    return MachineConfig(
        image,
        plan.memory_bytes,
        plan.rate_hz,
        plan.cpu_count,
        plan.qemu,
        plan.medium_deadline_s,
        plan.boot_deadline_s,
    )


def _find_saved(plan: RunPlan) -> SavedMachine | None:
    if plan.start_from is None:
        return None
    saved = find_saved(plan.start_from)
    if plan.fresh_boot:
        raise InputError(f"--from {saved.name}: goes on from a snapshot; leave out --boot")
    named_by = plan.guest if plan.system is None else str(plan.system.root_disk)
    require_options_fit(saved, plan.guest, named_by, plan.memory_bytes, plan.cpu_count)
    return saved


def _snapshot(
    plan: RunPlan,
    saved: SavedMachine | None,
    image: GuestImage,
    config: MachineConfig,
    observer: RunObserver,
    cleanup: contextlib.ExitStack,
) -> Snapshot | None:
    if saved is not None:
        return saved.snapshot
    if plan.fresh_boot:
        return None
    return ready_snapshot(
        image,
        config,
        lambda machine: observer.preparing("boot the guest once", machine.totals.now_ns, 0),
        cleanup,
        lambda holder: observer.preparing(holder, 0, 1),
    )


def _controller(spec: DiskSpec) -> dict[str, object]:
    return {
        "frontend": spec.frontend,
        "write_cache": spec.write_cache,
        "queue_depth": spec.queues.depth,
        "queues": spec.queues.count,
        "traits": asdict(spec.traits),
    }


def _open_disks(
    plan: RunPlan, saved: SavedMachine | None, cleanup: contextlib.ExitStack
) -> list[OpenDisk]:
    specs = plan.disks if saved is None else like_saved(plan.disks, saved)
    if plan.save_as is not None:
        require_savable(plan.save_as, specs)
    taken = [] if plan.root_device is None else [ROOT_DISK_NAME]
    kept = saved is not None or plan.save_as is not None
    disks = open_disks(specs, plan.seed, taken, kept=kept, cleanup=cleanup)
    if saved is not None:
        saved.check(cleanup)
        load_saved(disks, saved)
    return disks


def _make_job(plan: RunPlan, cleanup: contextlib.ExitStack) -> Job:
    if plan.collect and plan.out is None:
        raise InputError("--collect: the files go to the run directory; name it with --out DIR")
    if any("\n" in pattern for pattern in plan.collect):
        raise InputError("--collect: a pattern has a line end in it; give --collect several times")
    files = None
    if plan.job_directory is not None:
        files = pack(plan.job_directory)
        cleanup.callback(files.close)
    variables = {"FREEZINGTIME_SEED": str(plan.seed)}
    # A file that was changed is to be whole for whoever reads it next.
    is_written = any(spec.writable for spec in plan.disks)
    return Job(
        plan.script,
        variables,
        files,
        plan.collect,
        plan.collect_limit_bytes,
        sync=is_written or plan.save_as is not None,
        unmount=is_written,
    )


@contextlib.contextmanager
def _prepared_directory(out: Path, *, collects: bool) -> Iterator[None]:
    """The run's directory, with nothing in it of another run's; ours until the block is left."""
    with contextlib.ExitStack() as ours:
        try:
            out.mkdir(parents=True, exist_ok=True)
            ours.enter_context(locked_run_directory(out))
            _empty_directory(out, collects=collects)
        except OSError as error:
            raise _cannot_write(out, error) from error
        yield


def _empty_directory(out: Path, *, collects: bool) -> None:
    if (out / DOCUMENT_NAME).exists():
        raise InputError(f"--out {out}: holds a run already; name another directory or remove it")
    if collects and os.path.lexists(out / COLLECTED_DIRECTORY):
        raise InputError(
            f"--out {out}: holds {COLLECTED_DIRECTORY!r}, which --collect is to make; "
            "name another directory or remove it"
        )
    (out / STDOUT_NAME).write_bytes(b"")
    # What a run before this one has left must not pass for this one's.
    record = out / RECORD_NAME
    for left in (record, stream_path(record), out / STATISTICS_NAME):
        left.unlink(missing_ok=True)


def _cannot_write(out: Path, error: OSError) -> InputError:
    return InputError(f"--out {out}: cannot write there ({error.strerror}); name another directory")


def _recorded_names(plan: RunPlan, disks: Sequence[OpenDisk]) -> list[str]:
    """The disks whose requests are completed, in their order."""
    root = [] if plan.root_device is None else [ROOT_DISK_NAME]
    return [*(disk.plan.name for disk in disks), *root]


def _open_record(
    plan: RunPlan, disks: Sequence[OpenDisk], cleanup: contextlib.ExitStack
) -> Callable[[CompletedRequest], None]:
    if plan.out is None:
        return lambda completed: None
    recorded = [RecordedDisk(disk.plan.name, disk.spec.text) for disk in disks]
    if plan.root_device is not None:
        recorded.append(RecordedDisk(ROOT_DISK_NAME, plan.root_device.text))
    header = RecordHeader(recorded, plan.seed, plan.rate_hz)
    try:
        file = RecordFile(plan.out / RECORD_NAME, header)
    except OSError as error:
        raise _cannot_write(plan.out, error) from error
    return cleanup.enter_context(LiveRecord(file, CONTROL_DISK_INDEX + 1)).write


def _write_document(out: Path, result: RunResult, sampler: StatisticsSampler) -> None:
    try:
        if result.statistics:
            from freezingtime.trace.statistics_file import write_statistics

            write_statistics(out / STATISTICS_NAME, sampler.rows())
        with replaced(out / DOCUMENT_NAME) as file:
            file.write(json.dumps(result.as_dict(), indent=2).encode() + b"\n")
    except OSError as error:
        raise RunError(
            f"cannot write the results to {out}: {error.strerror or error}; "
            "free some space, or name another --out"
        ) from error
