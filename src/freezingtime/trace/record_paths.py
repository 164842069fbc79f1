# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of a run's record: the only module that knows them.

While a run goes on, its record is an Arrow IPC stream, ``requests.parquet.arrows``, which
can be read at any time up to its last flush. When the run ends, the stream becomes
``requests.parquet`` and is removed. A run that was killed leaves the stream; so the record
is the Parquet file if there is one, and else the stream.
"""

from __future__ import annotations

from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.host.os_errors import os_errors_as

RECORD_NAME = "requests.parquet"

_PARQUET_MAGIC = b"PAR1"
# What every message of a stream begins with.
_STREAM_MAGIC = b"\xff\xff\xff\xff"


def stream_path(path: Path) -> Path:
    """Return the path of the stream of the record at ``path``."""
    return path.with_name(f"{path.name}.arrows")


def find_record(path: Path) -> Path:
    """The file that holds the record of a run's directory, or the record at ``path`` itself.

    Raises:
        InputError: there is none.
    """
    is_run = path.is_dir()
    record = path / RECORD_NAME if is_run else path
    for candidate in (record, stream_path(record)):
        if candidate.is_file():
            return candidate
    if is_run:
        runs = sorted(below.parent for below in path.glob(f"*/{RECORD_NAME}*"))
        if runs:
            raise InputError(
                f"{path}: is not a run, but contains {len(set(runs))}; name one of them, "
                f"such as {runs[0]}"
            )
        raise InputError(f"{path}: is not a run: it has no {RECORD_NAME}; name a run's directory")
    raise InputError(f"{path}: no such file; name a run's directory or its {RECORD_NAME}")


def is_parquet(path: Path) -> bool:
    """Return whether a file is the record of a run that ended, not a stream."""
    return _magic(path) == _PARQUET_MAGIC


def is_record(path: Path) -> bool:
    """Return whether a path names a run's directory or a record, by its content; opens no pipe."""
    if path.is_file():
        return _magic(path) in (_PARQUET_MAGIC, _STREAM_MAGIC)
    return path.is_dir() or stream_path(path).is_file()


def _magic(path: Path) -> bytes:
    with os_errors_as(InputError, path, "name a readable record"), path.open("rb") as file:
        return file.read(4)
