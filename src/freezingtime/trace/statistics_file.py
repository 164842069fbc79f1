"""What devices said of themselves during a run, in a Parquet file beside its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.errors import InputError
from freezingtime.trace.output import replaced
from freezingtime.trace.run_directory import STATISTICS_NAME

_WORDS = pa.dictionary(pa.int16(), pa.string())

#: One row for each statistic of a disk's device at a guest time; docs/record.md has the names.
STATISTICS_COLUMNS = pa.schema(
    [
        pa.field("disk", _WORDS, nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("statistic", _WORDS, nullable=False),
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
        if field.type == _WORDS
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
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: is damaged: {reason[0]}; repeat the run") from error
    missing = set(STATISTICS_COLUMNS.names) - set(table.column_names)
    if missing:
        raise InputError(f"{path}: is damaged: it has no column {', '.join(sorted(missing))}")
    return table
