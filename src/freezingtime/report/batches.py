# SPDX-License-Identifier: GPL-2.0-or-later
"""A record's requests, some thousand at a time, apart by disk and operation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from freezingtime.annotation import UNKNOWN, HeldBy, ServedFrom
from freezingtime.errors import InputError
from freezingtime.request import FaultKind
from freezingtime.request_figures import ALL
from freezingtime.trace.record_reader import Notify, Record
from freezingtime.trace.record_schema import OPERATION_WORDS

#: Columns of requests in order of delivery: those of the record that are numbers, what the device
#: says in the numbers of :mod:`~freezingtime.annotation`, and ``latency_ns``, from arrival to
#: delivery, and ``moved_bytes``, of reads and writes.
Columns: TypeAlias = Mapping[str, NDArray[Any]]

_NEVER_NEGATIVE = ("length_bytes", "warped_ns", "frozen_host_ns", "medium_host_ns", "queue_depth")
# Annotations of the device; -1 where there is none.
_SAID = {"held_by": HeldBy, "served_from": ServedFrom}
#: What was done to a request by a device that fails on purpose; -1: nothing.
FAULT = "fault"
_COLUMNS = ("arrival_ns", "completion_ns", "delivery_ns", *_NEVER_NEGATIVE, "on_time")
_READ = ("disk", "operation", *_COLUMNS, "held_ns", *_SAID)
_CODES = {word: code for code, word in enumerate(OPERATION_WORDS)}
_MOVING_DATA = ("read", "write")


def read_batches(
    record: Record, limit: int | None, notify: Notify
) -> Iterator[Mapping[str, Mapping[str, Columns]]]:
    """The requests by disk and operation, and of each disk :data:`ALL`.

    At most ``limit`` in total, since a running run keeps adding requests.

    Raises:
        InputError: the record is damaged.
    """
    left = limit
    read = [*_READ, FAULT] if record.header.has_faults else [*_READ]
    for batch in record.batches(read, notify, lambda done, total: None):
        wanted = batch if left is None else batch.slice(0, left)
        if left is not None:
            left -= len(wanted)
        if len(wanted):
            yield _by_disk(record, wanted)


def _by_disk(record: Record, batch: pa.RecordBatch) -> dict[str, dict[str, Columns]]:
    columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in _COLUMNS}
    _check(record, columns)
    columns["held_ns"] = batch.column("held_ns").fill_null(UNKNOWN).to_numpy()
    columns |= {name: _codes(record, batch.column(name), words) for name, words in _SAID.items()}
    if record.header.has_faults:
        columns[FAULT] = _codes(record, batch.column(FAULT), FaultKind)
    else:
        columns[FAULT] = np.full(len(batch), UNKNOWN, np.int8)
    operations = _rows_by_word(record, batch.column("operation"), OPERATION_WORDS)
    moves = np.zeros(len(batch), np.bool_)
    for name in _MOVING_DATA:
        moves |= operations.get(name, False)
    columns["latency_ns"] = columns["delivery_ns"] - columns["arrival_ns"]
    columns["moved_bytes"] = columns["length_bytes"] * moves
    known = [disk.name for disk in record.header.disks]
    return {
        disk: {
            operation: {name: values[of_disk & of_operation] for name, values in columns.items()}
            for operation, of_operation in [*operations.items(), (ALL, of_disk)]
            if np.any(of_disk & of_operation)
        }
        for disk, of_disk in _rows_by_word(record, batch.column("disk"), known).items()
    }


def _rows_by_word(
    record: Record, words: pa.DictionaryArray, known: Collection[str]
) -> dict[str, NDArray[np.bool_]]:
    """Map each word to the rows that have it; words without rows are absent."""
    names = words.dictionary.to_pylist()
    codes = words.indices.to_numpy(zero_copy_only=False)
    rows = {names[code]: codes == code for code in np.unique(codes).tolist()}
    for name in rows:
        if name not in known:
            raise _damaged(record, f"{name} is neither a disk of the run nor an operation")
    return rows


def _codes(record: Record, column: pa.DictionaryArray, words: type[IntEnum]) -> NDArray[np.int8]:
    """The numbers of a column's words."""
    names = [name.upper() for name in column.dictionary.to_pylist()]
    unknown = set(names) - set(words.__members__)
    if unknown:
        raise _damaged(record, f"{unknown.pop().lower()} is not a column of a request")
    # The last one is where the index -1 leads.
    codes = np.array([*(words[name] for name in names), UNKNOWN], np.int8)
    found: NDArray[np.int8] = codes[column.indices.fill_null(-1).to_numpy()]
    return found


def _check(record: Record, columns: Columns) -> None:
    for later in ("completion_ns", "delivery_ns"):
        if np.any(columns["arrival_ns"] > columns[later]):
            raise _damaged(record, f"a request has arrival_ns after {later}")
    for name in _NEVER_NEGATIVE:
        if np.any(columns[name] < 0):
            raise _damaged(record, f"a request has a negative {name}")


def _damaged(record: Record, reason: str) -> InputError:
    return InputError(f"{record.path}: is damaged: {reason}; repeat the run")
