# SPDX-License-Identifier: GPL-2.0-or-later
"""From a log of a real device, or our own record, to latencies."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from freezingtime.errors import InputError
from freezingtime.trace.readers.block import biosnoop, blkparse, ftrace
from freezingtime.trace.readers.block.latency import block_latencies
from freezingtime.trace.readers.fio import json_output
from freezingtime.trace.readers.fio.jobs import read_fio_job
from freezingtime.trace.readers.hints import NO_HINTS, Hints
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.lines import Lines
from freezingtime.trace.readers.table import csv_latency, msr
from freezingtime.trace.readers.table.msr_latency import read_msr
from freezingtime.trace.readers.text import LINE_MAX, bounded_lines, opened
from freezingtime.trace.record_paths import is_record

#: What can be read, in words.
KNOWN = (
    "fio's latency logs (--write_lat_log) and JSON, the text of blkparse, ftrace and biosnoop, CSV "
    "with a column of latencies, the CSV of MSR Cambridge, and the record of a run"
)

_FIO_LOG_LINE = re.compile(r"\d+ *, *\d+ *, *[0-2] *, *\d+( *, *\w+){0,3}")
_FIO_JSON_MAX_BYTES = 1 << 28
_BLANK_LINES_MAX = 1000


def recognizes(path: Path) -> bool:
    """Return whether there is a log at ``path``, by its first line or, of a record, its content.

    Raises:
        InputError: the file cannot be read.
    """
    if is_record(path):
        return path.is_file()
    with opened(path) as (_, text):
        return _kind_of(text.readline(1 << 12).strip()) is not None


def read_latencies(
    path: Path,
    *,
    depth: int | None = None,
    disk: str | None = None,
    hints: Hints = NO_HINTS,
    notify: Callable[[str], None] = lambda notice: None,
) -> Latencies:
    """Read the latencies in a file of any known kind; text may be gzipped.

    ``depth`` is the queue depth of all requests; None: as the log says, or as follows from it.
    ``disk`` picks the requests of one disk, by the log's own name for it. ``hints`` say what the
    log does not.

    Raises:
        InputError: the file is of no known kind or has no latencies, a line is wrong, there are
            several disks to choose from, or there is no request in it.
    """
    latencies = (
        _read_record(path, disk, notify)
        if is_record(path)
        else _read_text(path, disk, depth, hints)
    )
    if not len(latencies):
        raise InputError(f"{path}: contains no request with a latency; name another log")
    if depth is None:
        return latencies
    return replace(latencies, depth=np.full(len(latencies), depth, np.int64))


def _kind_of(first_line: str) -> str | None:
    for kind, known in _KINDS.items():
        if known(first_line):
            return kind
    return None


_KINDS: dict[str, Callable[[str], bool]] = {
    "blkparse": blkparse.recognizes,
    "ftrace": ftrace.recognizes,
    "biosnoop": biosnoop.recognizes,
    "msr": msr.recognizes,
    "csv": csv_latency.recognizes,
    "fio-log": lambda line: _FIO_LOG_LINE.fullmatch(line) is not None,
    "fio-json": json_output.recognizes,
}
_DISKS_READERS = {
    "blkparse": block_latencies(blkparse.events),
    "ftrace": block_latencies(ftrace.events),
    "biosnoop": biosnoop.read_biosnoop,
    "msr": read_msr,
    "csv": csv_latency.read_csv,
}


def _read_text(path: Path, disk: str | None, depth: int | None, hints: Hints) -> Latencies:
    # Opened once: what was read of a pipe to find out what it is, does not come again.
    with opened(path) as (_, text):
        begun = _first_lines(text)
        if json_output.recognizes(begun[-1].strip()):
            content = "".join(begun) + text.read(_FIO_JSON_MAX_BYTES)
            return replace(json_output.read_fio_json(path, content, depth), format_name="fio-json")
        lines = Lines(str(path), bounded_lines(str(path), text, begun), hints)
        first_line = next(iter(lines.peek()), "")
        kind = _kind_of(first_line)
        if kind == "fio-log":
            return read_fio_job(path, lines, depth)
        if kind in _DISKS_READERS:
            latencies, disks = _DISKS_READERS[kind](lines, disk)
            _check_disk(path, disk, disks)
            return replace(
                latencies,
                format_name=kind,
                notes=(*latencies.notes, *lines.notes),
                facts=(*latencies.facts, *lines.facts),
            )
    shown = first_line[:60]
    what = f"begins with {shown!r}" if shown else "is empty"
    raise InputError(f"{path}: has no latencies: it {what}; available: {KNOWN}")


def _first_lines(text: TextIO) -> list[str]:
    """The first line that is not blank, with the blank ones before it, of which few are looked at.

    It may be cut off: JSON of many pages may be one line.
    """
    begun = [text.readline(LINE_MAX)]
    while begun[-1].isspace() and len(begun) < _BLANK_LINES_MAX:
        begun.append(text.readline(LINE_MAX))
    return begun


def _check_disk(path: Path, disk: str | None, disks: set[str]) -> None:
    names = ", ".join(sorted(disks))
    if disk is not None and disks and disk not in disks:
        raise InputError(f"--trace-disk {disk}: no such disk in {path}; available: {names}")
    if disk is None and len(disks) > 1:
        raise InputError(f"{path}: has several disks; choose with --trace-disk: {names}")


def _read_record(path: Path, disk: str | None, notify: Callable[[str], None]) -> Latencies:
    # Imported here, since pyarrow takes its time and other logs do without.
    from freezingtime.trace.record_columns import read_disk, take_in_order

    names = ("operation", "length_bytes", "queue_depth", "arrival_ns", "delivery_ns", "sequence")
    columns = read_disk(path, names, disk=disk, option="--trace-disk", notify=notify).columns
    operation, length_bytes, depth, arrival_ns, delivery_ns = take_in_order(columns, names[:-1])
    return Latencies(
        operation,
        length_bytes,
        depth.astype(np.int64, copy=False),
        delivery_ns - arrival_ns,
        np.ones(len(operation), np.bool_),
        span_ns=int(np.ptp(arrival_ns)) if len(operation) > 1 else None,
        format_name="record",
    )
