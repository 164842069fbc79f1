# SPDX-License-Identifier: GPL-2.0-or-later
"""Measurements of a run's requests: the record, disk meters, device statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from freezingtime.disk.spec import DiskSpec
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.runs.disks import OpenDisk, devices_of_job, faulty_devices
from freezingtime.runs.guest import ROOT_DISK_NAME
from freezingtime.runs.output_directory import cannot_write
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress.disk_tally import DiskTally
from freezingtime.runs.progress.meter import RunMeter
from freezingtime.simulate.statistics_sampler import StatisticsSampler
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader
from freezingtime.trace.record_paths import RECORD_NAME
from freezingtime.vm.service import CONTROL_DISK_INDEX

_FIRST_DISK_INDEX = CONTROL_DISK_INDEX + 1


class Measurement:
    """Notes each request of a run's recorded disks as it completes."""

    def __init__(
        self,
        plan: RunPlan,
        disks: Sequence[OpenDisk],
        cleanup: contextlib.ExitStack,
        *,
        root: OpenDisk | None = None,
        is_kvm: bool = False,
    ) -> None:
        """Open the record, if the run leaves one; ``cleanup`` closes it.

        ``root``: the guest's root disk, if it has one.

        Raises:
            InputError: it cannot be written.
        """
        self._root_device = plan.root_device
        recorded = _recorded_disks(self._root_device, _named(disks))
        record = _open_record(plan, recorded, is_kvm=is_kvm)
        self._record = None if record is None else cleanup.enter_context(record)
        self.meter = RunMeter([disk.name for disk in recorded], _FIRST_DISK_INDEX)
        self.tallies = [DiskTally(disk.name) for disk in recorded]
        """The figures of each recorded disk."""
        self.statistics = StatisticsSampler({disk.plan.name: disk.plan.device for disk in disks})

        self._faulty = faulty_devices(disks if root is None else [*disks, root])
        every = disks if root is None else [*disks, root]
        self._waiting = devices_of_job(every)
        for device in self._waiting:
            device.await_start()
        self._names = [disk.plan.name for disk in disks]
        self.on_started: Callable[[int], None] = lambda now_ns: None
        """Called when the job starts, with that guest time."""
        self.hit_counts: dict[str, list[tuple[str, int]]] = {}
        """At the end, by disk that was to fail: each rule, and how many requests it has hit."""
        self._is_finished = False

    def finish(self, now_ns: int) -> None:
        """Take the last figures of the devices, once. The machine is stopped, or closed."""
        if self._is_finished:
            return
        self._is_finished = True
        self.statistics.finish(now_ns)
        self.hit_counts = {name: device.hit_counts() for name, device in self._faulty.items()}

    def start(self, now_ns: int) -> None:
        """The job starts, its figures, and what is to fail. Emulator's thread."""
        self.on_started(now_ns)
        for device in self._waiting:
            device.start(now_ns)
        for tally in self.tallies:
            tally.start(now_ns)

    def note_changed(self, specs: Sequence[DiskSpec]) -> None:
        """Have the record say that the disks are these by now. Emulator's thread."""
        if self._record is not None:
            recorded = _recorded_disks(self._root_device, zip(self._names, specs, strict=True))
            self._record.file.header = replace(self._record.file.header, disks=recorded)

    def note(self, completed: CompletedRequest) -> None:
        """Keep what there is to keep of a request. Emulator's thread."""
        if self._record is not None:
            self._record.write(completed)
        self.meter.note(completed)
        self.tallies[completed.disk_index - _FIRST_DISK_INDEX].note(completed)
        self.statistics.note(completed.delivery_ns)


def _named(disks: Sequence[OpenDisk]) -> Iterator[tuple[str, DiskSpec]]:
    return ((disk.plan.name, disk.spec) for disk in disks)


def _recorded_disks(
    root_device: DiskSpec | None, disks: Iterable[tuple[str, DiskSpec]]
) -> list[RecordedDisk]:
    """Return the disks whose requests are noted, in the order of their indices."""
    specs = list(disks)
    if root_device is not None:
        specs.append((ROOT_DISK_NAME, root_device))
    return [
        RecordedDisk(name, spec.text, spec.device.fault_texts, spec.device.change_texts)
        for name, spec in specs
    ]


def _open_record(
    plan: RunPlan, recorded: Sequence[RecordedDisk], *, is_kvm: bool
) -> LiveRecord | None:
    if plan.out is None:
        return None
    header = RecordHeader(
        disks=recorded,
        seed=plan.seed,
        cpu_rate_hz=None if is_kvm else plan.rate_hz,
        is_repeatable=not is_kvm,
    )
    try:
        file = RecordFile(plan.out / RECORD_NAME, header)
    except OSError as error:
        raise cannot_write(plan.out, error) from error
    return LiveRecord(file, _FIRST_DISK_INDEX)
