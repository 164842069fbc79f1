# SPDX-License-Identifier: GPL-2.0-or-later
"""Device statistics over a run, in a Parquet file beside its record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.host.replaced_file import replaced
from freezingtime.trace.damage import damage_named, require_columns
from freezingtime.trace.record_schema import WORDS
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


def write_statistics(path: Path, rows: Sequence[tuple[str, int, str, float]]) -> None:
    """Write the rows, whole or not at all.

    Raises:
        OSError: they cannot be written.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrays = [
        pa.array(values, pa.string()).dictionary_encode().cast(field.type)
        if field.type == WORDS
        else pa.array(values, field.type)
        for values, field in zip(columns, STATISTICS_COLUMNS, strict=True)
    ]
    table = pa.Table.from_arrays(arrays, schema=STATISTICS_COLUMNS)
    with replaced(path) as sink:
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)


def read_statistics(directory: Path) -> pa.Table | None:
    """The statistics of a run's directory; None if there are none.

    Raises:
        InputError: the file is damaged.
    """
    path = directory / STATISTICS_NAME
    if not path.is_file():
        return None
    with damage_named(path), pa.OSFile(os.fsencode(path)) as source:
        table = pq.read_table(source, page_checksum_verification=True)
    require_columns(path, table.schema, STATISTICS_COLUMNS)
    return table
