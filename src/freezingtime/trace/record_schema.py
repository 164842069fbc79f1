"""The columns of a record, and how requests become them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from freezingtime.emulator import CompletedRequest
from freezingtime.request import Operation
from freezingtime.trace.record_header import RecordHeader

_WORDS = pa.dictionary(pa.int16(), pa.string())

#: One row per request, in order of delivery; docs/record.md says what they mean. The names
#: and their order, but for the disk, are those of :class:`CompletedRequest`.
COLUMNS = pa.schema(
    [
        pa.field("disk", _WORDS, nullable=False),
        pa.field("operation", _WORDS, nullable=False),
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
    ]
)

OPERATION_WORDS = tuple(operation.name.lower() for operation in Operation)

_CODES = np.zeros(max(Operation) + 1, np.int16)
_CODES[list(Operation)] = range(len(Operation))


class Batches:
    """Makes batches of one record: the dictionaries must be the same objects in all of them."""

    def __init__(self, header: RecordHeader) -> None:
        self.schema = COLUMNS.with_metadata(header.metadata())
        self._disks = pa.array([disk.name for disk in header.disks], pa.string())
        self._operations = pa.array(OPERATION_WORDS, pa.string())

    def of_requests(
        self, requests: Sequence[CompletedRequest], first_disk_index: int
    ) -> pa.RecordBatch:
        """Requests as the emulator hands them over; the disks of the record begin at an index."""
        disk, operation, *others = zip(*requests, strict=True)
        disks = np.asarray(disk, np.int16) - first_disk_index
        return self._batch(disks, np.asarray(operation, np.uint8), others)

    def of_columns(
        self,
        disk_index: int,
        operations: NDArray[np.uint8],
        columns: Mapping[str, NDArray[np.generic]],
    ) -> pa.RecordBatch:
        """Requests of one disk as columns, named as in the record."""
        disks = np.full(len(operations), disk_index, np.int16)
        return self._batch(disks, operations, [columns[name] for name in COLUMNS.names[2:]])

    def _batch(
        self,
        disks: NDArray[np.int16],
        operations: NDArray[np.uint8],
        others: Sequence[Sequence[object] | NDArray[np.generic]],
    ) -> pa.RecordBatch:
        arrays = [
            pa.DictionaryArray.from_arrays(disks, self._disks),
            pa.DictionaryArray.from_arrays(_CODES[operations], self._operations),
        ]
        arrays += [
            pa.array(values, field.type)
            for values, field in zip(others, list(COLUMNS)[2:], strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)
