# SPDX-License-Identifier: GPL-2.0-or-later
"""A device's cells in a guest: requests of each cell's kind, and how long the guest had each for.

Every cell has a disk of its own, over memory that is made slower than the device; one job runs
fio on one after the other. The latency of a request is its D2C: from the doorbell of the guest's
driver to its interrupt, as the record has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from freezingtime.calibrate.guest_job import Observer, run_fio
from freezingtime.calibrate.latency_cells import Cell
from freezingtime.clock.kind import ClockKind
from freezingtime.device.trace_device import OperationClass
from freezingtime.disk.disk import Disk
from freezingtime.errors import RunError
from freezingtime.frontend import DEFAULT_QUEUES
from freezingtime.request import Operation
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.result import RunResult
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.record_columns import Columns, read_disks
from freezingtime.trace.record_reader import open_record
from freezingtime.vm.qemu.command import DISKS_MAX

#: The deepest queue of a guest's disk.
DEPTH_MAX = DEFAULT_QUEUES.depth
#: The largest request that all guests' block layers pass on in one piece.
SIZE_MAX_BYTES = 1 << 20

_DISK_BYTES = 1 << 30
# The guest's kernel reads the beginning and the end of a disk by itself.
_MARGIN_BYTES = 1 << 20
_DISKS_AT_ONCE = min(24, DISKS_MAX)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_OPERATIONS = {OperationClass.READ: Operation.READ, OperationClass.WRITE: Operation.WRITE}
_PATTERNS = {OperationClass.READ: "randread", OperationClass.WRITE: "randwrite"}
_COLUMNS = ("operation", "offset_bytes", "length_bytes", "arrival_ns", "delivery_ns")


@dataclass(frozen=True, slots=True)
class GuestLoad:
    """Load that fio makes in the guest."""

    disk: Disk
    """The device, and what the guest sees of it."""
    cells: Sequence[Cell]
    requests: Sequence[int]
    """How many of each cell."""
    delay: str | None
    """How slow the medium is, as in ``--disk``; None: twice each cell's mean."""
    cpus: int
    run: RunOptions


@dataclass(frozen=True, slots=True)
class GuestLatencies:
    """Latencies that the guest's requests had."""

    latency_ns: Sequence[IntColumn]
    """Of each cell, in order of arrival."""
    request_count: int
    frozen_host_ns: int
    """How long guest time stood still for the medium."""
    clock: ClockKind
    """The clock that the guest had."""


def reason_not_comparable(cell: Cell) -> str | None:
    """Explain why a cell cannot be run in a guest; return None if it can."""
    if cell.operation_class not in _OPERATIONS:
        return "the guest only runs reads and writes"
    if cell.depth > DEPTH_MAX:
        return f"a guest's disk has a queue of {DEPTH_MAX}"
    if cell.size_bytes > SIZE_MAX_BYTES or cell.size_bytes % 512:
        return f"requests must be whole sectors, of {SIZE_MAX_BYTES} bytes at most"
    return None


def run_in_guest(load: GuestLoad, out: Path, observer: Observer) -> GuestLatencies:
    """Run all cells; the directory ``out`` is left with a run for each 24 of them.

    Raises:
        InputError: the run cannot be made.
        RunError: it failed, or is not valid.
    """
    latencies_ns: list[IntColumn] = []
    request_count = frozen_host_ns = 0
    clock = ClockKind.EXACT
    for first in range(0, len(load.cells), _DISKS_AT_ONCE):
        chosen = slice(first, first + _DISKS_AT_ONCE)
        cells, counts = load.cells[chosen], load.requests[chosen]
        directory = out if len(load.cells) <= _DISKS_AT_ONCE else out / str(first)
        directory.parent.mkdir(parents=True, exist_ok=True)
        result = _run(load, cells, counts, directory, observer)
        request_count += result.totals.request_count
        frozen_host_ns += result.totals.frozen_host_ns
        clock = result.clock
        disks = read_disks(open_record(directory), _COLUMNS, lambda notice: None)
        latencies_ns += [_latencies(cell, disks[_name(n)]) for n, cell in enumerate(cells)]
    return GuestLatencies(latencies_ns, request_count, frozen_host_ns, clock)


def _run(
    load: GuestLoad,
    cells: Sequence[Cell],
    counts: Sequence[int],
    out: Path,
    observer: Observer,
) -> RunResult:
    disks = [_disk(load, number, cell) for number, cell in enumerate(cells)]
    plan = make_plan(
        replace(load.run, disks=disks, cpus=load.cpus, out=out),
        script=guest_script(cells, counts, load.run.seed).encode(),
    )
    step = f"guest with {load.cpus} CPU{'s' if load.cpus > 1 else ''}"
    result = run_fio(plan, step, sum(counts), observer)
    if (reason := result.reason_invalid) is not None:
        raise RunError(f"the run is not valid: {reason}; its record is in {out}")
    return result


def guest_script(cells: Sequence[Cell], counts: Sequence[int], seed: int) -> str:
    """Return the job: fio for one cell after the other, each on its own disk."""
    size_bytes = _DISK_BYTES - 2 * _MARGIN_BYTES
    lines = ["#!/bin/sh", "set -e"]
    for number, (cell, count) in enumerate(zip(cells, counts, strict=True)):
        options = {
            "name": _name(number),
            "filename": f"/dev/vd{_LETTERS[number]}",
            "rw": _PATTERNS[cell.operation_class],
            "bs": cell.size_bytes,
            "iodepth": cell.depth,
            "number_ios": count,
            "randseed": seed + number + 1,
            "ioengine": "libaio",
            "direct": 1,
            "offset": _MARGIN_BYTES,
            "size": size_bytes,
            "io_size": "1t",
            "output": "/dev/null",
        }
        settings = " ".join(f"--{key}={value}" for key, value in options.items())
        lines.append(f"fio --norandommap --thread {settings}")
    return "\n".join(lines) + "\n"


def _disk(load: GuestLoad, number: int, cell: Cell) -> Disk:
    delay = load.delay or 2 * round(float(cell.latency_ns.mean()))
    return replace(load.disk, size=_DISK_BYTES, delay=delay, name=_name(number))


def _name(number: int) -> str:
    return f"cell{number}"


def _latencies(cell: Cell, columns: Columns) -> IntColumn:
    """Return a cell's requests, without the guest kernel's own."""
    offset_bytes = columns["offset_bytes"]
    ours = (
        (columns["operation"] == _OPERATIONS[cell.operation_class])
        & (columns["length_bytes"] == cell.size_bytes)
        & (offset_bytes >= _MARGIN_BYTES)
        & (offset_bytes < _DISK_BYTES - _MARGIN_BYTES)
    )
    if not ours.any():
        raise RunError(f"{cell.name}: the guest made no such request")
    arrival_ns = columns["arrival_ns"][ours]
    order = arrival_ns.argsort(kind="stable")
    latency_ns: IntColumn = (columns["delivery_ns"][ours] - arrival_ns)[order]
    return latency_ns
