"""The record of a run: one line per request, written as the requests complete."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from freezingtime.emulator import CompletedRequest
from freezingtime.errors import RunError

#: The columns of ``requests.csv``. Times in guest ns since power-on unless they say
#: ``host``; the guest saw the request take ``delivery_ns - arrival_ns``. ``sequence`` numbers
#: the run's requests in order of arrival: requests that arrive together have an order, too.
COLUMNS = (
    "disk",
    "operation",
    "offset_bytes",
    "length_bytes",
    "fua",
    "arrival_ns",
    "completion_ns",
    "delivery_ns",
    "frozen_host_ns",
    "medium_host_ns",
    "on_time",
    "sequence",
)


class RequestRecord:
    """Writes ``requests.csv``. A context manager; readable up to the last flush."""

    def __init__(self, path: Path, disk_names: Sequence[str]) -> None:
        """``disk_names`` are indexed by the requests' disk index."""
        self._names = disk_names
        self._file = path.open("w", newline="", encoding="ascii")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError as failure:
            if error is None:
                raise self._cannot_write(failure) from failure

    def write(self, completed: CompletedRequest) -> None:
        """Append one request.

        Raises:
            RunError: the file cannot be written; the disk may be full.
        """
        try:
            self._append(completed)
        except OSError as failure:
            raise self._cannot_write(failure) from failure

    def _cannot_write(self, failure: OSError) -> RunError:
        return RunError(
            f"cannot write {self._file.name}: {failure.strerror}; "
            "free some space, or name another --out"
        )

    def _append(self, completed: CompletedRequest) -> None:
        disk_index, operation, *fields, fua, arrival_ns, completion_ns, delivery_ns = completed[:8]
        self._writer.writerow(
            (
                self._names[disk_index],
                operation.name.lower(),
                *fields,
                int(fua),
                arrival_ns,
                completion_ns,
                delivery_ns,
                completed.frozen_host_ns,
                completed.medium_host_ns,
                int(completed.on_time),
                completed.sequence,
            )
        )
