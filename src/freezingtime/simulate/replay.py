# SPDX-License-Identifier: GPL-2.0-or-later
"""One trace or workload on any number of devices, one after the other, without a guest.

Every device starts new and idle and gets the same requests; where a workload does not say
how much of a disk it uses, they are spread over all of each. Nothing here knows how a
trace is written or a device works: this is the order in which the parts are used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from freezingtime.device.base import Device, statistics_of
from freezingtime.device.changes.change import unreached
from freezingtime.device.faults.faulty_device import FaultyDevice
from freezingtime.disk.disk import Disk
from freezingtime.disk.spec import DiskSpec, check_disk
from freezingtime.errors import InputError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.replaced_file import replaced_path, require_place
from freezingtime.simulate.generator import RequestGenerator
from freezingtime.simulate.simulate import (
    ClosedLoopHost,
    Progress,
    Simulation,
    simulate_closed_loop,
    simulate_open_loop,
)
from freezingtime.simulate.statistics_sampler import NO_SAMPLES, StatisticsSampler
from freezingtime.simulate.workload import Workload
from freezingtime.trace.readers import NO_HINTS, Hints, OnReading, Trace, read_trace
from freezingtime.trace.readers.reading import ignore_reading
from freezingtime.trace.record_file import RecordFile, StatisticsRow
from freezingtime.trace.record_header import RecordedDisk, RecordHeader
from freezingtime.trace.record_paths import stream_path

#: Progress callback: the step, and how much of how much is done.
Observer: TypeAlias = Callable[[str, int, int], None]

#: Disk size if neither the workload nor the device gives one.
DISK_BYTES_DEFAULT = 16 << 30

# The size of a disk that must only be large enough is a multiple of that.
_DISK_UNIT_BYTES = 1 << 20
_RECORD_SLICE = 1 << 14

#: The option that names a device; in sweeps and gates it is another.
DEVICE_OPTION = "--device"


@dataclass(frozen=True, slots=True)
class TraceSource:
    """A recorded trace and how to replay it."""

    path: Path
    format_name: str | None = None
    """None: find out by the content."""
    disk: str | None = None
    """Which of the trace's disks; None if there is one only."""
    queue_depth: int | None = None
    """Closed loop with that many requests in flight; None: open loop, at recorded times."""
    speed_up: Fraction = Fraction(1)
    """Open loop only: arrival times are divided by it."""
    hints: Hints = NO_HINTS
    """Units and codes missing in the trace."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """Result of a replay on one device."""

    device: str
    simulation: Simulation
    statistics: dict[str, float]
    """Statistics of the device, if any: write amplification, cache hits."""
    host_s: float
    """Host time of the simulation alone."""
    samples: Sequence[StatisticsRow] = ()
    """The statistics over guest time, if they were asked for."""
    faults: Sequence[tuple[str, int]] = ()
    """Each rule of faults of the device, and how many requests it hit."""
    unreached: Sequence[str] = ()
    """The changes of the device whose time had not come when the last request completed."""


@dataclass(frozen=True, slots=True)
class _Load:
    """Load of every device; ``run`` gets the device, its size in bytes, and its sampler."""

    run: Callable[[Device, int, Progress, StatisticsSampler], Simulation]
    disk_bytes: int
    """The size of a device that goes with any."""


def replay(
    source: TraceSource | Workload,
    devices: Sequence[Disk | str],
    *,
    seed: int,
    observer: Observer,
    notify: Callable[[str], None],
    on_reading: OnReading = ignore_reading,
    trace: Trace | None = None,
    with_samples: bool = False,
    option: str = DEVICE_OPTION,
) -> Iterator[Replayed]:
    """Run the requests on each device; the results come as they are ready.

    ``with_samples``: take samples of the devices' statistics. ``trace`` is what
    :func:`read_source` has read, if that is done. ``devices`` are as in the option ``--device``, or
    what messages call ``option``.
    ``seed`` feeds the devices, and the workload where it has no seed of its own. ``notify`` and
    ``on_reading`` are those of :func:`read_trace`.

    Raises:
        InputError: a device, the trace or the workload is not right, or they do not go
            together. All of that is found out before the first device runs, except what
            only building a device shows.
        RunError: a device broke its contract.
    """
    candidates = [check_device(device, option) for device in devices]
    if isinstance(source, Workload):
        load = _workload_load(source, candidates, seed)
    else:
        if trace is None:
            progress = partial(observer, f"reading {source.path}")
            trace = read_source(source, progress, notify, on_reading)
        load = _trace_load(source, trace, candidates)
    return (
        _replay_on(candidate, load, seed, observer, with_samples=with_samples)
        for candidate in candidates
    )


def read_source(
    source: TraceSource,
    progress: Callable[[int, int], None],
    notify: Callable[[str], None],
    on_reading: OnReading,
) -> Trace:
    """Read the file of a source; which requests it has depends on nothing else of the source's.

    Raises:
        InputError: as :func:`read_trace` does.
    """
    return read_trace(
        source.path,
        format_name=source.format_name,
        disk=source.disk,
        hints=source.hints,
        progress=progress,
        notify=notify,
        on_reading=on_reading,
    )


def check_device(device: Disk | str, option: str = DEVICE_OPTION) -> DiskSpec:
    """Check a ``--device`` option: a ``--disk`` option without the keys for guests."""
    spec = check_disk(device, f"{option} {device}: ")
    if spec.delay or spec.name or spec.mount or spec.file:
        problem = "replay moves no data; of the disk's keys, only size= applies"
        raise InputError(f"{spec.given.place}{problem}")
    return spec


def _workload_load(workload: Workload, candidates: Sequence[DiskSpec], seed: int) -> _Load:
    """A workload on devices that are large enough for it."""
    generator = partial(RequestGenerator, workload, seed=seed)
    needed_bytes = workload.offset_bytes + (workload.size_bytes or workload.longest_bytes)
    for candidate in candidates:
        # Report errors now rather than when its turn comes.
        generator(disk_bytes=candidate.capacity_bytes or needed_bytes)

    def run_open(
        device: Device, disk_bytes: int, progress: Progress, sampler: StatisticsSampler
    ) -> Simulation:
        trace = generator(disk_bytes=disk_bytes).trace()
        if not len(trace):
            raise InputError(f"--workload: {workload.text}: no request arrives; raise time=")
        return simulate_open_loop(device, trace, progress, sampler)

    def run_closed(
        device: Device, disk_bytes: int, progress: Progress, sampler: StatisticsSampler
    ) -> Simulation:
        return simulate_closed_loop(
            device,
            generator(disk_bytes=disk_bytes).batches(),
            ClosedLoopHost(workload.queue_depth or 1, workload.device_depth, workload.think_ns),
            count=workload.count,
            end_ns=workload.time_ns,
            progress=progress,
            sampler=sampler,
        )

    run = run_open if workload.queue_depth is None else run_closed
    return _Load(run, max(DISK_BYTES_DEFAULT, needed_bytes))


def _trace_load(
    source: TraceSource,
    trace: Trace,
    candidates: Sequence[DiskSpec],
) -> _Load:
    """A recorded trace, on devices that are large enough for it."""
    for candidate in candidates:
        _check_fits(trace, source, candidate)
    disk_bytes = -(-trace.end_bytes // _DISK_UNIT_BYTES) * _DISK_UNIT_BYTES
    queue_depth = source.queue_depth
    if queue_depth is not None:
        return _Load(
            lambda device, _size, progress, sampler: simulate_closed_loop(
                device, [trace], queue_depth, count=len(trace), progress=progress, sampler=sampler
            ),
            disk_bytes,
        )
    if not trace.has_arrival_times:
        raise InputError(
            f"{source.path}: all requests arrive at once, so there are no times to keep; "
            "use --closed-loop QD"
        )
    sped_up = trace if source.speed_up == 1 else trace.sped_up(source.speed_up)
    return _Load(
        lambda device, _size, progress, sampler: simulate_open_loop(
            device, sped_up, progress, sampler
        ),
        disk_bytes,
    )


def _check_fits(trace: Trace, source: TraceSource, candidate: DiskSpec) -> None:
    capacity_bytes = candidate.capacity_bytes
    if capacity_bytes is not None and trace.end_bytes > capacity_bytes:
        raise InputError(
            f"{candidate.given.place}has {capacity_bytes} bytes, but {source.path} "
            f"reaches {trace.end_bytes}; use a larger device or add size="
        )


def _replay_on(
    candidate: DiskSpec, load: _Load, seed: int, observer: Observer, *, with_samples: bool
) -> Replayed:
    observer(f"building {candidate.text}", 0, 0)
    size_bytes = candidate.capacity_bytes or load.disk_bytes
    device = candidate.device.build(seed, size_bytes)
    sampler = StatisticsSampler({candidate.text: device}) if with_samples else NO_SAMPLES
    start_s = time.perf_counter()
    simulation = load.run(device, size_bytes, partial(observer, candidate.text), sampler)
    host_s = time.perf_counter() - start_s
    statistics = statistics_of(device)
    faults = device.hit_counts() if isinstance(device, FaultyDevice) else ()
    shown = faults if candidate.device.faults else ()
    left = unreached(candidate.device.changes, int(simulation.completion_ns.max(initial=0)))
    return Replayed(candidate.text, simulation, statistics, host_s, sampler.rows(), shown, left)


def check_out(source: TraceSource | Workload, out: Path) -> None:
    """Find out before the work begins whether the record can be there.

    Raises:
        InputError: it cannot, or it would replace the trace itself.
    """
    require_place("--out", out)
    if isinstance(source, TraceSource) and out.exists() and out.samefile(source.path):
        raise InputError(f"--out {out}: is the trace itself; name another file")


@contextmanager
def open_new_record(
    path: Path, devices: Sequence[str], source: TraceSource | Workload, *, seed: int
) -> Iterator[RecordFile]:
    """A record for what :func:`write_record` appends; at ``path`` once the block is left.

    Until then, and for good if an exception leaves the block, what was there stays there.

    Raises:
        InputError: it cannot be written there.
        RunError: it could not be completed.
    """
    header = RecordHeader(
        disks=[
            RecordedDisk(device, device, described.fault_texts, described.change_texts)
            for device in devices
            for described in [check_device(device).device]
        ],
        seed=seed,
        source=source.text if isinstance(source, Workload) else source.path.name,
    )
    require_place("--out", path)
    with replaced_path(path) as partial:
        with os_errors_as(InputError, f"--out {path}", "name a file in a directory"):
            record = RecordFile(partial, header, shown_path=path)
        try:
            with record:
                yield record
        except BaseException:
            with suppress(OSError):  # what has ended the block is what counts
                stream_path(partial).unlink()
            raise


def write_record(
    record: RecordFile, disk_index: int, replayed: Replayed, observer: Observer
) -> None:
    """Append the requests to a record, in order of completion; all were delivered on time.

    The samples of the device's statistics go with them.

    Raises:
        RunError: the record cannot be written.
    """
    record.statistics += replayed.samples
    simulation = replayed.simulation
    trace = simulation.trace
    queue_depth = simulation.queue_depth()
    order = np.argsort(simulation.completion_ns, kind="stable")
    for start in range(0, len(order), _RECORD_SLICE):
        rows = order[start : start + _RECORD_SLICE]
        zeros = np.zeros(len(rows), np.int64)
        completion_ns = simulation.completion_ns[rows]
        batch = record.batches.of_columns(
            disk_index,
            trace.operation[rows],
            {
                "offset_bytes": trace.offset_bytes[rows],
                "length_bytes": trace.length_bytes[rows],
                "fua": trace.fua[rows],
                "queue_depth": queue_depth[rows],
                "arrival_ns": trace.arrival_ns[rows],
                "completion_ns": completion_ns,
                "delivery_ns": completion_ns,
                "warped_ns": zeros,
                "frozen_host_ns": zeros,
                "medium_host_ns": zeros,
                "on_time": np.ones(len(rows), np.bool_),
                "sequence": rows,
            },
            simulation.annotations[rows],
            None if simulation.fault_kinds is None else simulation.fault_kinds[rows],
        )
        try:
            record.append(batch)
        except OSError as error:
            raise record.cannot_write(error) from error
        observer("writing the record", start, len(order))


def copy_record(record: RecordFile, disk_index: int, source: Path, observer: Observer) -> None:
    """Append all of a record of one device to a record, as of its device of that number.

    Raises:
        InputError: the record at ``source`` is damaged.
        RunError: the record cannot be written.
    """
    from freezingtime.trace.record_reader import open_record
    from freezingtime.trace.statistics_file import read_statistics

    samples = read_statistics(source)
    if samples is not None:
        record.statistics += [
            (row["disk"], row["time_ns"], row["statistic"], row["value"])
            for row in samples.to_pylist()
        ]
    read = open_record(source)
    step = "writing the record"
    batches = read.batches(read.schema.names, lambda _notice: None, partial(observer, step))
    for batch in batches:
        try:
            record.append(record.batches.of_batch(disk_index, batch))
        except OSError as error:
            raise record.cannot_write(error) from error
