# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of a report: several runs side by side, or one below the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from freezingtime.application.figure import Figure, value_text
from freezingtime.application.fsync import FSYNC
from freezingtime.report.run_data import RunData
from freezingtime.request_figures import ALL, PERCENTILES, RequestFigures
from freezingtime.units import format_size_bytes, format_time_ns, time_cell

Data = TypeVar("Data")

_NONE = "-"
_SCRIPT_MAX = 2000
_EXEC = "#!/bin/sh\nexec "


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Text in rows and columns."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    label_count: int = 1
    """Number of leading cells that label a row."""
    numeric: bool = True
    has_words: bool = False
    """Whether the last cell of a row is text beside numbers."""
    links: Sequence[str | None] = ()
    """Where the first cell of each row leads to."""


def plan_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate the configuration: a row for each property that any of the runs has."""
    rows = []
    for label, cell in _PROPERTIES.items():
        cells = [cell(run) for run in runs]
        if any(cells):
            rows.append([label, *(text or _NONE for text in cells)])
    return ReportTable(
        "Configuration and outcome", ["", *(run.label for run in runs)], rows, numeric=False
    )


def application_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate the application's own figures, each run beside the first; it may be empty."""
    by_run = [{(f.name, f.unit): f for f in run.figures} for run in runs]
    rows = [
        [
            name,
            *(
                _own_cell(figures.get((name, unit)), by_run[0].get((name, unit)), unit)
                for figures in by_run
            ),
        ]
        for name, unit in dict.fromkeys(key for figures in by_run for key in figures)
    ]
    heads = [run.label for run in runs] if len(runs) > 1 else ["value"]
    return ReportTable("The application's own figures", ["figure", *heads], rows, label_count=1)


def _own_cell(figure: Figure | None, first: Figure | None, unit: str) -> str:
    if figure is None:
        return _NONE
    text = value_text(figure.value, unit)
    if first is None or first is figure or not first.value:
        return text
    return f"{text} ({(figure.value - first.value) / abs(first.value):+.1%})"


def summary_table(runs: Sequence[RunData]) -> ReportTable:
    """Rates and latencies of each disk and operation, the runs one below the other."""
    rows = []
    for disk in disks_of(runs):
        for operation in _operations(runs, disk):
            for run in runs:
                data = _operation(run, disk, operation)
                if data is not None:
                    named = [disk, operation, *name_of(run, runs)]
                    rows.append([*named, *_summary_cells(data)])
    return ReportTable(
        "Latency from arrival to delivery",
        [
            *("disk", "operation", *run_head(runs), "requests", "IOPS", "MB/s", "mean"),
            *(*PERCENTILES, "max"),
        ],
        rows,
        label_count=2 + len(run_head(runs)),
    )


def audit_table(runs: Sequence[RunData]) -> ReportTable:
    """Return whether each disk's requests were delivered when the model said."""
    return _table_of_disks(
        "Deliveries, and the largest deviation from the model's completion time",
        runs,
        lambda run: run.audits,
        {
            "requests": lambda audit: f"{audit.count:,}",
            "on time": lambda audit: f"{audit.count - audit.late_count:,}",
            "late": lambda audit: f"{audit.late_count:,}",
            "worst deviation": lambda audit: format_time_ns(audit.worst_deviation_ns),
        },
    )


def freeze_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate the real time that each disk's medium took."""
    return _table_of_disks(
        "Real time",
        runs,
        lambda run: run.disks,
        {
            "frozen, total": lambda data: time_cell(data.frozen_host_ns),
            "medium, mean of a request": lambda data: time_cell(data.medium_mean_host_ns),
            "medium, longest": lambda data: time_cell(data.medium_max_host_ns),
        },
    )


def _table_of_disks(
    caption: str,
    runs: Sequence[RunData],
    part: Callable[[RunData], Mapping[str, Data]],
    columns: Mapping[str, Callable[[Data], str]],
) -> ReportTable:
    rows = [
        [disk, *name_of(run, runs), *(cell(part(run)[disk]) for cell in columns.values())]
        for disk in dict.fromkeys(disk for run in runs for disk in part(run))
        for run in runs
        if disk in part(run)
    ]
    heads = ["disk", *run_head(runs), *columns]
    return ReportTable(caption, heads, rows, label_count=1 + len(run_head(runs)))


def _summary_cells(figures: RequestFigures) -> list[str]:
    times_ns = [figures.mean_ns, *figures.percentiles_ns.values(), figures.max_ns]
    bandwidth = figures.bandwidth_bytes_per_s
    return [
        f"{figures.count:,}",
        _NONE if figures.iops is None else f"{figures.iops:,.0f}",
        _NONE if not bandwidth else f"{bandwidth / 1e6:,.2f}",
        *map(time_cell, times_ns),
    ]


def run_head(runs: Sequence[RunData]) -> list[str]:
    """The head of the column of runs, if there are several."""
    return ["run"] if len(runs) > 1 else []


def name_of(run: RunData, runs: Sequence[RunData]) -> list[str]:
    """A run's cell in that column."""
    return [run.label] if len(runs) > 1 else []


def disks_of(runs: Sequence[RunData]) -> list[str]:
    """All disks, in the records' order."""
    return list(dict.fromkeys(disk for run in runs for disk in run.disks))


def _operations(runs: Sequence[RunData], disk: str) -> list[str]:
    names = {name: None for run in runs if disk in run.disks for name in run.disks[disk].figures}
    return sorted(names, key=(ALL, FSYNC).__contains__)


def _operation(run: RunData, disk: str, operation: str) -> RequestFigures | None:
    return run.disks[disk].figures.get(operation) if disk in run.disks else None


def _seconds(time_ns: float) -> str:
    return f"{time_ns / 1e9:,.3f} s"


def _of(part: str, key: str, show: Callable[[Any], str] = str) -> Callable[[RunData], str]:
    """Format a value of ``run.json`` if it is present."""

    def cell(run: RunData) -> str:
        value = None if run.document is None else run.document[part].get(key)
        return "" if value is None else show(value)

    return cell


def _script(script: str) -> str:
    text = script.removeprefix(_EXEC).strip() if script.startswith(_EXEC) else script.strip()
    return text if len(text) <= _SCRIPT_MAX else f"{text[:_SCRIPT_MAX]}\n… (truncated)"


def _disk_specs(run: RunData) -> str:
    return "\n".join(f"{disk.name}: {disk.spec}" for disk in run.header.disks)


def _cpu(run: RunData) -> str:
    if not run.header.is_repeatable:
        return "the host's, through KVM"
    rate_hz = run.header.cpu_rate_hz
    return "" if rate_hz is None else f"{rate_hz / 1e9:g} G instructions/s"


def _clock(run: RunData) -> str:
    return "exact" if run.header.is_repeatable else "kvm"


_PROPERTIES: dict[str, Callable[[RunData], str]] = {
    "job": _of("plan", "script", _script),
    "replay of": lambda run: run.header.source or "",
    "disks": _disk_specs,
    "guest": _of("plan", "guest"),
    "CPUs": _of("plan", "cpus"),
    "CPU": _cpu,
    "clock": lambda run: _clock(run) if run.has_guest else "",
    "snapshot": _of("plan", "from"),
    "memory": _of("plan", "memory_bytes", lambda size: format_size_bytes(int(size))),
    "seed": lambda run: str(run.header.seed),
    "exit status": _of("job", "exit_status"),
    "guest time": _of("job", "guest_ns", _seconds),
    "warped": _of("totals", "warped_ns", _seconds),
    "real time": _of("totals", "job_host_s", lambda time_s: f"{time_s:,.3f} s"),
    "frozen": _of("totals", "frozen_host_ns", _seconds),
    "freezingtime": lambda run: run.header.tool_version,
    "QEMU": _of("versions", "qemu"),
    "kernel": _of("versions", "kernel"),
    "image": _of("versions", "image"),
}
