# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime compare`: runs side by side, and an exit status for a regression test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.options import JsonOption, command_app
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import say, show
from freezingtime.option import Argument, Option, Values
from freezingtime.units import format_time_ns

if TYPE_CHECKING:
    from freezingtime.results.compare import Comparison, MetricDifference
    from freezingtime.results.condition import Failure
    from freezingtime.results.metrics import MetricKey
    from freezingtime.results.request_difference import DifferingRequest

EXIT_FAILED_IF = 1

_RUNS_MIN = 2
_PLAN_ROWS_MAX = 30
_NONE = "-"


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
    fail_if: Annotated[
        Sequence[str],
        Option(
            "CONDITION",
            "Exit with status 1 if this is met, a run is not valid, or its job failed: "
            "`[DISK:][OPERATION.]METRIC OP THRESHOLD`, such as `read.p99 > +5%` (a change) or "
            "`data:write.mean > 100us` (a value). Repeatable.",
        ),
    ] = (),
    as_json: JsonOption = False,
) -> int:
    """Compare runs: configuration, the first differing requests, and every metric.

    Runs are deterministic: a difference of one nanosecond has a cause.

    Example: `freezingtime compare main branch --fail-if "p99 > +5%" --fail-if "guest_time > +1%"`
    """
    from freezingtime.results.compare import compare
    from freezingtime.results.condition import failures, parse_condition
    from freezingtime.results.recorded_run import open_recorded_run

    if len(run) < _RUNS_MIN:
        raise InputError(f"{run[0]}: only one run; name two or more")
    conditions = [parse_condition(text) for text in fail_if]
    first, *others = (open_recorded_run(path, say) for path in run)
    comparisons = [compare(first, other) for other in others]
    failed = [failures(conditions, comparison) for comparison in comparisons]
    notes = [
        list(dict.fromkeys(note for each in conditions for note in each.notes(comparison)))
        for comparison in comparisons
    ]
    for note in dict.fromkeys(note for found in notes for note in found):
        say(f"--fail-if {note}")
    if as_json:
        documents = [_document(*three) for three in zip(comparisons, failed, notes, strict=True)]
        print_json({"a": str(run[0]), "comparisons": documents})
    else:
        for number, comparison in enumerate(comparisons):
            if number:
                show()
            _show(comparison, failed[number])
    # A run that cannot be judged has not passed.
    is_unfit = bool(conditions) and any(comparison.unfit for comparison in comparisons)
    return EXIT_FAILED_IF if any(failed) or is_unfit else 0


def _document(
    comparison: Comparison, failed: Sequence[Failure], notes: Sequence[str]
) -> dict[str, Any]:
    """One comparison, for JSON."""
    return {
        "b": str(comparison.b.path),
        "identical": comparison.is_identical,
        "clocks": list(comparison.clocks),
        "valid": {"a": comparison.a.valid, "b": comparison.b.valid},
        "exit_status": {"a": comparison.a.exit_status, "b": comparison.b.exit_status},
        "unfit": list(comparison.unfit),
        "plan": [{"key": d.key, "a": d.a, "b": d.b} for d in comparison.plan],
        "requests": {
            "compared": comparison.compared_count,
            "differing": comparison.differing_count,
        },
        "first_differing": [
            {
                "disk": request.disk,
                "number": request.number,
                "differing": request.differing,
                "a": request.a,
                "b": request.b,
            }
            for request in comparison.first_differing
        ],
        "metrics": [
            {
                "disk": found.key.disk or None,
                "operation": found.key.operation or None,
                "metric": found.key.metric,
                "unit": found.key.unit_text,
                "a": found.a,
                "b": found.b,
            }
            for found in comparison.metrics
        ],
        "failed": [
            {"condition": failure.condition.text, "figure": str(failure.found.key)}
            for failure in failed
        ],
        "notes": list(notes),
    }


def _show(comparison: Comparison, failed: Sequence[Failure]) -> None:
    a, b = comparison.a, comparison.b
    show(f"{a.path} -> {b.path}: {_verdict(comparison)}")
    for reason in comparison.unfit:
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
        differing_rows = [
            row for request in comparison.first_differing for row in _differing_rows(request)
        ]
        _table("First differing requests", ("disk", "request", "what", "a", "b"), differing_rows)
    if changed := list(_changed(comparison)):
        _table("Metric differences", ("metric", "a", "b", "change"), map(_figure_row, changed))
    for failure in failed:
        _, value_a, value_b, change = _figure_row(failure.found)
        show(
            f"FAILED {failure.condition.text}: {failure.found.key} {value_a} -> {value_b}, {change}"
        )


def _verdict(comparison: Comparison) -> str:
    if comparison.is_identical:
        return f"identical: {comparison.compared_count} requests, to the nanosecond"
    differ = f"{comparison.differing_count} of {comparison.compared_count} requests differ"
    if comparison.is_repeatable:
        return f"{differ} (runs are deterministic: a nanosecond is a change)"
    clock_a, clock_b = comparison.clocks
    return f"{differ} (clocks: {clock_a} -> {clock_b}; no two runs under KVM are the same)"


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from freezingtime.cli.output.columns import print_columns

    show()
    show(title)
    print_columns([header, *rows])


def _differing_rows(request: DifferingRequest) -> Iterator[tuple[str, ...]]:
    """One line for each value that differs; of a request of one run only, for each value."""
    a, b = request.a or {}, request.b or {}
    for name in request.differing:
        yield (
            request.disk,
            str(request.number),
            name,
            *(str(side.get(name, _NONE)) for side in (a, b)),
        )


def _changed(comparison: Comparison) -> Iterator[MetricDifference]:
    """Return the differing metrics; those of all operations only if there are several."""
    from freezingtime.request_figures import ALL
    from freezingtime.results.metrics import APPLICATION, FSYNC

    kinds = {
        (found.key.disk, found.key.operation)
        for found in comparison.metrics
        if found.key.operation not in (FSYNC, APPLICATION)
    }
    several = {disk for disk, _ in kinds if sum(other == disk for other, _ in kinds) > 2}
    for found in comparison.metrics:
        is_repeated = found.key.operation == ALL and found.key.disk not in several
        if found.a != found.b and not is_repeated:
            yield found


def _figure_row(found: MetricDifference) -> tuple[str, ...]:
    a, b, key = found.a, found.b, found.key
    if a is None or b is None:
        return (str(key), _value(a, key), _value(b, key), _NONE)
    share = f" ({(b - a) / a:+.3%})" if a else ""
    sign = "+" if b > a else ""
    return (
        str(key),
        _value(a, key),
        _value(b, key),
        f"{sign}{_value(b - a, key)}{share}",
    )


def _value(value: int | float | None, key: MetricKey) -> str:
    """Whole numbers exactly; others, which are means and rates, to a thousandth."""
    from freezingtime.application.figure import value_text
    from freezingtime.results.metrics import MetricUnit

    unit = key.unit
    if value is None:
        return _NONE
    if unit is MetricUnit.OWN:
        return value_text(value, key.own_unit)
    if unit is MetricUnit.NS and isinstance(value, int):
        return format_time_ns(value)
    return f"{value:.3f}{_SUFFIXES[unit.value]}" if isinstance(value, float) else str(value)


#: By the units of :class:`~freezingtime.results.metrics.MetricUnit`.
_SUFFIXES = {
    "ns": "ns",
    "bytes/s": "B/s",
    "1/s": "/s",
    "requests": "",
}

app = command_app(compare_command)
