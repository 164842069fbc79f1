# SPDX-License-Identifier: GPL-2.0-or-later
"""An exploration's directory, as its page needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.explored.crash_files import (
    EXPLORATION_FORMAT,
    EXPLORED_NAME,
    FAILURES_NAME,
    JOB_NAME,
    REQUEST_NAME,
    CrashFailure,
    CrashSummary,
    ExploredDocument,
    PointTally,
)
from freezingtime.trace.run_directory import STDOUT_NAME
from freezingtime.trace.writes.log import WriteEventKind, WriteLog

Document = TypeVar("Document")

_OUTPUT_MOST_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class WriteSpan:
    """A request that changes a disk, in guest time since the job's start."""

    disk: int
    is_flush: bool
    arrival_ns: int
    completion_ns: int


@dataclass(frozen=True, slots=True)
class ExplorationData:
    """All that the page shows."""

    path: Path
    start_ns: int
    end_ns: int
    disks: Sequence[str]
    summary: CrashSummary
    recoveries: CrashSummary | None
    points: Sequence[PointTally]
    failures: Sequence[CrashFailure]
    writes: Sequence[WriteSpan]
    request: dict[str, Any]
    output: str


def is_exploration(path: Path) -> bool:
    """Whether a directory is an exploration's."""
    return (path / REQUEST_NAME).is_file()


def read_exploration(path: Path) -> ExplorationData:
    """Read an exploration that has ended.

    Raises:
        InputError: it has not ended, is damaged, or of another version.
    """
    if not (path / EXPLORED_NAME).is_file():
        raise InputError(f"{path}: the exploration has not ended; run its command again")
    explored = _read(path / EXPLORED_NAME, ExploredDocument)
    if explored.format != EXPLORATION_FORMAT:
        raise InputError(
            f"{path / EXPLORED_NAME}: has format {explored.format}; this freezingtime reads format "
            f"{EXPLORATION_FORMAT}"
        )
    start_ns, end_ns = explored.span_ns
    failures = path / FAILURES_NAME
    return ExplorationData(
        path=path,
        start_ns=start_ns,
        end_ns=end_ns,
        disks=explored.disks,
        summary=explored.summary,
        recoveries=explored.recoveries,
        points=explored.points,
        failures=[_read(failures / f"{number}.json", CrashFailure) for number in explored.failures],
        writes=_read_writes(path / JOB_NAME, start_ns, end_ns),
        request=_read(path / REQUEST_NAME, dict[str, Any]),
        output=_read_output(path / JOB_NAME / STDOUT_NAME),
    )


def _read(path: Path, kind: type[Document]) -> Document:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; explore again") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"{path}: is damaged: {error}; explore again") from error


def _read_writes(job: Path, start_ns: int, end_ns: int) -> list[WriteSpan]:
    """The requests of the job, in order of arrival; what has not completed ends with it."""
    arrivals: dict[int, int] = {}
    spans: dict[int, WriteSpan] = {}
    with WriteLog(job) as log:
        for event in log.events():
            if not start_ns < event.time_ns <= end_ns:
                continue
            now_ns = event.time_ns - start_ns
            if event.kind is WriteEventKind.ARRIVAL:
                arrivals[event.sequence] = now_ns
            began_ns = arrivals.get(event.sequence, 0)
            done_ns = end_ns - start_ns if event.kind is WriteEventKind.ARRIVAL else now_ns
            is_flush = event.operation is Operation.FLUSH
            spans[event.sequence] = WriteSpan(event.disk, is_flush, began_ns, done_ns)
    return list(spans.values())


def _read_output(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_OUTPUT_MOST_BYTES).decode(errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; explore again") from error
