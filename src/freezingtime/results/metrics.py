# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a run by the names that ``compare`` knows them by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from freezingtime.results.latency_summary import LatencySummary
from freezingtime.results.recorded_run import RecordedRun


class MetricUnit(Enum):
    """Unit of a metric."""

    COUNT = "requests"
    NS = "ns"
    HZ = "1/s"
    BYTES_PER_S = "bytes/s"
    OWN = "own"
    """What the application has named."""


#: Figures of a disk's requests: their names, units, and the summary's own names.
DISK_METRICS = {
    "count": (MetricUnit.COUNT, "count"),
    "iops": (MetricUnit.HZ, "iops"),
    "bandwidth": (MetricUnit.BYTES_PER_S, "bandwidth_bytes_per_s"),
    "mean": (MetricUnit.NS, "mean_ns"),
    "p50": (MetricUnit.NS, "p50_ns"),
    "p90": (MetricUnit.NS, "p90_ns"),
    "p99": (MetricUnit.NS, "p99_ns"),
    "p99.9": (MetricUnit.NS, "p99_9_ns"),
    "p99.99": (MetricUnit.NS, "p99_99_ns"),
    "max": (MetricUnit.NS, "max_ns"),
}
#: Figures of the run as a whole.
RUN_METRICS = {"guest_time": MetricUnit.NS, "requests": MetricUnit.COUNT}
#: What the application's own figures belong to, as if an operation.
APPLICATION = "app"
UNITS = RUN_METRICS | {name: unit for name, (unit, _) in DISK_METRICS.items()}


@dataclass(frozen=True, slots=True)
class MetricKey:
    """Key of a metric: ``disk`` and ``operation`` are empty for one of the whole run."""

    disk: str
    operation: str
    metric: str
    own_unit: str = ""
    """Of one of the application's, as it has named it."""

    def __str__(self) -> str:
        operation = f"{self.operation}." if self.operation else ""
        return f"{self.disk}:{operation}{self.metric}" if self.disk else f"{operation}{self.metric}"

    @property
    def unit(self) -> MetricUnit:
        """Return the metric's unit."""
        return MetricUnit.OWN if self.operation == APPLICATION else UNITS[self.metric]

    @property
    def unit_text(self) -> str:
        """Return the unit's name."""
        return self.own_unit if self.unit is MetricUnit.OWN else self.unit.value


def run_metrics(run: RecordedRun) -> dict[MetricKey, int | float]:
    """The figures of the run as a whole, and of its application: those that it has."""
    own = {
        MetricKey("", APPLICATION, figure.name, figure.unit): figure.value for figure in run.figures
    }
    figures = {"guest_time": run.guest_ns, "requests": run.request_count}
    return {
        MetricKey("", "", metric): value for metric, value in figures.items() if value is not None
    } | own


def disk_metrics(disk: str, summaries: list[LatencySummary]) -> dict[MetricKey, int | float]:
    """The figures of a disk's requests, under that name."""
    return dict(_disk_metrics(disk, summaries))


def _disk_metrics(
    disk: str, summaries: list[LatencySummary]
) -> Iterator[tuple[MetricKey, int | float]]:
    for summary in summaries:
        for metric, (_, attribute) in DISK_METRICS.items():
            value = getattr(summary, attribute)
            if value is not None:
                yield MetricKey(disk, summary.operation, metric), value
