# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs side by side: what they were given, which requests differ, what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from freezingtime.clock.kind import ClockKind
from freezingtime.results.metrics import APPLICATION, MetricKey, disk_metrics, run_metrics
from freezingtime.results.plan_difference import PlanDifference, plan_differences
from freezingtime.results.recorded_run import RecordedRun
from freezingtime.results.request_difference import (
    NO_REQUESTS,
    DifferingRequest,
    request_difference,
)

#: How many of the differing requests are shown.
FIRST_DIFFERING = 3


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """One figure of both runs; None where a run has it not. Times in ns."""

    key: MetricKey
    a: int | float | None
    b: int | float | None


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Differences of run ``b`` from run ``a``."""

    a: RecordedRun
    b: RecordedRun
    plan: Sequence[PlanDifference]
    compared_count: int
    """How many requests there are to compare."""
    differing_count: int
    """How many of them differ in anything that the guest saw, or are in one run only."""
    first_differing: Sequence[DifferingRequest]
    """The first of them, in order of arrival."""
    metrics: Sequence[MetricDifference]

    @property
    def unfit(self) -> Sequence[str]:
        """Return why the runs cannot be judged by their figures, one line for each reason."""
        return [
            f"{run.path}: {reason}" for run in (self.a, self.b) for reason in unfit_reasons(run)
        ]

    @property
    def is_identical(self) -> bool:
        """Return whether the guest saw the same in both, to the nanosecond.

        What it said of it may have been read of one run only (``run --metrics``). Runs under KVM
        never do: what they share is chance; nor do runs whose devices fail by other rules, though
        these may have hit nothing.
        """
        if not self.is_repeatable or self.faults_differ:
            return False
        return not self.differing_count and all(
            metric.a == metric.b for metric in self.metrics if metric.key.operation != APPLICATION
        )

    @property
    def faults_differ(self) -> bool:
        """Whether their devices were to fail by different rules."""
        a, b = ([disk.faults for disk in run.record.header.disks] for run in (self.a, self.b))
        return a != b

    @property
    def is_repeatable(self) -> bool:
        """Return whether both had the exact clock."""
        return self.a.is_repeatable and self.b.is_repeatable

    @property
    def clocks(self) -> tuple[str, str]:
        """Return which clock each of them had."""
        kinds = [
            ClockKind.EXACT if run.is_repeatable else ClockKind.KVM for run in (self.a, self.b)
        ]
        return str(kinds[0]), str(kinds[1])


def unfit_reasons(run: RecordedRun) -> Iterator[str]:
    """Return why a run cannot be judged by its figures."""
    if run.document is None and run.path.is_dir():
        yield "the run was killed, or is still running"
    if run.exit_status:
        yield f"its job ended with exit status {run.exit_status}"
    if run.valid is False:
        yield "NOT VALID: its results are not exact"


def compare(a: RecordedRun, b: RecordedRun) -> RunComparison:
    """Compare two runs.

    Disks are paired by name; where the names differ and their number does not,
    disks in the same place. Figures have the names of the first run's disks.
    """
    compared_count = differing_count = 0
    first_differing: list[tuple[int, DifferingRequest]] = []
    metrics_a, metrics_b = run_metrics(a), run_metrics(b)
    for name_a, name_b in disk_pairs(list(a.disks), list(b.disks)):
        label = name_a or name_b
        found = request_difference(
            label,
            a.disks.get(name_a, NO_REQUESTS),
            b.disks.get(name_b, NO_REQUESTS),
            show=FIRST_DIFFERING,
        )
        compared_count += found.compared_count
        differing_count += found.differing_count
        first_differing += found.first
        metrics_a |= _metrics(label, a, name_a)
        metrics_b |= _metrics(label, b, name_b)
    first_differing.sort(key=lambda request: request[0])
    return RunComparison(
        a,
        b,
        plan_differences(a, b),
        compared_count,
        differing_count,
        [request for _, request in first_differing[:FIRST_DIFFERING]],
        [
            MetricDifference(key, metrics_a.get(key), metrics_b.get(key))
            for key in dict.fromkeys([*metrics_a, *metrics_b])
        ],
    )


def _metrics(label: str, run: RecordedRun, name: str) -> dict[MetricKey, int | float]:
    """The figures of a disk of a run, under another name."""
    return disk_metrics(label, run.summaries.get(name, []))


def disk_pairs(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, str]]:
    """Pair the disks to compare; an empty name marks a disk without a partner."""
    if len(a) == len(b) and set(a) != set(b):
        return list(zip(a, b, strict=True))
    only_b = [("", name) for name in b if name not in a]
    return [(name, name if name in b else "") for name in a] + only_b
