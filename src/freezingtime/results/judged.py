# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparison with its conditions, and its words: what people, files and CI services are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from freezingtime.application.figure import value_text
from freezingtime.application.fsync import FSYNC
from freezingtime.request_figures import ALL
from freezingtime.results.compare import MetricDifference, RunComparison, compare
from freezingtime.results.condition import Condition, Failure, failures
from freezingtime.results.metrics import APPLICATION, MetricKey, MetricUnit
from freezingtime.results.recorded_run import RecordedRun
from freezingtime.results.request_difference import DifferingRequest
from freezingtime.units import counted, format_time_ns

#: In place of a value that is missing.
NONE = "-"

_SUFFIXES = {
    MetricUnit.NS: "ns",
    MetricUnit.BYTES_PER_S: "B/s",
    MetricUnit.HZ: "/s",
    MetricUnit.COUNT: "",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure in all phases of both sides, and how surely it is shifted."""

    condition: Condition
    key: MetricKey
    a: Sequence[int | float]
    b: Sequence[int | float]
    p_value: float | None
    """How probable such a shift beyond the threshold is by chance; None: no change is asked for."""

    def row(self) -> tuple[str, str, str, str, str]:
        """Name, medians with ranges of both sides, change of the median, and the probability."""
        key = self.key
        sides = [
            f"{figure_text(middle(each), key)} ({figure_text(min(each), key)} to "
            f"{figure_text(max(each), key)})"
            for each in (self.a, self.b)
        ]
        change = difference_row(MetricDifference(key, middle(self.a), middle(self.b)))[-1]
        p_text = NONE if self.p_value is None else f"{self.p_value:.2g}"
        return (str(key), sides[0], sides[1], change, p_text)


@dataclass(frozen=True, slots=True)
class JudgedComparison:
    """A comparison, the conditions, and those that are met."""

    comparison: RunComparison
    conditions: Sequence[Condition]
    failures: Sequence[Failure]
    notes: Sequence[str]
    """Why a condition decides nothing."""
    refusals: Sequence[str] = ()
    """Further reasons why the figures decide nothing, beside those of the two runs."""
    spreads: Sequence[Spread] = ()
    """What was judged by, where each side has several phases."""

    @property
    def unfit(self) -> Sequence[str]:
        """Return why the figures decide nothing, one line for each reason."""
        return [*self.comparison.unfit, *self.refusals]

    @property
    def has_passed(self) -> bool:
        """Whether both runs can be judged by their figures, and no condition is met."""
        return not self.failures and not self.unfit


def middle(values: Sequence[int | float]) -> int | float:
    """The median; of whole numbers, a whole number."""
    found = median(values)
    return int(found) if all(isinstance(each, int) for each in values) else found


def judge(
    first: RecordedRun, others: Sequence[RecordedRun], conditions: Sequence[Condition]
) -> list[JudgedComparison]:
    """Compare each of the others with the first.

    Raises:
        InputError: a condition is about something that a run has not.
    """
    judged = []
    for other in others:
        comparison = compare(first, other)
        failed = failures(conditions, comparison)
        notes = dict.fromkeys(note for each in conditions for note in each.notes(comparison))
        judged.append(JudgedComparison(comparison, conditions, failed, list(notes)))
    return judged


def verdict(comparison: RunComparison) -> str:
    """Say in one line how many requests differ."""
    if comparison.is_identical:
        return f"identical: {counted(comparison.compared_count, 'request')}, to the nanosecond"
    differ = f"{comparison.differing_count} of {comparison.compared_count} requests differ"
    if comparison.faults_differ:
        return f"{differ}; the rules of faults do"
    if comparison.is_repeatable:
        return f"{differ} (runs are deterministic: a nanosecond is a change)"
    clock_a, clock_b = comparison.clocks
    return f"{differ} (clocks: {clock_a} -> {clock_b}; no two runs under KVM are the same)"


def failure_text(failure: Failure) -> str:
    """Say in one line which figure meets a condition, and how it has changed."""
    name, value_a, value_b, change = difference_row(failure.found)
    return f"{failure.condition.text}: {name} {value_a} -> {value_b}, {change}"


def changed_metrics(comparison: RunComparison) -> Iterator[MetricDifference]:
    """Return the differing metrics; those of all operations only if there are several."""
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


def difference_row(found: MetricDifference) -> tuple[str, str, str, str]:
    """A figure of both runs: its name, both values, and the change."""
    a, b, key = found.a, found.b, found.key
    if a is None or b is None:
        return (str(key), figure_text(a, key), figure_text(b, key), NONE)
    share = f" ({(b - a) / a:+.3%})" if a else ""
    sign = "+" if b > a else ""
    change = f"{sign}{figure_text(b - a, key)}{share}"
    return (str(key), figure_text(a, key), figure_text(b, key), change)


def differing_rows(request: DifferingRequest) -> Iterator[tuple[str, str, str, str, str]]:
    """One row for each value that differs; of a request of one run only, for each value."""
    a, b = request.a or {}, request.b or {}
    for name in request.differing:
        value_a, value_b = (str(side.get(name, NONE)) for side in (a, b))
        yield request.disk, str(request.number), name, value_a, value_b


def figure_text(value: int | float | None, key: MetricKey) -> str:
    """Whole numbers exactly; others, which are means and rates, to a thousandth."""
    unit = key.unit
    if value is None:
        return NONE
    if unit is MetricUnit.OWN:
        return value_text(value, key.own_unit)
    if unit is MetricUnit.NS and isinstance(value, int):
        return format_time_ns(value)
    return f"{value:.3f}{_SUFFIXES[unit]}" if isinstance(value, float) else str(value)
