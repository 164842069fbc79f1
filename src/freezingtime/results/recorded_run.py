# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded run: the requests of every disk, and the content of ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from freezingtime.application.figure import Figure, figures_of
from freezingtime.clock.kind import ClockKind
from freezingtime.errors import InputError
from freezingtime.results.latency_summary import (
    SUMMARY_COLUMNS,
    LatencySummary,
    summarize_disk,
)
from freezingtime.trace.record_columns import Columns, read_disks
from freezingtime.trace.record_reader import Notify, Record, open_record
from freezingtime.trace.run_directory import (
    DOCUMENT_NAME,
    Value,
    document_value,
    read_document,
)

#: Columns read of each request; :attr:`RecordedRun.record` has the rest.
REQUEST_COLUMNS = (*SUMMARY_COLUMNS, "offset_bytes", "fua", "sequence")

# Of run.json: in which table, under which key, of which type.
_GUEST_NS = ("job", "guest_ns", int)
_START_NS = ("job", "start_ns", int)
_EXIT_STATUS = ("job", "exit_status", int)
_VALID = ("audit", "valid", bool)
_SCRIPT = ("plan", "script", str)
_CLOCK = ("plan", "clock", str)


@dataclass(frozen=True)
class RecordedRun:
    """A run directory, or a record alone."""

    path: Path
    record: Record
    document: Mapping[str, Any] | None
    """The content of ``run.json``; None for a record alone, or of a run that was killed."""
    disks: Mapping[str, Columns]
    """:data:`REQUEST_COLUMNS` of each disk's requests, in order of delivery."""

    @cached_property
    def job_disks(self) -> Mapping[str, Columns]:
        """The requests that arrived from the job's start on; of a record alone, all.

        Before its job, a guest looks for partitions and such: that is in no figure.
        """
        start_ns = self._said(*_START_NS)
        if start_ns is None:
            return self.disks
        return {name: _from(columns, start_ns) for name, columns in self.disks.items()}

    @cached_property
    def summaries(self) -> Mapping[str, list[LatencySummary]]:
        """The figures of each disk: of all the job's requests, then of each operation."""
        return {name: summarize_disk(columns) for name, columns in self.job_disks.items()}

    @property
    def request_count(self) -> int:
        """Return the number of the job's requests to all disks."""
        return sum(len(columns["sequence"]) for columns in self.job_disks.values())

    @property
    def guest_ns(self) -> int | None:
        """Return the job's guest time, in ns; None without a ``run.json``."""
        return self._said(*_GUEST_NS)

    @property
    def is_repeatable(self) -> bool:
        """Return whether its clock was exact: another run of its plan is the same."""
        if self.document is None:
            return self.record.header.is_repeatable
        # A run.json from before there was a choice does not say.
        return "clock" not in self.document["plan"] or self._said(*_CLOCK) == ClockKind.EXACT

    @property
    def exit_status(self) -> int | None:
        """The job's; None without a ``run.json``."""
        return self._said(*_EXIT_STATUS)

    @property
    def valid(self) -> bool | None:
        """Return whether the figures are exact to the nanosecond; None without a ``run.json``."""
        return self._said(*_VALID)

    @property
    def script(self) -> str:
        """Return the script that the guest ran; empty without a ``run.json``."""
        return self._said(*_SCRIPT) or ""

    @cached_property
    def figures(self) -> Sequence[Figure]:
        """The application's own figures; none without a ``run.json``."""
        try:
            return figures_of(self.document)
        except ValueError as error:
            file = self.path / DOCUMENT_NAME
            raise InputError(f"{file}: is damaged: {error}; repeat the run") from error

    def _said(self, table: str, key: str, kind: type[Value]) -> Value | None:
        if self.document is None:
            return None
        return document_value(self.path, self.document, table, key, kind)


def _from(columns: Columns, start_ns: int) -> Columns:
    """The requests that arrived then or later; as a view, where they are one behind the other."""
    chosen = columns["arrival_ns"] >= start_ns
    first = int(chosen.argmax()) if chosen.any() else len(chosen)
    rows = slice(first, None) if chosen[first:].all() else chosen
    return {name: each[rows] for name, each in columns.items()}


def open_recorded_run(path: Path, notify: Notify) -> RecordedRun:
    """Read a run directory, or the record at ``path``. Memory: some 60 bytes for each request.

    ``notify`` is called if the run was killed, or is still running.

    Raises:
        InputError: there is none, it is damaged, or it is one of another version.
    """
    record = open_record(path)
    document = read_document(path) if path.is_dir() else None
    run = RecordedRun(path, record, document, read_disks(record, REQUEST_COLUMNS, notify))
    # Report damage now, not on first use.
    _ = run.guest_ns, run.exit_status, run.valid, run.script, run.figures, run.is_repeatable
    _ = run.job_disks
    return run
