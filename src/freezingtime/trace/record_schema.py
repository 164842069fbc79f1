# SPDX-License-Identifier: GPL-2.0-or-later
"""The columns of a record, and how requests become them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from freezingtime.annotation import EMPTY_ANNOTATION, UNKNOWN, HeldBy, ServedFrom
from freezingtime.device.annotations.columns import ANNOTATION, Annotations
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.request import FaultKind, Operation
from freezingtime.trace.record_header import RecordHeader

#: The type of a column with few different words.
WORDS = pa.dictionary(pa.int16(), pa.string())


def column_of(
    values: Sequence[object] | NDArray[np.generic],
    kind: pa.DataType,
    is_null: NDArray[np.bool_] | None = None,
) -> pa.Array:
    """Return values as ``pa.array`` does, which imports pandas: that takes longer than a short run.

    ``kind`` is a number's, a bool's or a string's. Arrays of that kind are not copied.
    """
    if pa.types.is_string(kind):
        words = [str(value).encode() for value in values]
        ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
        parts = [ends, np.frombuffer(b"".join(words), np.uint8)]
    elif pa.types.is_boolean(kind):
        parts = [np.packbits(np.asarray(values, np.bool_), bitorder="little")]
    else:
        parts = [np.ascontiguousarray(values, np.dtype(str(kind)))]
    there = None
    if is_null is not None and is_null.any():
        there = pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [there, *map(pa.py_buffer, parts)])


#: Annotations of a request; null where the device has none.
ANNOTATION_COLUMNS = (
    pa.field("service_start_ns", pa.int64()),
    pa.field("held_ns", pa.int64()),
    pa.field("held_by", WORDS),
    pa.field("served_from", WORDS),
    pa.field("die", pa.int16()),
    pa.field("channel", pa.int16()),
    pa.field("member", pa.int16()),
)
_ANNOTATION_WORDS = {
    "held_by": column_of([word.name.lower() for word in HeldBy], pa.string()),
    "served_from": column_of([word.name.lower() for word in ServedFrom], pa.string()),
    "fault": column_of([word.name.lower() for word in FaultKind], pa.string()),
}

#: One row per request, in order of delivery; docs/reference/record says what they mean. The names
#: and their order, but for the disk, are those of :class:`CompletedRequest` and of
#: :class:`~freezingtime.annotation.Annotation`. The same goes for :data:`KVM_COLUMNS`.
COLUMNS = pa.schema(
    [
        pa.field("disk", WORDS, nullable=False),
        pa.field("operation", WORDS, nullable=False),
        pa.field("offset_bytes", pa.int64(), nullable=False),
        pa.field("length_bytes", pa.int64(), nullable=False),
        pa.field("fua", pa.bool_(), nullable=False),
        pa.field("queue_depth", pa.int32(), nullable=False),
        pa.field("arrival_ns", pa.int64(), nullable=False),
        pa.field("completion_ns", pa.int64(), nullable=False),
        pa.field("delivery_ns", pa.int64(), nullable=False),
        pa.field("warped_ns", pa.int64(), nullable=False),
        pa.field("frozen_host_ns", pa.int64(), nullable=False),
        pa.field("medium_host_ns", pa.int64(), nullable=False),
        pa.field("on_time", pa.bool_(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        *ANNOTATION_COLUMNS,
    ]
)

#: What was done to a request by a device that fails on purpose; null: nothing. Only in records of
#: runs in which one was to.
FAULT_COLUMN = pa.field("fault", WORDS)

#: More columns, of a run under the KVM clock. Records from before there were any lack them.
KVM_COLUMNS = pa.schema(
    [
        pa.field("taken_out_ns", pa.int64(), nullable=False),
        pa.field("left_in_ns", pa.int64(), nullable=False),
    ]
)

# All but the disk, the operation, and the annotations.
_OTHERS = list(COLUMNS)[2 : -len(ANNOTATION_COLUMNS)]

OPERATION_WORDS = tuple(operation.name.lower() for operation in Operation)

_CODES = np.zeros(max(Operation) + 1, np.int16)
_CODES[list(Operation)] = range(len(Operation))


def schema_of(header: RecordHeader) -> pa.Schema:
    """The columns of a record with that header."""
    faults = [FAULT_COLUMN] if header.has_faults else []
    return pa.schema([*COLUMNS, *faults, *([] if header.is_repeatable else KVM_COLUMNS)])


class Batches:
    """Makes batches of one record: the dictionaries must be the same objects in all of them."""

    def __init__(self, header: RecordHeader) -> None:
        self._has_faults = header.has_faults
        self._has_kvm_columns = not header.is_repeatable
        self.schema = schema_of(header).with_metadata(header.metadata())
        self._disks = column_of([disk.name for disk in header.disks], pa.string())
        self._operations = column_of(OPERATION_WORDS, pa.string())

    def of_requests(
        self, requests: Sequence[CompletedRequest], first_disk_index: int
    ) -> pa.RecordBatch:
        """Requests as the emulator hands them over; the disks of the record begin at an index."""
        disk, operation, *others, annotation, fault, taken_out_ns, left_in_ns = zip(
            *requests, strict=True
        )
        disks = np.asarray(disk, np.int16) - first_disk_index
        annotations = np.fromiter((said or EMPTY_ANNOTATION for said in annotation), ANNOTATION)
        faults = np.fromiter((UNKNOWN if each is None else each.kind for each in fault), np.int8)
        operations = np.asarray(operation, np.uint8)
        kvm = (taken_out_ns, left_in_ns)
        return self._batch(disks, operations, others, annotations, faults, kvm)

    def of_columns(
        self,
        disk_index: int,
        operations: NDArray[np.uint8],
        columns: Mapping[str, NDArray[np.generic]],
        annotations: Annotations,
        faults: NDArray[np.int8] | None = None,
    ) -> pa.RecordBatch:
        """Return requests of one disk as columns, named as in the record; annotations apart.

        ``faults`` are the kinds of their faults; None: they have none.
        """
        disks = np.full(len(operations), disk_index, np.int16)
        others = [columns[field.name] for field in _OTHERS]
        if faults is None:
            faults = np.full(len(operations), UNKNOWN, np.int8)
        return self._batch(disks, operations, others, annotations, faults)

    def of_batch(self, disk_index: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return requests of another record's only disk, as those of one of this record's."""
        arrays = []
        for field in self.schema:
            if field.name == "disk":
                indices = column_of(np.full(batch.num_rows, disk_index, np.int16), pa.int16())
                arrays.append(pa.DictionaryArray.from_arrays(indices, self._disks))
            elif field.name not in batch.schema.names:  # no fault of that disk's
                arrays.append(pa.nulls(batch.num_rows, field.type))
            elif field.type == WORDS:
                words = self._words(field.name)
                column = batch.column(field.name).dictionary_decode()
                indices = pc.index_in(column, words).cast(pa.int16())
                arrays.append(pa.DictionaryArray.from_arrays(indices, words))
            else:
                arrays.append(batch.column(field.name))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _words(self, name: str) -> pa.Array:
        return self._operations if name == "operation" else _ANNOTATION_WORDS[name]

    def _batch(
        self,
        disks: NDArray[np.int16],
        operations: NDArray[np.uint8],
        others: Sequence[Sequence[object] | NDArray[np.generic]],
        annotations: Annotations,
        faults: NDArray[np.int8],
        kvm: Sequence[Sequence[object]] = (),
    ) -> pa.RecordBatch:
        arrays = [
            pa.DictionaryArray.from_arrays(column_of(disks, pa.int16()), self._disks),
            pa.DictionaryArray.from_arrays(
                column_of(_CODES[operations], pa.int16()), self._operations
            ),
        ]
        arrays += [
            column_of(values, field.type) for values, field in zip(others, _OTHERS, strict=True)
        ]
        arrays += [_said(annotations[field.name], field) for field in ANNOTATION_COLUMNS]
        if self._has_faults:
            arrays.append(_said(faults, FAULT_COLUMN))
        if self._has_kvm_columns:
            arrays += [
                column_of(values, field.type)
                for values, field in zip(kvm, KVM_COLUMNS, strict=True)
            ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _said(values: NDArray[np.generic], field: pa.Field) -> pa.Array:
    """Return a column of annotations: null where there is none."""
    is_null = values == UNKNOWN
    words = _ANNOTATION_WORDS.get(field.name)
    if words is None:
        return column_of(values, field.type, is_null)
    return pa.DictionaryArray.from_arrays(column_of(values, pa.int16(), is_null), words)
