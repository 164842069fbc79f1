# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a run, written in another tool's format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from freezingtime.errors import InputError, did_you_mean
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.replaced_file import replaced, require_place
from freezingtime.trace.record_columns import DiskRequests, read_disk
from freezingtime.trace.record_paths import find_record
from freezingtime.trace.record_reader import Notify
from freezingtime.trace.writers import block_events, fio
from freezingtime.trace.writers.blkparse import blkparse_text
from freezingtime.trace.writers.blktrace import SUFFIX, blktrace_binary
from freezingtime.trace.writers.format_names import EXPORT_FORMATS
from freezingtime.trace.writers.record_csv import record_csv

_DISK_OPTION = "--disk"
_CSV = "csv"
_BLKTRACE = "blktrace"

# Columns that each format needs, and its writer.
_WRITERS: dict[str, tuple[Sequence[str], Callable[[DiskRequests], Iterator[bytes]]]] = {
    "fio-lat": (fio.LATENCY_COLUMNS, fio.fio_latency_log),
    "fio-iolog": (fio.IOLOG_COLUMNS, fio.fio_iolog),
    "blkparse": (block_events.COLUMNS, blkparse_text),
    _BLKTRACE: (block_events.COLUMNS, blktrace_binary),
}


def export(path: Path, format_name: str, out: Path, *, disk: str | None, notify: Notify) -> Path:
    """Write the record of a run's directory, or the record at ``path``, to ``out``.

    ``disk`` may be left out where there is one only, and for CSV. The file appears when it
    is complete. Returns where it is: a blktrace's name must end in ``.blktrace.0``, so that
    is added. Memory: of CSV, one batch; else some 150 bytes for each request.

    Raises:
        InputError: there is no such format, record or disk, the record is damaged or does
            not fit the format, or nothing can be written there.
    """
    if format_name not in EXPORT_FORMATS:
        known = ", ".join(EXPORT_FORMATS)
        raise InputError(
            f"--format {format_name}: unknown format; "
            f"{did_you_mean(format_name, EXPORT_FORMATS)}available: {known}"
        )
    target = out.with_name(f"{out.name}{SUFFIX}") if format_name == _BLKTRACE else out
    require_place("--out", target)
    if target.exists() and target.samefile(find_record(path)):
        raise InputError(f"--out {target}: is the record itself; name another file")
    chunks = _chunks(path, format_name, disk, notify)
    cure = "name a file in a directory with room"
    with os_errors_as(InputError, f"--out {target}", cure), replaced(target) as file:
        file.writelines(chunks)
    return target


def _chunks(path: Path, format_name: str, disk: str | None, notify: Notify) -> Iterator[bytes]:
    if format_name == _CSV:
        return record_csv(path, disk, _DISK_OPTION, notify)
    columns, write = _WRITERS[format_name]
    return write(read_disk(path, columns, disk=disk, option=_DISK_OPTION, notify=notify))
