# SPDX-License-Identifier: GPL-2.0-or-later
"""The first screen of a report: rates and latencies, and bars that show them on one axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from freezingtime.application.fsync import FSYNC
from freezingtime.report.figures.run_panels import operations_shown
from freezingtime.report.run_data import RunData
from freezingtime.report.side_by_side import DEVICE
from freezingtime.request import Operation
from freezingtime.request_figures import RequestFigures
from freezingtime.units import four_digits, time_cell

_NONE = "-"
_FLUSH = Operation.FLUSH.name.lower()
#: More rows than that are no answer; the summary below has all.
_ROWS_MAX = 12
#: Width of a bar's drawing; an axis shorter than a factor of 10 would make much of little.
WIDTH = 200
_MARGIN = 4
_LEAST_FACTOR = 10.0
#: A difference is said as a multiple from here on.
_TIMES_FROM = 3
_SHOWN = ("p50", "p99", "p99.9")


@dataclass(frozen=True, slots=True)
class Bar:
    """Percentiles of latency as horizontal positions, and what is said of them on hovering."""

    series: int
    """The number of the run's colour."""
    title: str
    p50: float
    p99: float
    p99_9: float


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One operation of one run."""

    subject: str
    """Disk and operation; empty below a row of the same."""
    label: str
    cells: Sequence[str]
    difference: str
    """Of p99, to the first run that has this operation; empty of that one itself."""
    bar: Bar


@dataclass(frozen=True, slots=True)
class Answer:
    """A table of rows, and the two ends of the bars' axis."""

    rows: Sequence[AnswerRow]
    axis: str
    left_out: int
    """So many pairs of a disk and an operation have no row."""


HEADS = ("IOPS", "MB/s", *_SHOWN)


def answer(runs: Sequence[RunData]) -> Answer:
    """The figures of the operations with the most requests, the runs one below the other.

    Of flushes it has those with the writes that they wait for, as an application does.
    """
    shown = operations_shown(runs)
    kept = [
        (disk, FSYNC if operation == _FLUSH else operation)
        for disk, operation in shown[: max(1, _ROWS_MAX // len(runs))]
    ]
    figures = [each for subject in kept for each in _of(runs, *subject)]
    axis = _Axis([each.percentiles_ns[name] for _, _, each in figures for name in _SHOWN])
    rows = []
    last, first = "", None
    for subject, number, each in figures:
        if subject != last:
            first = None
        rows.append(_row(runs, subject if first is None else "", number, each, first, axis))
        last, first = subject, first or each
    return Answer(rows, axis.text, _subject_count(runs) - len(kept))


def _of(
    runs: Sequence[RunData], disk: str, operation: str
) -> Iterator[tuple[str, int, RequestFigures]]:
    for number, run in enumerate(runs):
        if disk in run.disks and operation in run.disks[disk].figures:
            yield subject_name(disk, operation), number, run.disks[disk].figures[operation]


def subject_name(disk: str, operation: str) -> str:
    """Devices of replays that stand side by side have no other disk beside them."""
    return operation if disk == DEVICE else f"{disk}: {operation}"


def _subject_count(runs: Sequence[RunData]) -> int:
    return len(
        {
            (disk, name)
            for run in runs
            for disk, data in run.disks.items()
            for name in data.single_operations
        }
    )


def _row(
    runs: Sequence[RunData],
    subject: str,
    number: int,
    figures: RequestFigures,
    first: RequestFigures | None,
    axis: _Axis,
) -> AnswerRow:
    times_ns = [figures.percentiles_ns[name] for name in _SHOWN]
    named = ", ".join(
        f"{name} {time_cell(time_ns)}" for name, time_ns in zip(_SHOWN, times_ns, strict=True)
    )
    return AnswerRow(
        subject,
        runs[number].label if len(runs) > 1 else "",
        [_rate(figures.iops, 1), _rate(figures.bandwidth_bytes_per_s, 10**6)]
        + [time_cell(time_ns) for time_ns in times_ns],
        "" if first is None else _difference(figures, first),
        Bar(number, f"{runs[number].label}: {named}", *map(axis.position, times_ns)),
    )


def _rate(value: float | None, unit: int) -> str:
    return _NONE if not value else four_digits(value / unit)


def _difference(figures: RequestFigures, first: RequestFigures) -> str:
    was, is_now = first.percentiles_ns["p99"], figures.percentiles_ns["p99"]
    if not was:
        return _NONE
    share = is_now / was
    if share >= _TIMES_FROM:
        return f"x {share:,.3g}" if share < 1000 else f"x {share:,.0f}"
    return f"{share - 1:+.1%}"


class _Axis:
    """A logarithmic axis of times for all bars."""

    def __init__(self, times_ns: Sequence[int]) -> None:
        ends = [math.log10(max(1, time_ns)) for time_ns in (min(times_ns), max(times_ns))]
        missing = max(0.0, math.log10(_LEAST_FACTOR) - (ends[1] - ends[0])) / 2
        self._low, self._high = ends[0] - missing, ends[1] + missing
        self.text = f"{time_cell(min(times_ns))} to {time_cell(max(times_ns))}"

    def position(self, time_ns: int) -> float:
        """From left to right."""
        share = (math.log10(max(1, time_ns)) - self._low) / (self._high - self._low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)
