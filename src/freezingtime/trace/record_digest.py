# SPDX-License-Identifier: GPL-2.0-or-later
"""A digest of a record: of all that the same run gives every time, on whatever host.

That is every column but ``frozen_host_ns`` and ``medium_host_ns``, which are host times; the
header, which names our version, is not among it either.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freezingtime.trace.record_reader import open_record

if TYPE_CHECKING:
    from hashlib import _Hash as _Digest

    from _typeshed import ReadableBuffer

#: Host times, which no two executions share.
HOST_COLUMNS = ("frozen_host_ns", "medium_host_ns")


def record_digest(path: Path) -> str:
    """SHA-256 of a record's requests, in order of delivery, without their host times.

    ``path``: a run's directory, or the record itself.

    Raises:
        InputError: there is none, or it is damaged.
    """
    record = open_record(path)
    names = [name for name in record.schema.names if name not in HOST_COLUMNS]
    # One for each part of each column: in how many batches they come must make no difference.
    digests: dict[str, _Digest] = defaultdict(hashlib.sha256)
    for batch in record.batches(names, lambda notice: None, lambda done, total: None):
        for name in names:
            for part, content in _plain(batch.column(name)).items():
                digests[f"{name} {part}"].update(content)
    text = json.dumps({name: digest.hexdigest() for name, digest in digests.items()})
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(column: pa.Array) -> dict[str, ReadableBuffer]:
    """The bytes of a column: which values are missing, and the others."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    parts = {"missing": _missing(column)}
    if not pa.types.is_string(column.type):
        if column.null_count:
            column = pc.fill_null(column, pa.scalar(0).cast(column.type))
        return parts | {"values": column.to_numpy(zero_copy_only=False)}
    words = pc.fill_null(column, "") if column.null_count else column
    lengths = pc.binary_length(words).to_numpy(zero_copy_only=False)
    ends = np.frombuffer(words.buffers()[1], np.int32)[words.offset :][: len(words) + 1]
    letters = words.buffers()[2]
    text = b"" if letters is None else memoryview(letters)[ends[0] : ends[-1]]
    return parts | {"lengths": lengths, "text": text}


def _missing(column: pa.Array) -> ReadableBuffer:
    """A byte for each value: 1 if it is missing."""
    if not column.null_count:
        return bytes(len(column))
    missing: ReadableBuffer = column.is_null().to_numpy(zero_copy_only=False)
    return missing
