# SPDX-License-Identifier: GPL-2.0-or-later
"""The record itself as CSV: its columns, by their names, with a header line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from freezingtime.trace.record_columns import check_disk
from freezingtime.trace.record_reader import Notify, open_record


def record_csv(path: Path, disk: str | None, option: str, notify: Notify) -> Iterator[bytes]:
    """The file, some lines at a time; the requests of one disk, or of all.

    Raises:
        InputError: there is no such record or disk, or the record is damaged.
    """
    record = open_record(path)
    check_disk(record, disk, option)
    yield f"{','.join(record.schema.names)}\n".encode()
    options = pa.csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in record.batches(record.schema.names, notify, lambda done, total: None):
        table = pa.Table.from_batches([batch])
        if disk is not None:
            table = table.filter(pc.equal(table["disk"].cast(pa.string()), disk))
        chunk = io.BytesIO()
        pa.csv.write_csv(table.cast(_csv_schema(table.schema)), chunk, options)
        yield chunk.getvalue()


def _csv_schema(schema: pa.Schema) -> pa.Schema:
    """Words as they are, and yes and no as 1 and 0."""
    fields = []
    for field in schema:
        if pa.types.is_dictionary(field.type):
            fields.append(pa.field(field.name, pa.string()))
        elif pa.types.is_boolean(field.type):
            fields.append(pa.field(field.name, pa.uint8()))
        else:
            fields.append(pa.field(field.name, field.type))
    return pa.schema(fields)
