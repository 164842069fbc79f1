# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a sweep: the best points, figures, what failed, and all points with their runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from freezingtime.application.figure import Direction
from freezingtime.report.figures.inline_svg import INLINE_SETTINGS, inline_svg
from freezingtime.report.layout.sections import (
    Page,
    PageFigure,
    PagePart,
    PageSection,
    PageVerdict,
    page_json,
    render_page,
    write_page,
)
from freezingtime.report.sweep.data import SEED, SweepData, key_text
from freezingtime.report.sweep.figures import SweepFigure, draw_sweep_figure, sweep_figures
from freezingtime.report.sweep.panels import front_of
from freezingtime.report.tables import ReportTable
from freezingtime.trace.explored.sweep_files import OK

#: More rows than that are looked for in the table itself.
_ROWS_MAX = 2000
_FAILED_MAX = 200
_NONE = "-"


def write_sweep_report(data: SweepData, path: Path) -> None:
    """Write the page of :func:`sweep_page`, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_page(sweep_page(data), path)


def sweep_page(data: SweepData) -> str:
    """The page; equal sweeps make equal pages."""
    best = _best_table(data)
    return render_page(
        Page(
            title=f"sweep, {data.path}",
            heading=f"Sweep: {data.path}",
            made_from="the sweep",
            subject=_subject(data),
            verdicts=[_verdict(data)],
            notices=list(_notices(data)),
            tables=[best] * bool(best.rows),
            sections=list(_sections(data)),
            points=data.texts(),
        )
    )


def _subject(data: SweepData) -> tuple[str, str] | None:
    swept = data.swept
    if swept.get("kind") != "run":
        source = swept.get("workload") or swept.get("trace")
        return ("Replays of", str(source)) if source else None
    job = swept.get("job")
    words = [str(word) for word in job if word] if isinstance(job, list) else []
    return ("Runs of", " ".join(words)) if words else None


def _verdict(data: SweepData) -> PageVerdict:
    count, passed = data.point_count, data.status_counts.get(OK, 0)
    if passed == count:
        return PageVerdict("good", "complete:", f"all {count:,} points have passed")
    others = ", ".join(
        f"{status}: {number:,}" for status, number in data.status_counts.items() if status != OK
    )
    return PageVerdict("bad", f"{count - passed:,} failed:", f"of {count:,} points ({others})")


def _notices(data: SweepData) -> Iterator[str]:
    if len(data.numbers) < data.point_count:
        yield (
            f"this page has {len(data.numbers):,} of {data.point_count:,} points, evenly chosen; "
            "results.parquet has all"
        )


def _best_table(data: SweepData) -> ReportTable:
    """The point that is best in each metric."""
    keys = [key for key in data.keys if key.name != SEED or not data.is_repeated]
    rows, links = [], []
    for metric in data.metrics:
        medians = [
            (value, each.points[0])
            for each in data.configurations()
            if (value := data.median(metric, each.points)) is not None
        ]
        if not medians or metric.direction is Direction.UNKNOWN:
            continue
        pick = min if metric.direction is Direction.LOWER else max
        value, point = pick(medians, key=lambda each: each[0])
        word = "lowest" if metric.direction is Direction.LOWER else "highest"
        rows.append(
            [f"{word} {metric.name}", metric.text(value)]
            + [key_text(key.values[point]) for key in keys]
        )
        links.append(data.links[point])
    heads = ["", "value", *(key.name for key in keys)]
    caption = "Best points" + (", by the median over the seeds" if data.is_repeated else "")
    return ReportTable(caption, heads, rows, numeric=False, links=links)


def _sections(data: SweepData) -> Iterator[PageSection]:
    for kind in sweep_figures(data):
        parts: list[PagePart] = [_figure(kind)]
        if kind.name == "pareto" and (front := _front_table(data)).rows:
            parts.append(front)
        yield PageSection(kind.name, kind.title, parts, short_title=kind.short_title)
    failed = [point for point in range(len(data.numbers)) if not data.has_passed(point)]
    if failed:
        yield PageSection("failed", "Points that failed", [_failed_table(data, failed)])
    yield PageSection("all-points", "All points", [_points_table(data)])
    plan = ReportTable("What was swept", ("", "value"), list(_plan(data)), numeric=False)
    yield PageSection("plan", "Configuration", [plan], is_folded=True)


def _figure(kind: SweepFigure) -> PageFigure:
    [svg], panels = draw_sweep_figure(kind, [".svg"], **INLINE_SETTINGS)
    return PageFigure(
        kind.name,
        inline_svg(svg, kind.name, kind.title, kind.description),
        kind.description,
        page_json([panel.as_list() for panel in panels]),
    )


def _front_table(data: SweepData) -> ReportTable:
    first, second = data.metrics[:2]
    both = [
        each
        for each in data.configurations()
        if data.values(first, each.points) and data.values(second, each.points)
    ]
    points = [both[number].points[0] for number in front_of(data, first, second)][:_ROWS_MAX]
    return _table(data, "Points on the Pareto front", points, is_median=data.is_repeated)


def _points_table(data: SweepData) -> ReportTable:
    count = len(data.numbers)
    caption = f"All {count:,} points; a number leads to the run"
    if count > _ROWS_MAX:
        caption = f"The first {_ROWS_MAX:,} of {count:,} points; a number leads to the run"
    return _table(data, caption, range(min(count, _ROWS_MAX)))


def _failed_table(data: SweepData, failed: Sequence[int]) -> ReportTable:
    caption = "Why there are no figures that count"
    if len(failed) > _FAILED_MAX:
        caption += f", the first {_FAILED_MAX} of {len(failed):,}"
    shown = failed[:_FAILED_MAX]
    heads = ["point", *(key.name for key in data.keys), "status", "reason"]
    rows = [
        [
            str(data.numbers[point]),
            *(key_text(key.values[point]) for key in data.keys),
            data.statuses[point],
            str(data.reasons[point]),
        ]
        for point in shown
    ]
    links = [data.links[point] for point in shown]
    return ReportTable(caption, heads, rows, numeric=False, links=links)


def _table(
    data: SweepData, caption: str, points: Sequence[int], *, is_median: bool = False
) -> ReportTable:
    of_first = {each.points[0]: each.points for each in data.configurations()}
    rows = []
    for point in points:
        values = [
            data.median(metric, of_first[point]) if is_median else metric.values[point]
            for metric in data.metrics
        ]
        rows.append(
            [
                str(data.numbers[point]),
                *(
                    _NONE if value is None else metric.text(value)
                    for metric, value in zip(data.metrics, values, strict=True)
                ),
                *(key_text(key.values[point]) for key in data.keys),
                data.statuses[point],
            ]
        )
    heads = [
        "point",
        *(metric.name for metric in data.metrics),
        *(key.name for key in data.keys),
        "status",
    ]
    return ReportTable(
        caption, heads, rows, numeric=False, links=[data.links[point] for point in points]
    )


def _plan(data: SweepData) -> Iterator[list[str]]:
    for name, value in data.swept.items():
        if value not in (None, "", [], {}):
            text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield [name.replace("_", " "), text]
