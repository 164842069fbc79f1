# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a record, batch by batch: the Parquet file of a run, or the stream of a killed one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.errors import InputError
from freezingtime.host.file_formats import HEAD_BYTES, TAIL_BYTES, recognize
from freezingtime.host.os_errors import os_errors_as
from freezingtime.trace.damage import damage_named, require_columns
from freezingtime.trace.record_header import RecordHeader, parse_header
from freezingtime.trace.record_paths import RECORD_NAME, find_record, is_parquet, is_record
from freezingtime.trace.record_schema import KVM_COLUMNS, schema_of
from freezingtime.units import counted

#: Called with a one-line notice for the user about what was read.
Notify: TypeAlias = Callable[[str], None]

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Record:
    """A record that can be read, as often as needed."""

    path: Path
    header: RecordHeader
    is_finished: bool
    """False: the run was killed, or is still running."""
    size_bytes: int
    schema: pa.Schema
    """All its columns, in their order."""
    request_count: int
    """As the file says at its end; 0 of a stream, which does not say, and is not compressed."""

    def batches(
        self, columns: Sequence[str], notify: Notify, progress: Callable[[int, int], None]
    ) -> Iterator[pa.RecordBatch]:
        """The requests in order of delivery, some columns of them.

        ``notify`` is called if a killed run left no more than this; ``progress`` gets
        bytes read and in all.

        Raises:
            InputError: the record is damaged. A last batch that was not written to its end
                is no damage.
        """
        with damage_named(self.path), pa.OSFile(os.fsencode(self.path)) as source:
            read = _parquet_batches if self.is_finished else _stream_batches
            row_count = 0
            for batch in read(source, columns):
                batch.validate(full=True)
                row_count += batch.num_rows
                yield batch
                progress(min(source.tell(), self.size_bytes), self.size_bytes)
        if not self.is_finished:
            notify(
                f"{self.path}: the run was killed, or is still running: read up to its "
                f"last flush: {counted(row_count, 'request')}"
            )


def open_record(path: Path) -> Record:
    """Open the record of a run's directory, or the record at ``path`` itself.

    Raises:
        InputError: there is none, it is damaged, or it is one of another version.
    """
    file = find_record(path)
    is_finished = is_parquet(file)
    size_bytes = file.stat().st_size
    if not size_bytes:
        raise InputError(f"{file}: is empty: the run was killed before it started; repeat it")
    if not is_finished and not is_record(file):
        known = recognize(*_ends(file))
        what = "is no record" if known is None else f"is {known.name}, and no record"
        raise InputError(f"{file}: {what}; name a run's directory or its {RECORD_NAME}")
    with damage_named(file), pa.OSFile(os.fsencode(file)) as source:
        if is_finished:
            metadata = pq.read_metadata(source)
            schema, request_count = metadata.schema.to_arrow_schema(), metadata.num_rows
        else:
            schema, request_count = pa.ipc.open_stream(source).schema, 0
    header = parse_header(str(file), schema.metadata)
    written = schema_of(header)
    # Records of KVM from before there were its columns lack them.
    optional = {field.name for field in KVM_COLUMNS if field.name not in schema.names}
    written = pa.schema([field for field in written if field.name not in optional])
    require_columns(file, schema, written)
    return Record(file, header, is_finished, size_bytes, written, request_count)


def _ends(file: Path) -> tuple[bytes, bytes]:
    """The first and last bytes of a file."""
    with os_errors_as(InputError, file, "name a readable record"), file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
        opened.seek(max(0, file.stat().st_size - TAIL_BYTES))
        return head, opened.read(TAIL_BYTES)


def _parquet_batches(source: pa.OSFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))


def _stream_batches(source: pa.OSFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(source) as reader:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowException, OSError):
                if source.tell() == source.size():
                    return  # the end of the last batch was never written
                raise
            yield batch.select(list(columns))
