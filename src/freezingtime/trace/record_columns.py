# SPDX-License-Identifier: GPL-2.0-or-later
"""The requests of a record as numpy columns, disk by disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from freezingtime.errors import InputError
from freezingtime.host.memory.free_memory import free_memory_bytes
from freezingtime.request import Operation
from freezingtime.trace.record_reader import Notify, Record, open_record

# What a request takes at the most while it is read, simulated and summed up.
_BYTES_PER_REQUEST = 200

#: By name, as in the record; ``operation`` holds :class:`Operation` values.
Columns: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class DiskRequests:
    """Some columns of one disk's requests, in order of delivery."""

    name: str
    columns: Columns


def read_disk(
    path: Path,
    columns: Sequence[str],
    *,
    disk: str | None,
    option: str,
    notify: Notify,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DiskRequests:
    """The requests of one disk, of which there is at least one.

    ``disk`` may be left out where there are requests of one only; ``option`` is what the
    user chooses it with. ``path``, ``notify`` and ``progress`` are as in
    :mod:`~freezingtime.trace.record_reader`.

    Raises:
        InputError: there is no such record, disk or request, or the record is damaged.
    """
    record = open_record(path)
    check_disk(record, disk, option)
    _require_room(record, disk)
    parts = []
    seen: set[str] = set()
    for batch in record.batches(["disk", *columns], notify, progress):
        rows, present = _rows_of(batch.column("disk"), disk)
        seen |= present
        parts.append(
            {name: _values(batch.column(name))[rows] for name in columns} if present else {}
        )
    name = _only(seen, record, disk, option)
    return DiskRequests(name, _joined([part for part in parts if part], columns))


def read_disks(record: Record, columns: Sequence[str], notify: Notify) -> dict[str, Columns]:
    """The requests of every disk of the record, in order of delivery, also of one without any.

    Raises:
        InputError: the record is damaged, or has requests of a disk that its header lacks.
    """
    _require_room(record, None)
    parts: dict[str, list[dict[str, NDArray[Any]]]] = {
        disk.name: [] for disk in record.header.disks
    }
    for batch in record.batches(["disk", *columns], notify, lambda done, total: None):
        values = {name: _values(batch.column(name)) for name in columns}
        _, present = _rows_of(batch.column("disk"), None)
        for disk in present:
            if disk not in parts:
                raise InputError(f"{record.path}: is damaged: no disk {disk!r}; repeat the run")
            rows, _ = _rows_of(batch.column("disk"), disk)
            parts[disk].append({name: column[rows] for name, column in values.items()})
    return {disk: _joined(found, columns) for disk, found in parts.items()}


def take_in_order(columns: Columns, names: Sequence[str]) -> list[NDArray[Any]]:
    """The columns of these names in the order of ``sequence``, which is that of arrival."""
    sequence = columns["sequence"]
    if np.all(sequence[1:] >= sequence[:-1]):
        return [columns[name] for name in names]
    order = np.argsort(sequence, kind="stable")
    return [columns[name][order] for name in names]


def _joined(parts: Sequence[dict[str, NDArray[Any]]], columns: Sequence[str]) -> Columns:
    """The parts as one; column by column, so that little is there twice."""
    if not parts:
        return {name: np.empty(0, np.int64) for name in columns}
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in columns}


def _require_room(record: Record, disk: str | None) -> None:
    """Require enough memory for the requests: a small file may hold very many.

    Raises:
        InputError: there is not enough.
    """
    free_bytes = free_memory_bytes()
    if record.request_count * _BYTES_PER_REQUEST <= free_bytes:
        return
    count = record.request_count
    if disk is not None:
        batches = record.batches(["disk"], lambda notice: None, lambda done, total: None)
        rows = (_rows_of(batch.column("disk"), disk)[0] for batch in batches)
        count = sum(
            int(np.count_nonzero(wanted)) for wanted in rows if not isinstance(wanted, slice)
        )
    if count * _BYTES_PER_REQUEST > free_bytes:
        sizes_bytes = (count * _BYTES_PER_REQUEST, free_bytes)
        needed, free = (f"{size_bytes / 2**30:.1f} GiB" for size_bytes in sizes_bytes)
        raise InputError(
            f"{record.path}: has {count} requests, which need up to {needed} of memory; {free} "
            "are free; 'freezingtime report' needs no memory for each"
        )


def check_disk(record: Record, disk: str | None, option: str) -> None:
    """Raise InputError if ``disk``, as chosen with ``option``, is none of the record's."""
    names = [recorded.name for recorded in record.header.disks]
    if disk is not None and disk not in names:
        raise InputError(
            f"{option} {disk}: no such disk in {record.path}; available: {', '.join(names)}"
        )


def _rows_of(
    words: pa.DictionaryArray, disk: str | None
) -> tuple[slice | NDArray[np.bool_], set[str]]:
    """Return the matching rows, and their disks."""
    names = words.dictionary.to_pylist()
    indices = _values(words.indices)
    present = {names[index] for index in np.unique(indices)}
    if disk is None:
        return slice(None), present
    wanted = [index for index, name in enumerate(names) if name == disk]
    return np.isin(indices, wanted), present & {disk}


def _values(column: pa.Array) -> NDArray[Any]:
    """A column in numpy; of operations, their values."""
    if not isinstance(column, pa.DictionaryArray):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    codes = [Operation[word.upper()] for word in column.dictionary.to_pylist()]
    values: NDArray[Any] = np.asarray(codes, np.uint8)[_values(column.indices)]
    return values


def _only(seen: set[str], record: Record, disk: str | None, option: str) -> str:
    """The one disk that there were requests of."""
    if not seen:
        of_disk = "" if disk is None else f" of disk {disk}"
        raise InputError(f"{record.path}: contains no requests{of_disk}; name another record")
    if len(seen) > 1:
        raise InputError(
            f"{record.path}: contains several disks; "
            f"choose with {option}: {', '.join(sorted(seen))}"
        )
    return next(iter(seen))
