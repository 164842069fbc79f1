# SPDX-License-Identifier: GPL-2.0-or-later
"""A record while it is written: a stream of batches that becomes a Parquet file.

Nothing here imports pyarrow before there is something to write, so that a run starts as
fast with a record as without one.
"""

from __future__ import annotations

import errno
import fcntl
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeAlias

from freezingtime.errors import RunError
from freezingtime.trace.record_header import RecordHeader
from freezingtime.trace.record_paths import stream_path

if TYPE_CHECKING:
    import pyarrow as pa

    from freezingtime.trace.record_schema import Batches

#: Of a device: its disk, the guest time in ns, the statistic, and its value then.
StatisticsRow: TypeAlias = tuple[str, int, str, float]


class RecordFile:
    """Writes a record. A context manager: leaving it makes the stream a Parquet file.

    A process that dies instead leaves the stream, whole up to the last :meth:`append`;
    what the host has not yet put on its disk is lost only if the host itself dies.
    """

    def __init__(self, path: Path, header: RecordHeader, *, shown_path: Path | None = None) -> None:
        """Begin the record at ``path``; one that is there already goes away.

        ``shown_path`` is what a user calls it, if that is something else.

        Raises:
            OSError: the file cannot be made, something else than a file is there, or another
                process still writes it.
        """
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "is not a regular file")
        self.path = path
        self._shown_path = shown_path or path
        self.header = header
        """What the Parquet file says of its requests at last, which may be more than the stream."""
        self._begun_with = header
        self._writer: Any = None
        self._is_whole = True
        self.statistics: list[StatisticsRow] = []
        """Of devices without a guest, over guest time: they end up in the record."""
        self._stream = _open_alone(stream_path(path))
        path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._close()
        except OSError as failure:
            if error is None:
                raise self.cannot_write(failure) from failure

    @cached_property
    def batches(self) -> Batches:
        """Makes what :meth:`append` takes."""
        from freezingtime.trace.record_schema import Batches

        return Batches(self._begun_with)

    def begin(self) -> None:
        """Write what comes before the first request, unless it is there already.

        Raises OSError as :meth:`append` does.
        """
        if self._writer is not None:
            return
        import pyarrow as pa

        self._is_whole = False
        self._writer = pa.ipc.new_stream(self._stream, self.batches.schema)
        self._stream.flush()
        self._is_whole = True

    def append(self, batch: pa.RecordBatch) -> None:
        """Append requests and flush.

        Raises:
            OSError: the file cannot be written; :meth:`cannot_write` makes the user's message.
        """
        self.begin()
        self._is_whole = False
        self._writer.write_batch(batch)
        self._stream.flush()
        self._is_whole = True

    def cannot_write(self, failure: OSError) -> RunError:
        """Return the error to raise when :meth:`append` failed."""
        return RunError(
            f"cannot write {self._shown_path}: {failure.strerror or failure}; "
            "free space, or name another --out"
        )

    def _close(self) -> None:
        from freezingtime.trace.record_parquet import stream_to_parquet

        with self._stream:  # and with it the lock, until all is done
            if not self._is_whole:
                return
            self.begin()
            self._writer.close()
            self._stream.flush()
            stream_to_parquet(stream_path(self.path), self.path, self._metadata())

    def _metadata(self) -> dict[bytes, bytes]:
        own = {} if self.header == self._begun_with else self.header.metadata()
        if not self.statistics:
            return own
        from freezingtime.trace.statistics_file import statistics_metadata

        return {**own, **statistics_metadata(self.statistics)}


def _open_alone(path: Path) -> BinaryIO:
    """The file at ``path``, empty, with a lock on it (flock) while it is open.

    Raises:
        OSError: it cannot be opened, or another process has it.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb")
        try:
            if not _lock(file) or _is_at(file, path):
                file.truncate()
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its owner removed it meanwhile


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO) -> bool:
    """Whether the file system has locks; OSError if another process has this one."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(errno.EBUSY, "another process is still writing to it") from error
    except OSError:
        return False
    return True
