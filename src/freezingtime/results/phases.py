# SPDX-License-Identifier: GPL-2.0-or-later
"""Conditions on several phases of each side: a shift must be beyond the threshold, and the spread.

A run is exact, but one sample of a chaotic system: a harmless change of the job can move a figure
as far as another start of the same job does. The phases of a side show how far that is. A condition
on a change is met if the candidate's phases lie beyond the threshold more surely than chance
allows, by Wilcoxon's signed-rank test: each phase is run on both sides, so what a start does to a
figure is mostly the same in both, and is no part of their difference. It assumes nothing of the
spread's form, is exact for a handful of values where a bootstrap's tails are not, and draws no
random numbers. All figures together are wrong once in :data:`FALSE_ALARMS` at most, each having its
share of that (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from freezingtime.errors import InputError
from freezingtime.results.compare import MetricDifference, RunComparison, compare
from freezingtime.results.condition import OPTION, Condition, Failure
from freezingtime.results.judged import JudgedComparison, Spread, middle
from freezingtime.results.recorded_run import RecordedRun

#: One unchanged job in so many fails.
FALSE_ALARMS = 1000

_GREATER, _LESS, _DIFFERENT, _EQUAL = (">", ">="), ("<", "<="), "!=", "=="


def require_enough_phases(count: int, conditions: Sequence[Condition], figures: int = 0) -> None:
    """Require that a complete separation of so many phases is no chance.

    ``figures``: how many there are to judge; at least one for each condition on a change.

    Raises:
        InputError: it may be, or a condition is none that phases can meet.
    """
    for each in conditions:
        if each.is_change and each.relation == _EQUAL:
            raise InputError(f"{OPTION} {each.text}: has no meaning with --phases; write !=")
    tests = max(figures, sum(_sides(each) for each in conditions))
    least = (tests * FALSE_ALARMS - 1).bit_length()  # all of one sign: 1 of 2**least
    if tests and count < least:
        raise InputError(
            f"--phases {count}: cannot show a change of {tests} "
            f"{'figures' if tests > 1 else 'figure'} with one false alarm in {FALSE_ALARMS}; give "
            f"--phases {least} or more"
        )


def judge_phases(
    baselines: Sequence[RecordedRun],
    candidates: Sequence[RecordedRun],
    conditions: Sequence[Condition],
) -> JudgedComparison:
    """Judge all phases of a candidate by those of a baseline; what is shown is of the first ones.

    Raises:
        InputError: a condition is about something that a run has not, or there are too few phases.
    """
    comparisons = [compare(a, b) for a, b in zip(baselines, candidates, strict=True)]
    chosen = [
        (condition, samples)
        for condition in conditions
        for samples in _samples(condition, comparisons)
    ]
    tests = sum(_sides(condition) for condition, _ in chosen)
    require_enough_phases(len(comparisons), conditions, tests)
    spreads, failed = [], []
    for condition, samples in chosen:
        a, b = ([side or 0 for side in sides] for sides in _columns(samples))
        p_value = _p_value(condition, samples) if condition.is_change else None
        spreads.append(Spread(condition, samples[0].key, a, b, p_value))
        if p_value is None:
            is_met = condition.is_met_by(middle(b))
        else:
            is_met = p_value * tests * FALSE_ALARMS <= _sides(condition)
        if is_met:
            found = MetricDifference(samples[0].key, middle(a), middle(b))
            failed.append(Failure(condition, found))
    unfit = [reason for each in comparisons[1:] for reason in each.unfit]
    notes = dict.fromkeys(note for each in conditions for note in each.notes(comparisons[0]))
    return JudgedComparison(
        comparisons[0], conditions, failed, list(notes), list(dict.fromkeys(unfit)), spreads
    )


def _samples(
    condition: Condition, comparisons: Sequence[RunComparison]
) -> list[list[MetricDifference]]:
    """For each figure of the condition, what the phases have."""
    by_key: dict[str, list[MetricDifference]] = {}
    for comparison in comparisons:
        for found in condition.figures(comparison):
            by_key.setdefault(str(found.key), []).append(found)
    for name, samples in by_key.items():
        if len(samples) != len(comparisons):
            raise InputError(
                f"{OPTION} {condition.text}: {name} is in {len(samples)} of {len(comparisons)} "
                "phases only; leave it out"
            )
    return list(by_key.values())


def _columns(
    samples: Sequence[MetricDifference],
) -> tuple[list[int | float | None], list[int | float | None]]:
    return [each.a for each in samples], [each.b for each in samples]


def _sides(condition: Condition) -> int:
    """How many tests a figure of a condition takes."""
    if not condition.is_change:
        return 0
    return 2 if condition.relation == _DIFFERENT else 1


def _p_value(condition: Condition, samples: Sequence[MetricDifference]) -> float:
    """How probable it is that phases of the same lie so far beyond the threshold.

    Of two sides it is that of the surer one, doubled.
    """
    beyond = [Fraction(each.b or 0) - condition.limit(Fraction(each.a or 0)) for each in samples]
    relation = condition.relation
    found = []
    if relation in _GREATER or relation == _DIFFERENT:
        found.append(shift_chance(beyond, ties_count=relation == ">="))
    if relation in _LESS or relation == _DIFFERENT:
        found.append(shift_chance([-each for each in beyond], ties_count=relation == "<="))
    return min(1.0, min(found) * len(found))


def shift_chance(beyond: Sequence[Fraction], *, ties_count: bool) -> float:
    """The one-sided p-value of the exact test; exactly at the limit is beyond with ``ties_count``.

    Where two are as far from the limit, the one below it counts for more: never for a false alarm.
    """
    from scipy.stats import wilcoxon

    # As ranks without ties, which the exact distribution knows nothing of.
    is_below = [each < 0 or (each == 0 and not ties_count) for each in beyond]
    order = sorted(range(len(beyond)), key=lambda place: (abs(beyond[place]), is_below[place]))
    ranks = [-rank if is_below[place] else rank for rank, place in enumerate(order, start=1)]
    return float(wilcoxon(ranks, alternative="greater", method="exact").pvalue)
