# SPDX-License-Identifier: GPL-2.0-or-later
"""The section of a report about slow operations: a table, and how exact it is."""

from __future__ import annotations

from collections.abc import Sequence

from freezingtime.report.layout.sections import PagePart, PageSection
from freezingtime.report.run_data import RunData
from freezingtime.report.slow.operations import SHOWN_MAX, DeviceRequest, SlowOperation
from freezingtime.report.tables import ReportTable, name_of, run_head
from freezingtime.units import time_cell

NAME = "slow-operations"
_TITLE = "Slow operations and what they waited for"
_SHORT_TITLE = "Slow operations"
_CAPTION = "The slowest operations in the application's logs"
#: Of each run so many operations, however many runs there are.
_ROWS_MIN = 3
_REQUESTS_MAX = 3


def slow_section(runs: Sequence[RunData]) -> list[PageSection]:
    """Return the section; nothing where no run has a log of operations."""
    if not any(run.slow for run in runs):
        return []
    shown = max(_ROWS_MIN, SHOWN_MAX // len(runs))
    rows = [
        _row(run, runs, each)
        for run in runs
        if run.slow is not None
        for each in run.slow.operations[:shown]
    ]
    heads = ["operation", *run_head(runs), "latency", "began at", "with requests", "waited for"]
    table = ReportTable(_CAPTION, heads, rows, label_count=1 + len(run_head(runs)), has_words=True)
    parts: list[PagePart] = [*_explained(runs, shown), *([table] if rows else []), *_notes(runs)]
    return [PageSection(NAME, _TITLE, parts, short_title=_SHORT_TITLE)]


def _row(run: RunData, runs: Sequence[RunData], operation: SlowOperation) -> list[str]:
    job = {} if run.document is None else run.document["job"]
    job_start_ns = job.get("start_ns", run.span.start_ns)
    share = operation.device_ns / operation.latency_ns if operation.latency_ns else 0
    return [
        f"{operation.log}: {operation.line}",
        *name_of(run, runs),
        time_cell(operation.latency_ns),
        time_cell(max(0, operation.start_ns - job_start_ns)),
        f"{time_cell(operation.device_ns)} ({share:.0%})",
        _waited_for(operation, len(run.disks) > 1),
    ]


def _waited_for(operation: SlowOperation, has_disks: bool) -> str:
    certain = [each for each in operation.requests[:_REQUESTS_MAX] if each.is_certain]
    lines = [_named(each, has_disks) for each in certain]
    more, perhaps = operation.certain_count - len(lines), operation.possible_count
    lines += [f"{more} more"] if more else []
    lines += [f"perhaps {perhaps} more"] if perhaps else []
    return "; ".join(lines) or "no request"


def _named(request: DeviceRequest, has_disks: bool) -> str:
    where = f"{request.disk}: " if has_disks else ""
    shared = (
        f", {time_cell(request.shared_ns)} of them here"
        if request.shared_ns < request.device_ns
        else ""
    )
    fault = "" if request.fault is None else f" (fault: {request.fault})"
    return f"{where}{request.operation} {time_cell(request.device_ns)}{shared}{fault}"


def _explained(runs: Sequence[RunData], shown: int) -> list[str]:
    operations = [each for run in runs if run.slow is not None for each in run.slow.operations]
    if not operations:
        return []
    count = sum(run.slow.count for run in runs if run.slow is not None)
    uncertain_ns = max(each.uncertain_ns for each in operations)
    return [
        f"Of {count:,} operations in the logs{' of the runs' if len(runs) > 1 else ''} the "
        f"slowest{f', {shown} of each run' if len(runs) > 1 else ''}, by the number of their line "
        "in the log, with the time that they took by the application's own account, when they "
        "began since the job's start, how much of their time requests were at the disks, and the "
        "requests that shared most of it, with their time from arrival to delivery. With several "
        "clients some requests are others' work.",
        f"When an operation began and ended is known within {time_cell(uncertain_ns)} to either "
        "side, as the guest's clock is tied to guest time and as the program writes times. A "
        "request is named if it was under way wherever in these bounds the operation was; one "
        "that was for a part of them only is counted behind 'perhaps'.",
    ]


def _notes(runs: Sequence[RunData]) -> list[str]:
    return [
        f"{f'{run.label}: ' if len(runs) > 1 else ''}not shown: {note}."
        for run in runs
        if run.slow is not None
        for note in run.slow.notes
    ]
