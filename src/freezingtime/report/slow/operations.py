# SPDX-License-Identifier: GPL-2.0-or-later
"""An application's slowest operations, and the device requests that were under way during them.

An operation is a line of a log (:mod:`~freezingtime.application.operation_log`). Its end is known
as well as the guest's clock is tied to guest time, and as the program writes it: so it is somewhere
between two guest times. A request counts as under way if it was wherever the end lies between
them; one that was only for some of them is counted apart.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from freezingtime.application.clock_tie import ClockTie, tie_of
from freezingtime.application.operation_log import OperationLog, read_logs
from freezingtime.errors import InputError
from freezingtime.report.bins import Integers
from freezingtime.trace.record_reader import Record
from freezingtime.trace.record_schema import FAULT_COLUMN
from freezingtime.trace.run_directory import COLLECTED_DIRECTORY, DOCUMENT_NAME

#: So many are shown in a report.
SHOWN_MAX = 10
#: So many requests of one operation are named: one may have gone on for the whole run.
LISTED_MAX = 1000

_COLUMNS = (
    *("disk", "operation", "offset_bytes", "length_bytes"),
    *("arrival_ns", "delivery_ns", "sequence"),
)
_SET_CLOCK = "its times are not those of the job: something sets the guest's clock, or its zone"


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A request that was under way during an operation."""

    disk: str
    operation: str
    offset_bytes: int
    length_bytes: int
    arrival_ns: int
    delivery_ns: int
    sequence: int
    """Its place among the run's requests in order of arrival."""
    shared_ns: int
    """How much of the operation's time it was under way."""
    is_certain: bool
    """Whether it was under way wherever the operation's end lies."""
    fault: str | None = None
    """What a device that fails on purpose did to it."""

    @property
    def device_ns(self) -> int:
        """From arrival to delivery (D2C)."""
        return self.delivery_ns - self.arrival_ns


@dataclass(frozen=True, slots=True)
class SlowOperation:
    """One operation; guest times are the middles of what they may be."""

    log: str
    line: int
    start_ns: int
    end_ns: int
    uncertain_ns: int
    """By so much both of them may be off, to either side."""
    requests: Sequence[DeviceRequest]
    """Those that shared most of its time first, up to :data:`LISTED_MAX`."""
    certain_count: int
    """How many requests were under way wherever its end lies."""
    possible_count: int
    """How many more were for a part of where its end may lie."""
    device_ns: int
    """How much of its time at least one request was under way."""

    @property
    def latency_ns(self) -> int:
        """As the application has it."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class SlowOperations:
    """The slowest operations in a run's logs, the slowest first."""

    operations: Sequence[SlowOperation]
    count: int
    """How many operations the logs have in all."""
    notes: Sequence[str]
    """Why there are none of some log."""


def slow_operations(
    path: Path, document: Mapping[str, Any] | None, record: Record, count: int
) -> SlowOperations | None:
    """Find the slowest operations in the logs that a run has collected; None: it has no such log.

    Raises:
        InputError: ``run.json``, a log or the record is damaged.
    """
    directory = path / COLLECTED_DIRECTORY
    names = sorted(
        str(file.relative_to(directory))
        for file in directory.rglob("*")
        if file.is_file() and not file.is_symlink()
    )
    try:
        tie = tie_of(document)
    except ValueError as error:
        raise InputError(f"{path / DOCUMENT_NAME}: is damaged: {error}; repeat the run") from error
    try:
        logs, notes = read_logs(directory, names)
    except (OSError, ValueError) as error:
        return SlowOperations((), 0, [f"{directory}: {error}"])
    if not isinstance(tie, ClockTie):
        found = [*notes, *([tie] if tie is not None else ())]
        return SlowOperations((), sum(len(log.ends_ns) for log in logs), found) if found else None
    kept, left_out = _in_job(_slowest(logs, tie, count), document)
    notes += [f"{name}: {_SET_CLOCK}" for name in left_out]
    found_requests = _requests_of(record, kept)
    return SlowOperations(
        [_joined(each, table) for each, table in zip(kept, found_requests, strict=True)],
        sum(len(log.ends_ns) for log in logs),
        notes,
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """An operation in guest time: the times between which its start and its end are."""

    log: str
    line: int
    latency_ns: int
    first_start_ns: int
    last_start_ns: int
    first_end_ns: int
    last_end_ns: int


def _slowest(logs: Sequence[OperationLog], tie: ClockTie, count: int) -> list[_Span]:
    rows = (
        (-latency_ns, number, row)
        for number, log in enumerate(logs)
        for row, latency_ns in enumerate(log.latencies_ns)
    )
    spans = []
    for latency_ns, number, row in heapq.nsmallest(count, rows):
        log = logs[number]
        kind, end_ns = log.kind, log.ends_ns[row]
        first_ns = end_ns - kind.early_ns - tie.offset_max_ns
        last_ns = end_ns + kind.late_ns - tie.offset_min_ns
        # It may have taken a little longer: what is written is cut.
        starts_ns = first_ns + latency_ns - kind.latency_unit_ns, last_ns + latency_ns
        line = log.line_numbers[row]
        spans.append(_Span(log.name, line, -latency_ns, *starts_ns, first_ns, last_ns))
    return spans


def _in_job(
    spans: Sequence[_Span], document: Mapping[str, Any] | None
) -> tuple[list[_Span], list[str]]:
    """Those that may have ended while the job ran, and the logs of the others."""
    job = {} if document is None else document["job"]
    start_ns, end_ns = job.get("start_ns"), job.get("end_ns")
    if not isinstance(start_ns, int) or not isinstance(end_ns, int):
        return list(spans), []
    kept = [each for each in spans if each.last_end_ns >= start_ns and each.first_end_ns <= end_ns]
    return kept, sorted({each.log for each in spans if each not in kept})


def _requests_of(record: Record, spans: Sequence[_Span]) -> list[pa.Table]:
    """The requests that may have been under way during each."""
    found: list[list[pa.RecordBatch]] = [[] for _ in spans]
    names = [*_COLUMNS, *(name for name in (FAULT_COLUMN.name,) if name in record.schema.names)]
    schema = pa.schema([record.schema.field(name) for name in names])
    if spans:
        for batch in record.batches(names, lambda notice: None, lambda done, total: None):
            arrivals_ns, deliveries_ns = (
                batch.column(name).to_numpy() for name in ("arrival_ns", "delivery_ns")
            )
            for span, parts in zip(spans, found, strict=True):
                rows = arrivals_ns <= span.last_end_ns
                rows &= deliveries_ns >= span.first_start_ns
                if rows.any():
                    parts.append(batch.filter(pa.array(rows)))
    return [pa.Table.from_batches(parts, schema=schema) for parts in found]


def _joined(span: _Span, table: pa.Table) -> SlowOperation:
    uncertain_ns = -(-(span.last_end_ns - span.first_end_ns) // 2)
    end_ns = (span.first_end_ns + span.last_end_ns) // 2
    start_ns = end_ns - span.latency_ns
    arrivals_ns, deliveries_ns = (table[name].to_numpy() for name in ("arrival_ns", "delivery_ns"))
    shared_ns = np.minimum(deliveries_ns, end_ns) - np.maximum(arrivals_ns, start_ns)
    shared_ns = np.maximum(shared_ns, 0)
    is_certain = (arrivals_ns <= span.first_end_ns) & (deliveries_ns >= span.last_start_ns)
    order = np.lexsort((table["sequence"].to_numpy(), -shared_ns, ~is_certain))[:LISTED_MAX]
    requests = [
        DeviceRequest(**values, shared_ns=int(shared_ns[row]), is_certain=bool(is_certain[row]))
        for row, values in zip(order.tolist(), table.take(order).to_pylist(), strict=True)
    ]
    certain_count = int(np.count_nonzero(is_certain))
    return SlowOperation(
        *(span.log, span.line, start_ns, end_ns, uncertain_ns, requests),
        certain_count,
        len(is_certain) - certain_count,
        _covered_ns(np.maximum(arrivals_ns, start_ns), np.minimum(deliveries_ns, end_ns)),
    )


def _covered_ns(starts_ns: Integers, ends_ns: Integers) -> int:
    """How much time some spans cover together; those that end before they start are none."""
    order = np.argsort(starts_ns, kind="stable")
    starts_ns, ends_ns = starts_ns[order], ends_ns[order]
    until_ns = np.maximum.accumulate(ends_ns)
    from_ns = starts_ns.copy()
    from_ns[1:] = np.maximum(starts_ns[1:], until_ns[:-1])
    return int(np.maximum(ends_ns - from_ns, 0).sum())
