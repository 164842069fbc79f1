# SPDX-License-Identifier: GPL-2.0-or-later
"""The report itself: one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freezingtime.report.answer import HEADS, WIDTH, answer, subject_name
from freezingtime.report.command import command_of
from freezingtime.report.discard_notice import discard_notices
from freezingtime.report.faults import kinds_table, rules_table
from freezingtime.report.figures.inline_svg import INLINE_SETTINGS, inline_svg
from freezingtime.report.figures.run_figures import (
    FAULTS,
    FREEZE,
    INTERNALS,
    LATENCY_DISTRIBUTION,
    LATENCY_OVER_TIME,
    QUEUE_DEPTH,
    SERVICE,
    THROUGHPUT,
    WARP,
    RunFigure,
    draw_page_figure,
)
from freezingtime.report.figures.run_panels import always_0, subjects_max
from freezingtime.report.internals_tables import held_table, served_table, statistics_table
from freezingtime.report.layout.sections import (
    Page,
    PageFigure,
    PagePart,
    PageSection,
    PageText,
    PageVerdict,
    page_json,
    render_page,
    write_page,
)
from freezingtime.report.layout.templates import page_text
from freezingtime.report.run_data import GuestOutput, RunData
from freezingtime.report.side_by_side import side_by_side
from freezingtime.report.slow.section import slow_section
from freezingtime.report.tables import (
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
_TEMPLATE = "runs.html"


def write_report(runs: Sequence[RunData], path: Path) -> None:
    """Write the page of :func:`report_page`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_page(report_page(runs), path)


def report_page(runs: Sequence[RunData]) -> str:
    """The page for one run, or for several beside each other; equal runs make equal pages."""
    runs = side_by_side(runs)
    replayed, own = _replayed(runs), application_table(runs)
    page = Page(
        title=_title(runs),
        made_from="the records of the runs",
        subject=("Replay of", replayed) if replayed else None,
        verdicts=_verdicts(runs),
        notices=list(notices(runs)),
        tables=[own] if own.rows else [],
        sections=_sections(runs),
        labels=[run.label for run in runs],
    )
    more = {"runs": runs, "legend": _legend(runs), "answer": answer(runs)}
    return render_page(page, _TEMPLATE, heads=HEADS, bar_width=WIDTH, **more)


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


def _sections(runs: Sequence[RunData]) -> list[PageSection]:
    def with_figure(kind: RunFigure, *notes: str) -> PageSection:
        return PageSection(kind.name, kind.title, [*notes, *_figures(runs, kind)])

    with_guest = [run for run in runs if run.has_guest]
    output = PageSection("output", "Guest output", [_output(run) for run in with_guest])
    plan: list[PagePart] = [plan_table(runs), *_commands(runs)]
    return [
        PageSection("summary", "Summary", [summary_table(runs)]),
        *slow_section(runs),
        with_figure(LATENCY_DISTRIBUTION, *_zero_notes(runs)),
        with_figure(LATENCY_OVER_TIME),
        *_of_faults(runs),
        with_figure(QUEUE_DEPTH),
        with_figure(THROUGHPUT),
        *(_of_guests(runs) if with_guest else ()),
        _internals(runs),
        *([output] if with_guest else ()),
        PageSection("plan", "Configuration", plan, is_folded=True),
    ]


def _zero_notes(runs: Sequence[RunData]) -> list[str]:
    """Say what is not drawn, as it is always 0."""
    return [
        f"{subject_name(disk, operation)}{f' of {label}' if len(runs) > 1 else ''}: "
        f"0 in all {count:,} requests."
        for disk, operation, label, count in always_0(runs)
    ]


def _of_guests(runs: Sequence[RunData]) -> list[PageSection]:
    """What there is only where there was a guest: the audit, and where real time went."""
    count = sum(run.audited_count for run in runs)
    deviations = [audit.worst_deviation_ns for run in runs for audit in run.audits.values()]
    note = [] if any(deviations) else [f"Deviation from the model: 0 in all {count:,} requests."]
    service = _figures(runs, SERVICE)
    freeze = _figures(runs, FREEZE, WARP)
    return [
        PageSection(SERVICE.name, SERVICE.title, [*note, audit_table(runs), *service]),
        PageSection(
            "freeze-and-warp", "Freeze and warp", [_FREEZE_NOTE, freeze_table(runs), *freeze]
        ),
    ]


def _of_faults(runs: Sequence[RunData]) -> list[PageSection]:
    """What devices that fail on purpose did, if one was to."""
    if not any(run.header.has_faults for run in runs):
        return []
    tables = [table for table in (rules_table(runs), kinds_table(runs)) if table.rows]
    return [PageSection(FAULTS.name, FAULTS.title, [*tables, *_figures(runs, FAULTS)])]


def _commands(runs: Sequence[RunData]) -> list[PageText]:
    """The command of each run, to be copied."""
    found = [(run.label, command_of(run.document)) for run in runs]
    return [PageText(f"Command of {label}", command) for label, command in found if command]


def _internals(runs: Sequence[RunData]) -> PageSection:
    tables = [
        table
        for table in (held_table(runs), served_table(runs), statistics_table(runs))
        if table.rows
    ]
    note = _INTERNALS_NOTE if tables else _NO_INTERNALS_NOTE
    parts: list[PagePart] = [note, *tables, *_figures(runs, INTERNALS)]
    return PageSection(INTERNALS.name, INTERNALS.title, parts)


def _figures(runs: Sequence[RunData], *kinds: RunFigure) -> list[PageFigure]:
    """Of each kind one, unless there is nothing to draw."""
    return [
        PageFigure(
            kind.name,
            inline_svg(drawn[0], kind.name, kind.title, kind.description),
            kind.description,
            page_json([panel.as_list() for panel in drawn[1]]),
        )
        for kind in kinds
        if (drawn := draw_page_figure(kind, runs, **INLINE_SETTINGS)) is not None
    ]


def _output(run: RunData) -> PageText:
    return PageText(run.label, _output_text(run.output))


def _output_text(output: GuestOutput | None) -> str:
    if output is None:
        return "(none: no guest took part, or the run has not ended)"
    text = output.head
    if output.left_out_bytes:
        text += f"\n… ({output.left_out_bytes:,} bytes omitted) …\n{output.tail}"
    return page_text(text) or "(the job printed nothing)"


def _title(runs: Sequence[RunData]) -> str:
    names = list(dict.fromkeys(run.name for run in runs))
    return names[0] if len(names) == 1 else f"{len(names)} side by side"


def _replayed(runs: Sequence[RunData]) -> str:
    """The trace or workload of replays, if all have the same."""
    sources = {run.header.source for run in runs}
    return (sources.pop() or "") if len(sources) == 1 else ""


def _legend(runs: Sequence[RunData]) -> list[tuple[str, str]]:
    """Say which run each label is, and what its disks were, as far as the label does not."""
    if len(runs) == 1:
        return []
    several = len({run.name for run in runs}) > 1
    several_sources = len({run.header.source for run in runs}) > 1
    disks = [", ".join(disk.spec for disk in run.header.disks) for run in runs]
    names = [
        ": ".join(
            [run.name] * several
            + [run.header.source or ""] * (several_sources and run.header.source is not None)
            + [spec] * (spec != run.label)
        )
        for run, spec in zip(runs, disks, strict=True)
    ]
    return [(run.label, name) for run, name in zip(runs, names, strict=True)] if any(names) else []


def _verdicts(runs: Sequence[RunData]) -> list[PageVerdict]:
    """One line for all that are exact, unless one is not; one for each under another clock."""
    exact = [run for run in runs if run.header.is_repeatable]
    others = [_verdict(run, "kvm clock:") for run in runs if not run.header.is_repeatable]
    if any(run.late_count for run in exact):
        return [_verdict(run, "exact:", "NOT EXACT:") for run in exact] + others
    if not exact:
        return others
    count = sum(run.audited_count for run in exact)
    if not any(run.has_guest for run in exact):
        return [PageVerdict("good", "simulated:", f"{count:,} requests, without a guest"), *others]
    return [PageVerdict("good", "exact:", f"{count:,} of {count:,} requests on time"), *others]


def _verdict(run: RunData, word: str, late_word: str | None = None) -> PageVerdict:
    count, late_count = run.audited_count, run.late_count
    return PageVerdict(
        "bad" if late_count else "good",
        (late_word or word) if late_count else word,
        f"{count - late_count:,} of {count:,} requests on time ({run.label})",
    )
