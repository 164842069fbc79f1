# SPDX-License-Identifier: GPL-2.0-or-later
"""The report itself: one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from freezingtime._version import __version__
from freezingtime.host.replaced_file import replaced
from freezingtime.report.discard_notice import discard_notices
from freezingtime.report.figures.inline_svg import INLINE_SETTINGS, inline_svg
from freezingtime.report.figures.run_figures import (
    FREEZE,
    INTERNALS,
    LATENCY_DISTRIBUTION,
    LATENCY_OVER_TIME,
    QUEUE_DEPTH,
    SERVICE,
    THROUGHPUT,
    WARP,
    RunFigure,
    draw_run_figure,
)
from freezingtime.report.figures.run_panels import subjects_max
from freezingtime.report.figures.style import COLORS, DARK_COLORS
from freezingtime.report.internals_tables import held_table, served_table, statistics_table
from freezingtime.report.run_data import GuestOutput, RunData
from freezingtime.report.tables import (
    ReportTable,
    application_table,
    audit_table,
    freeze_table,
    plan_table,
    summary_table,
)
from freezingtime.request_figures import ALL

_FREEZE_NOTE = (
    "The record says how much real time each request cost, but not at what real time: so these "
    "are drawn over guest time. Requests in flight together are warped together: the share is of "
    "their service, and does not add up to the time that was skipped in all."
)
_INTERNALS_NOTE = (
    "What the device's model says of each request, and of itself. Of several things that a "
    "request waited for, the longest counts; what held it may have been short beside its latency."
)
_NO_INTERNALS_NOTE = "These device models report no internals."
# One shows as much as all; keep the page short.
_COMPLAINTS_MAX = 3
# Control characters have no place in a page; there are pictures of them.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


@dataclass(frozen=True, slots=True)
class _Verdict:
    kind: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class _PageFigure:
    name: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    content: str


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[ReportTable] = ()
    figures: Sequence[_PageFigure] = ()
    texts: Sequence[_Text] = field(default=())


def write_report(runs: Sequence[RunData], path: Path) -> None:
    """Write the page of :func:`report_page`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    page = report_page(runs).encode(errors="replace")
    with replaced(path) as file:
        file.write(page)


def report_page(runs: Sequence[RunData]) -> str:
    """The page for one run, or for several beside each other; equal runs make equal pages."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    resources = files("freezingtime.report")
    style = environment.from_string((resources / "page.css").read_text()).render(
        light=_series_colors(COLORS), dark=_series_colors(DARK_COLORS)
    )
    page = environment.from_string((resources / "page.html").read_text())
    return page.render(
        runs=runs,
        verdicts=[_verdict(run) for run in runs],
        notices=list(notices(runs)),
        sections=_sections(runs),
        style=style,
        version=__version__,
    )


def notices(runs: Sequence[RunData]) -> Sequence[str]:
    """Return the warnings above the figures, one line each."""
    found = []
    versions = sorted({run.header.tool_version for run in runs})
    if len(versions) > 1:
        found.append(
            f"the runs are of different versions of freezingtime ({', '.join(versions)}): what "
            "differs may be due to that"
        )
    found += [
        f"{run.name}: the run was killed, or is still running: this is what it had recorded"
        for run in runs
        if not run.is_finished
    ]
    found += [
        f"{run.name}: not valid: at {disturbed_ns} ns of guest time an interrupt of the host's "
        "reached the guest"
        for run in runs
        if run.document is not None
        and (disturbed_ns := run.document["audit"].get("disturbed_ns")) is not None
    ]
    found += [
        f"{run.name}: kernel message: {complaint}"
        for run in runs
        if run.document is not None
        for complaint in run.document["audit"].get("kernel_complaints", [])[:_COMPLAINTS_MAX]
    ]
    found += [
        f"{run.name}: {notice}"
        for run in runs
        for disk, said in run.statistics.items()
        for notice in discard_notices(disk, said.totals)
    ]
    subjects = {
        (disk, name)
        for run in runs
        for disk, data in run.disks.items()
        for name in data.operations
        if name != ALL
    }
    if len(subjects) > subjects_max(runs):
        found.append(
            f"{len(subjects)} pairs of a disk and an operation: figures show those "
            f"with the most requests, at most {subjects_max(runs)}, and tables all"
        )
    return found


def _sections(runs: Sequence[RunData]) -> list[_Section]:
    def with_figure(kind: RunFigure, *tables: ReportTable) -> _Section:
        return _Section(kind.name, kind.title, tables=tables, figures=_figures(runs, kind))

    own = application_table(runs)
    return [
        *([_Section("application", "Application", tables=[own])] if own.rows else []),
        _Section("plan", "Configuration", tables=[plan_table(runs)]),
        _Section("summary", "Summary", tables=[summary_table(runs)]),
        with_figure(LATENCY_DISTRIBUTION),
        with_figure(LATENCY_OVER_TIME),
        with_figure(QUEUE_DEPTH),
        with_figure(THROUGHPUT),
        with_figure(SERVICE, audit_table(runs)),
        _Section(
            "freeze-and-warp",
            "Freeze and warp",
            [_FREEZE_NOTE],
            [freeze_table(runs)],
            _figures(runs, FREEZE, WARP),
        ),
        _internals(runs),
        _Section("output", "Guest output", texts=[_output(run) for run in runs]),
    ]


def _internals(runs: Sequence[RunData]) -> _Section:
    tables = [
        table
        for table in (held_table(runs), served_table(runs), statistics_table(runs))
        if table.rows
    ]
    return _Section(
        INTERNALS.name,
        INTERNALS.title,
        [_INTERNALS_NOTE if tables else _NO_INTERNALS_NOTE],
        tables,
        _figures(runs, INTERNALS),
    )


def _figures(runs: Sequence[RunData], *kinds: RunFigure) -> list[_PageFigure]:
    """Of each kind one, unless there is nothing to draw."""
    return [
        _PageFigure(
            kind.name, inline_svg(svg, kind.name, kind.title, kind.description), kind.description
        )
        for kind in kinds
        for svg in draw_run_figure(kind, runs, [".svg"], **INLINE_SETTINGS)
    ]


def _output(run: RunData) -> _Text:
    return _Text(run.name, _output_text(run.output))


def _output_text(output: GuestOutput | None) -> str:
    if output is None:
        return "(none: no guest took part, or the run has not ended)"
    text = output.head
    if output.left_out_bytes:
        text += f"\n… ({output.left_out_bytes:,} bytes omitted) …\n{output.tail}"
    return text.translate(_PICTURES) or "(the job printed nothing)"


def _verdict(run: RunData) -> _Verdict:
    total = sum(
        data.count
        for disk in run.disks.values()
        for name, data in disk.operations.items()
        if name != ALL
    )
    late_count = sum(disk.late_count for disk in run.disks.values())
    word = ("NOT EXACT:" if late_count else "exact:") if run.header.is_repeatable else "kvm clock:"
    return _Verdict(
        "bad" if late_count else "good",
        word,
        f"{total - late_count:,} of {total:,} requests on time ({run.name})",
    )


def _series_colors(colors: Sequence[str]) -> str:
    return " ".join(f"--series-{number}: {color};" for number, color in enumerate(colors))
