# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime compare`: runs side by side, and an exit status for a regression test."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from freezingtime.cli.options import JsonOption, command_app
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import say, show
from freezingtime.option import Argument, Option, Values

if TYPE_CHECKING:
    from freezingtime.results.exports.formats import Output
    from freezingtime.results.judged import JudgedComparison

EXIT_FAILED_IF = 1

_RUNS_MIN = 2
_PLAN_ROWS_MAX = 30


#: Conditions, and formats, of commands that compare.
FailIfOption: TypeAlias = Annotated[
    Sequence[str],
    Option(
        "CONDITION",
        "Exit with status 1 if this is met: "
        "`[DISK:][OPERATION.]METRIC OP THRESHOLD`, such as `read.p99 > +5%` (a change) or "
        "`data:write.mean > 100us` (a value). Repeatable.",
    ),
]
FormatOption: TypeAlias = Annotated[
    Sequence[str],
    Option(
        "FORMAT[=FILE]",
        "`junit`, `github` (annotations), `markdown`, `bmf` (Bencher), `gh-benchmark` and "
        "`gh-benchmark-bigger` (github-action-benchmark), `openmetrics`, `otava` (CSV), `json` or "
        "`text`: to FILE, or to stdout in place of the text. Repeatable.",
        flag="--format",
    ),
]


def compare_command(
    run: Annotated[
        list[Path],
        Argument(
            "RUN",
            "Two or more runs: directories (`run --out`), or records (`replay --out`). "
            "Each is compared with the first.",
            Values.RUN,
        ),
    ],
    fail_if: FailIfOption = (),
    output: FormatOption = (),
    as_json: JsonOption = False,
) -> int:
    """Compare runs: configuration, the first differing requests, and every metric.

    Runs are deterministic: a difference of one nanosecond has a cause. The exit status is 1 if a
    condition is met, or a run cannot be judged by: it is not valid, was killed, or its job failed.

    Example: `freezingtime compare main branch --fail-if "p99 > +5%" --fail-if "guest_time > +1%"`
    """
    from freezingtime.results.condition import parse_condition
    from freezingtime.results.exports.formats import parse_outputs
    from freezingtime.results.judged import judge
    from freezingtime.results.recorded_run import open_recorded_run

    if len(run) < _RUNS_MIN:
        raise InputError(f"{run[0]}: only one run; name two or more")
    outputs = parse_outputs([*(["json"] if as_json else []), *output])
    conditions = [parse_condition(text) for text in fail_if]
    first, *others = (open_recorded_run(path, say) for path in run)
    judged = judge(first, others, conditions)
    present(judged, outputs)
    # A run that cannot be judged has not passed.
    return 0 if all(each.has_passed for each in judged) else EXIT_FAILED_IF


def present(judged: Sequence[JudgedComparison], outputs: Sequence[Output]) -> None:
    """Write the files that are wanted, and print the text, or what is wanted in its place.

    Raises:
        InputError: a file cannot be written.
    """
    for note in dict.fromkeys(note for each in judged for note in each.notes):
        say(f"--fail-if {note}")
    write = None
    for each in outputs:
        if each.path is None:
            write = each.write
        each.save(judged)
    if write is not None:
        sys.stdout.write(write(judged))
        return
    for number, one in enumerate(judged):
        if number:
            show()
        _show(one)


def _show(judged: JudgedComparison) -> None:
    from freezingtime.results.judged import (
        changed_metrics,
        difference_row,
        differing_rows,
        failure_text,
        verdict,
    )

    comparison = judged.comparison
    a, b = comparison.a, comparison.b
    show(f"{a.path} -> {b.path}: {verdict(comparison)}")
    for reason in judged.unfit:
        show(f"UNFIT {reason}")
    if comparison.plan:
        shown = comparison.plan[:_PLAN_ROWS_MAX]
        given = [(difference.key, difference.a, difference.b) for difference in shown]
        _table("Configuration differences", ("what", "a", "b"), given)
        if left_out := len(comparison.plan) - len(shown):
            show(f"{left_out} more; --json lists all")
    elif not comparison.is_identical and comparison.is_repeatable:
        show(
            "Configuration and versions are equal: the cause lies outside, such as the "
            "content of a medium, of a job directory, or of a device's Python file"
        )
    if comparison.first_differing:
        rows = [row for request in comparison.first_differing for row in differing_rows(request)]
        _table("First differing requests", ("disk", "request", "what", "a", "b"), rows)
    if changed := list(changed_metrics(comparison)):
        _table("Metric differences", ("metric", "a", "b", "change"), map(difference_row, changed))
    if judged.spreads:
        rows = [spread.row() for spread in judged.spreads]
        _table("Phases", ("metric", "a", "b", "change", "chance"), dict.fromkeys(rows))
    for failure in judged.failures:
        show(f"FAILED {failure_text(failure)}")


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from freezingtime.cli.output.columns import print_columns

    show()
    show(title)
    print_columns([header, *rows])


app = command_app(compare_command)
