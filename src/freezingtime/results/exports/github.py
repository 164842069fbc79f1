# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparisons for GitHub: annotations of a workflow, and a summary in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from freezingtime.results.condition import Failure
from freezingtime.results.judged import (
    JudgedComparison,
    changed_metrics,
    difference_row,
    differing_rows,
    failure_text,
    verdict,
)

#: GitHub shows no more of a step.
ERRORS_MAX = 10
_ROWS_MAX = 50
_TITLE = "freezingtime"


def to_annotations(judged: Sequence[JudgedComparison]) -> str:
    """Workflow commands: the errors, the worst first, at most ten; a notice for each comparison."""
    errors = [f"{reason}" for each in judged for reason in each.unfit]
    met = [(failure, each) for each in judged for failure in each.failures]
    met.sort(key=lambda pair: _size(pair[0]), reverse=True)
    errors += [f"{each.comparison.b.path}: {failure_text(failure)}" for failure, each in met]
    errors = list(dict.fromkeys(errors))
    if len(errors) > ERRORS_MAX:
        left_out = len(errors) - ERRORS_MAX + 1
        errors = [*errors[: ERRORS_MAX - 1], f"{left_out} more conditions are met"]
    lines = [f"::error title={_TITLE}::{_escaped(error)}" for error in errors]
    lines += [
        f"::notice title={_TITLE}::"
        + _escaped(f"{each.comparison.a.path} -> {each.comparison.b.path}: ")
        + _escaped(verdict(each.comparison))
        for each in judged
    ]
    return "\n".join([*lines, ""])


def to_markdown(judged: Sequence[JudgedComparison]) -> str:
    """A summary of each comparison: verdict, conditions, and the metrics that differ."""
    lines: list[str] = []
    for each in judged:
        comparison = each.comparison
        lines += [f"### {_cell(f'{comparison.a.path} -> {comparison.b.path}')}", ""]
        lines += [f"{'Passed' if each.has_passed else '**Failed**'}: {_cell(verdict(comparison))}"]
        lines += ["", *(f"- **unfit**: {_cell(reason)}" for reason in each.unfit)]
        lines += [f"- **failed**: {_cell(failure_text(failure))}" for failure in each.failures]
        spreads = [spread.row() for spread in each.spreads]
        lines += _table(("phases", "a", "b", "change", "chance"), spreads)
        rows = [difference_row(found) for found in changed_metrics(comparison)]
        lines += _table(("metric", "a", "b", "change"), rows)
        requests = [
            row for request in comparison.first_differing for row in differing_rows(request)
        ]
        lines += _table(("disk", "request", "what differs first", "a", "b"), requests)
        plan = [(each.key, each.a, each.b) for each in comparison.plan]
        lines += _table(("configuration", "a", "b"), plan)
        lines += [""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _size(failure: Failure) -> float:
    """How large a change is, by which the worst come first."""
    a, b = failure.found.a or 0, failure.found.b or 0
    return abs(b - a) / abs(a) if a else float("inf")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = ["", f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows[:_ROWS_MAX]]
    if len(rows) > _ROWS_MAX:
        lines += ["", f"{len(rows) - _ROWS_MAX} more"]
    return lines


def _cell(text: str) -> str:
    """A text that Markdown shows as it is, whoever wrote it."""
    for sign in "\\`*_{}[]<>#|~&":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """The data of a workflow command: what ends it would be one of its own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
