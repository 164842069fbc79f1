# SPDX-License-Identifier: GPL-2.0-or-later
"""From the stream of a run that has ended to its Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.host.replaced_file import replaced

# A compromise between memory here, and skipping of rows and compression in readers.
_ROW_GROUP_ROWS = 1 << 17
NO_METADATA: Mapping[bytes, bytes] = MappingProxyType({})


def stream_to_parquet(
    stream: Path, parquet: Path, metadata: Mapping[bytes, bytes] = NO_METADATA
) -> None:
    """Copy a whole stream into a Parquet file and remove it.

    ``metadata`` go into its schema, beside the stream's. ``parquet`` appears in one instant,
    complete. Memory: two row groups.

    Raises:
        OSError: the file cannot be written; the stream is as it was.
    """
    with (
        pa.OSFile(os.fsencode(stream)) as source,
        pa.ipc.open_stream(source) as reader,
        replaced(parquet) as sink,
        pq.ParquetWriter(sink, _with(reader.schema, metadata), **_encoded(reader.schema)) as writer,
    ):
        for table in _row_groups(reader):
            writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
    stream.unlink()


def _encoded(schema: pa.Schema) -> dict[str, Any]:
    """How columns are written.

    Times, offsets and counters go up in small steps: their differences take half of the space, and
    a third of the time, of the dictionaries that a writer tries first.
    """
    numbers = [field.name for field in schema if pa.types.is_int64(field.type)]
    return {
        "compression": "zstd",
        "write_page_checksum": True,
        "column_encoding": dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        "use_dictionary": [field.name for field in schema if field.name not in numbers],
    }


def _with(schema: pa.Schema, metadata: Mapping[bytes, bytes]) -> pa.Schema:
    return schema.with_metadata({**(schema.metadata or {}), **metadata})


def _row_groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    row_count = 0
    for batch in reader:
        batches.append(batch)
        row_count += batch.num_rows
        if row_count >= _ROW_GROUP_ROWS:
            table = pa.Table.from_batches(batches)
            yield table.slice(0, _ROW_GROUP_ROWS)
            batches = table.slice(_ROW_GROUP_ROWS).to_batches()
            row_count -= _ROW_GROUP_ROWS
    if batches:
        yield pa.Table.from_batches(batches)
