# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of an exploration of power cuts: the answer, when the power was cut, what failed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from freezingtime.report.exploration.read import ExplorationData
from freezingtime.report.exploration.timeline import DESCRIPTION, draw_timeline
from freezingtime.report.figures.inline_svg import INLINE_SETTINGS, inline_svg
from freezingtime.report.layout.sections import (
    Page,
    PageFigure,
    PageSection,
    PageText,
    PageVerdict,
    render_page,
    write_page,
)
from freezingtime.report.layout.templates import page_text
from freezingtime.report.tables import ReportTable
from freezingtime.trace.explored.crash_files import CrashFailure, CrashSummary, LostWrite
from freezingtime.units import format_size_bytes, format_time_ns

_POINTS_MOST = 50


def write_exploration_report(data: ExplorationData, path: Path) -> None:
    """Write the page of :func:`exploration_page`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_page(exploration_page(data), path)


def exploration_page(data: ExplorationData) -> str:
    """The page; equal explorations make equal pages."""
    return render_page(
        Page(
            title=f"power cuts, {data.path}",
            heading=f"Power cuts: {data.path}",
            made_from="the exploration",
            verdicts=[_verdict(data)],
            notices=list(_notices(data)),
            tables=[_counts_table(data)],
            sections=_sections(data),
        )
    )


def _sections(data: ExplorationData) -> list[PageSection]:
    timeline = inline_svg(
        draw_timeline(data, **INLINE_SETTINGS), "timeline", "Power cuts", DESCRIPTION
    )
    failed_points = _failed_points(data)
    cuts = [PageFigure("timeline", timeline, DESCRIPTION)]
    output = page_text(data.output) or "(the job printed nothing)"
    return [
        PageSection("timeline", "Power cuts", cuts + [failed_points] * bool(failed_points.rows)),
        *(_failure(data, failure) for failure in data.failures),
        PageSection("output", "Job output", [PageText("", output)]),
        PageSection("plan", "Configuration", [_plan_table(data.request)], is_folded=True),
    ]


def _verdict(data: ExplorationData) -> PageVerdict:
    levels = [data.summary] + [data.recoveries] * (data.recoveries is not None)
    failed = sum(level.failed for level in levels if level is not None)
    unique = sum(level.unique for level in levels if level is not None)
    if failed:
        return PageVerdict("bad", f"{failed:,} failed:", f"of {unique:,} different states")
    return PageVerdict("good", "passed:", f"all {unique:,} different states")


def _notices(data: ExplorationData) -> Iterator[str]:
    if not data.summary.is_exact:
        yield "NOT EXACT: the job's run was not; another one may write at other times"
    if not data.summary.flushes:
        yield "the job never flushed its disks: nothing that it wrote had to survive"


def _counts_table(data: ExplorationData) -> ReportTable:
    heads = ("", "points", "possible", "derived", "different", "run", "like one run", "failed")
    rows = [["power cuts", *_numbers(data.summary)]]
    if data.recoveries is not None:
        rows.append(["second ones, in recoveries", *_numbers(data.recoveries)])
    return ReportTable("States that a power cut may have left, counted", heads, rows)


def _numbers(counts: CrashSummary) -> Iterator[str]:
    for number in (counts.points, counts.possible, counts.derived, counts.unique):
        yield f"{number:,}" if number < 10**12 else f"{number:.1e}"
    yield f"{counts.run + counts.known:,}"
    yield f"{counts.pruned:,}"
    yield f"{counts.failed:,}"


def _failed_points(data: ExplorationData) -> ReportTable:
    failed = [each for each in data.points if each.failed]
    rows = [
        [
            format_time_ns(each.point.time_ns - data.start_ns),
            f"before {each.point.before}",
            f"{each.failed:,} of {each.states:,}",
        ]
        for each in failed[:_POINTS_MOST]
    ]
    caption = "Points with states that failed"
    if len(failed) > _POINTS_MOST:
        caption += f", the first {_POINTS_MOST} of {len(failed):,}"
    return ReportTable(caption, ("after the start", "the power is cut", "failed"), rows, 2)


def _failure(data: ExplorationData, failure: CrashFailure) -> PageSection:
    when = format_time_ns(failure.since_start_ns)
    tables, paragraphs = [], []
    first = failure.recovery_of
    if first is None:
        paragraphs.append(
            f"The power is cut {when} after the start of the job, before {failure.point.before}."
        )
    else:
        paragraphs.append(
            f"The power is cut {format_time_ns(first.since_start_ns)} after the start of the job, "
            f"before {first.point.before}; and again {when} after the start of the recovery, "
            f"before {failure.point.before}."
        )
        if first.lost:
            tables.append(_lost_table("Lost by the first power cut", first.lost))
    if failure.lost:
        tables.append(_lost_table("Smallest loss that still fails", failure.lost))
    elif failure.undecided_pieces:
        paragraphs.append(
            f"It fails although all {failure.undecided_pieces} pieces are kept that were not "
            "durable: what is missing had not been written."
        )
    else:
        paragraphs.append("Nothing that was written is lost: what is missing had not been written.")
    replayed = ["freezingtime", "crash", "--out", str(data.path), "--replay", str(failure.number)]
    texts = {
        "Output of the check": map(page_text, failure.output),
        "Console": map(page_text, failure.console),
        "Disks, as the power cut left them": failure.images,
        "Command that recovers from it again": [shlex.join(replayed)],
    }
    said = [PageText(title, "\n".join(lines)) for title, lines in texts.items()]
    short_title = f"Failure {failure.number}"
    return PageSection(
        f"failure-{failure.number}",
        f"{short_title}: {failure.reason}",
        [*paragraphs, *tables, *(text for text in said if text.content)],
        short_title=short_title,
    )


def _lost_table(caption: str, lost: Sequence[LostWrite]) -> ReportTable:
    heads = ("disk", "offset", "length", "pieces", "they hold", "would hold")
    rows = [
        [
            each.disk,
            str(each.offset_bytes),
            format_size_bytes(each.length_bytes),
            f"{each.pieces} of {each.of_pieces}",
            each.fate,
            page_text("; ".join(each.holds)) or "-",
        ]
        for each in lost
    ]
    return ReportTable(caption, heads, rows, numeric=False)


def _plan_table(request: Mapping[str, Any]) -> ReportTable:
    options = request.get("options")
    given = dict(options) if isinstance(options, dict) else {}
    rows = [
        ["job", _script(request.get("job"))],
        ["check", _script(request.get("check"))],
        ["check limit", str(request.get("check_limit", "-"))],
        *([name.replace("_", " "), _cell(value)] for name, value in given.items() if value),
        ["version", str(request.get("version", "-"))],
    ]
    return ReportTable("What was explored", ("", "value"), rows, numeric=False)


def _script(job: object) -> str:
    if not isinstance(job, dict):
        return "the file systems', and what the job acknowledged"
    return str(job.get("script") or job.get("line") or shlex.join(map(str, job.get("words", ()))))


def _cell(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
