# SPDX-License-Identifier: GPL-2.0-or-later
"""Device statistics over a run: in a Parquet file beside its record, or in that of a replay.

A replay's record is one file, so they are in the metadata of its schema: an Arrow stream, as text,
since other programs' readers of Parquet take nothing else there.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.errors import InputError
from freezingtime.host.replaced_file import replaced
from freezingtime.trace.damage import damage_named, require_columns
from freezingtime.trace.record_file import StatisticsRow
from freezingtime.trace.record_paths import find_record, is_parquet
from freezingtime.trace.record_schema import WORDS, column_of
from freezingtime.trace.run_directory import STATISTICS_NAME

#: One row for each statistic of a disk's device at a guest time (docs/reference/record).
STATISTICS_COLUMNS = pa.schema(
    [
        pa.field("disk", WORDS, nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("statistic", WORDS, nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)


#: In the metadata of a record's schema.
_KEY = b"freezingtime.statistics"


def write_statistics(path: Path, rows: Sequence[StatisticsRow]) -> None:
    """Write the rows, whole or not at all.

    Raises:
        OSError: they cannot be written.
    """
    with replaced(path) as sink:
        pq.write_table(_table(rows), sink, compression="zstd", write_page_checksum=True)


def statistics_metadata(rows: Sequence[StatisticsRow]) -> dict[bytes, bytes]:
    """Return the rows as metadata of a record's schema."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, STATISTICS_COLUMNS, options=options) as writer:
        writer.write_table(_table(rows))
    return {_KEY: base64.b64encode(sink.getvalue())}


def read_statistics(path: Path) -> pa.Table | None:
    """The statistics of a run's directory, or of the record of a replay; None if there are none.

    Raises:
        InputError: the file is damaged, or there is no record.
    """
    return _read_beside(path / STATISTICS_NAME) if path.is_dir() else _read_within(path)


def _table(rows: Sequence[StatisticsRow]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrays = [
        column_of(values, pa.string()).dictionary_encode().cast(field.type)
        if field.type == WORDS
        else column_of(values, field.type)
        for values, field in zip(columns, STATISTICS_COLUMNS, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=STATISTICS_COLUMNS)


def _read_within(path: Path) -> pa.Table | None:
    file = find_record(path)
    if not is_parquet(file):  # of one that was killed
        return None
    with damage_named(file), pa.OSFile(os.fsencode(file)) as source:
        text = (pq.read_schema(source).metadata or {}).get(_KEY)
        if text is None:
            return None
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise InputError(f"{file}: is damaged: its statistics; repeat the replay") from error
        with pa.ipc.open_stream(content) as reader:
            table = reader.read_all()
            table.validate(full=True)
    require_columns(file, table.schema, STATISTICS_COLUMNS)
    return table


def _read_beside(path: Path) -> pa.Table | None:
    if not path.is_file():
        return None
    with damage_named(path), pa.OSFile(os.fsencode(path)) as source:
        table = pq.read_table(source, page_checksum_verification=True)
    require_columns(path, table.schema, STATISTICS_COLUMNS)
    return table
