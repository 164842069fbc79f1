# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a run in progress: requests as they complete, flushed each second."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

from freezingtime.emulator.loop import CompletedRequest
from freezingtime.trace.record_file import RecordFile

_FLUSH_PERIOD_S = 1.0
# As many requests are kept in memory at most; no guest makes so many in a period.
_PENDING_MAX = 1 << 14


class LiveRecord:
    """Writes a record from the emulator's thread. A context manager.

    A thread of its own flushes what has come in since, at least each second, so that
    the last requests of a guest that hangs or is killed are there too.
    """

    def __init__(self, file: RecordFile, first_disk_index: int) -> None:
        """``file`` is left when the record is; its disks have the indices from the first on."""
        self.file = file
        self._first_disk_index = first_disk_index
        self._pending: deque[CompletedRequest] = deque()
        self._flushing = threading.Lock()
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._flusher = threading.Thread(target=self._flush_each_period, name="record", daemon=True)

    def __enter__(self) -> Self:
        self.file.__enter__()
        self._flusher.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._ended.set()
        self._flusher.join()
        self.file.__exit__(kind, error, traceback)
        if error is None:
            self._raise_failure()

    def write(self, completed: CompletedRequest) -> None:
        """Append one request. Costs well below a microsecond between flushes.

        Raises:
            RunError: the record cannot be written, now or at the last flush.
        """
        self._pending.append(completed)
        if len(self._pending) >= _PENDING_MAX:
            self._flush()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if isinstance(self._failure, OSError):
            raise self.file.cannot_write(self._failure) from self._failure
        if self._failure is not None:
            raise self._failure

    def _flush_each_period(self) -> None:
        self._attempt(self.file.begin)
        while not self._ended.wait(_FLUSH_PERIOD_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._flushing:
            # Appending and taking out of a deque need no lock; what comes in meanwhile waits.
            requests = [self._pending.popleft() for _ in range(len(self._pending))]
            if requests:
                self._attempt(lambda: self._append(requests))

    def _append(self, requests: Sequence[CompletedRequest]) -> None:
        self.file.append(self.file.batches.of_requests(requests, self._first_disk_index))

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write unless that has failed before; a failure is raised in the emulator's thread."""
        try:
            if self._failure is None:
                write()
        except Exception as failure:
            self._failure = failure
