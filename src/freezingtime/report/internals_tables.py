# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of what went on inside the devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezingtime.report.run_data import DiskData, RunData, display_name
from freezingtime.report.tables import ReportTable, disks_of, name_of, run_head
from freezingtime.units import time_cell


def held_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate the causes of waiting of each disk."""
    rows = []
    for disk, run, data in _each(runs):
        total = sum(held.count for held in data.internals.held.values())
        for cause, held in data.internals.held.items():
            rows.append(
                [
                    *(disk, *name_of(run, runs), display_name(cause)),
                    *(f"{held.count:,}", _percent(held.count, total)),
                    *(
                        time_cell(held.wait_mean_ns),
                        time_cell(held.wait_max_ns),
                        time_cell(held.latency_mean_ns),
                    ),
                ]
            )
    heads = ["disk", *run_head(runs), "held by"]
    return ReportTable(
        "Causes of waiting in the device",
        [*heads, "requests", "share", "wait, mean", "wait, max", "their latency, mean"],
        rows,
        label_count=len(heads),
    )


def served_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate where data was served from, for each disk and operation."""
    rows = []
    for disk, run, data in _each(runs):
        for (operation, place), served in data.internals.served.items():
            total = data.operations[operation].count
            rows.append(
                [
                    *(disk, *name_of(run, runs), operation, display_name(place)),
                    *(
                        f"{served.count:,}",
                        _percent(served.count, total),
                    ),
                    *(time_cell(served.latency_mean_ns), time_cell(served.latency_max_ns)),
                ]
            )
    heads = ["disk", *run_head(runs), "operation", "served from"]
    return ReportTable(
        "Source of data read, and location of data written at completion",
        [*heads, "requests", "share", "latency, mean", "latency, max"],
        rows,
        label_count=len(heads),
    )


def statistics_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate the devices' final statistics, the runs side by side."""
    rows = []
    for disk in disks_of(runs):
        totals = [run.statistics[disk].totals if disk in run.statistics else {} for run in runs]
        for name in dict.fromkeys(name for values in totals for name in values):
            values = [values.get(name, 0.0) for values in totals]
            if any(values):
                rows.append([disk, name, *(_number(value) for value in values)])
    heads = [run.label for run in runs] if len(runs) > 1 else ["value"]
    return ReportTable(
        "Device counters at the end of the run; zeros omitted",
        ["disk", "statistic", *heads],
        rows,
        label_count=2,
    )


def _each(runs: Sequence[RunData]) -> Iterator[tuple[str, RunData, DiskData]]:
    for disk in disks_of(runs):
        for run in runs:
            if disk in run.disks:
                yield disk, run, run.disks[disk]


def _percent(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "-"


def _number(value: float) -> str:
    """Counters whole, shares and means in some digits."""
    is_whole = value == int(value) or abs(value) >= 10_000
    return f"{value:,.0f}" if is_whole else f"{value:,.4g}"
