# SPDX-License-Identifier: GPL-2.0-or-later
"""Distance of two samples of latencies: means, percentiles, whole distributions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from freezingtime.percentile import percentile_ns
from freezingtime.trace.readers.columns import IntColumn

#: Percentiles, in thousandths of a per cent, by the name of their figure.
PERCENTILES = {"p50": 50_000, "p95": 95_000, "p99": 99_000, "p99.9": 99_900}
#: The figures of a sample, in order.
FIGURES = ("mean", *PERCENTILES)


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance of ``actual`` from ``expected``."""

    expected_count: int
    actual_count: int
    expected_ns: dict[str, float]
    """By figure: mean, p50, p95, p99, p99.9."""
    actual_ns: dict[str, float]
    ks: float
    """Kolmogorov-Smirnov: the largest difference of the two distribution functions."""
    ks_p: float
    """How likely that much is for two samples of one distribution, if draws are independent."""
    wasserstein_ns: float
    """By how much a request differs on average from the one of its rank in the other sample."""

    def error(self, figure: str) -> float:
        """The relative error of a figure."""
        expected_ns = self.expected_ns[figure]
        return (self.actual_ns[figure] - expected_ns) / expected_ns if expected_ns else 0.0

    @property
    def wasserstein(self) -> float:
        """The Wasserstein distance as a share of the expected mean."""
        mean_ns = self.expected_ns["mean"]
        return self.wasserstein_ns / mean_ns if mean_ns else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        errors = {figure: self.error(figure) for figure in FIGURES}
        return asdict(self) | {"errors": errors, "wasserstein": self.wasserstein}


def figures_ns(latency_ns: IntColumn) -> dict[str, float]:
    """The figures of a sample of one latency or more."""
    ordered_ns = np.sort(latency_ns)
    percentiles = {
        name: float(percentile_ns(ordered_ns, share)) for name, share in PERCENTILES.items()
    }
    return {"mean": float(ordered_ns.mean()), **percentiles}


def distance(expected_ns: IntColumn, actual_ns: IntColumn) -> Distance:
    """Compare two samples of one latency or more each."""
    from scipy import stats  # a second and a half: only for who compares

    # The exact p-value of large samples takes for ever, and is no other.
    test = stats.ks_2samp(expected_ns, actual_ns, method="asymp")
    return Distance(
        len(expected_ns),
        len(actual_ns),
        figures_ns(expected_ns),
        figures_ns(actual_ns),
        float(test.statistic),
        float(test.pvalue),
        float(stats.wasserstein_distance(expected_ns, actual_ns)),
    )
