# SPDX-License-Identifier: GPL-2.0-or-later
"""The arithmetic of errors: of single requests, of means, and from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: One value for each request, in order of arrival.
Latencies = NDArray[np.int64] | NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Errors:
    """How far the latencies that were seen are from their targets, in percent of the target."""

    of_mean: float
    """(mean seen - mean target) / mean target."""
    mean_absolute: float
    """The mean over all requests of |seen - target| / target, each with its own target."""
    band: tuple[float, float]
    """The middle 95 % of the requests have an error between these."""

    @property
    def worst_mean(self) -> float:
        """The larger of the two means, without its sign: what a limit is held against."""
        return max(abs(self.of_mean), self.mean_absolute)


def request_errors_percent(seen_ns: Latencies, target_ns: Latencies) -> NDArray[np.float64]:
    """The error of each request, in percent of its own target, which is more than 0."""
    errors: NDArray[np.float64] = 100 * (seen_ns - target_ns) / target_ns
    return errors


def errors_of(seen_ns: Latencies, target_ns: Latencies) -> Errors:
    """Compare request by request; targets are more than 0."""
    each = request_errors_percent(seen_ns, target_ns)
    low, high = np.percentile(each, (2.5, 97.5))
    return Errors(
        of_mean=100 * (float(seen_ns.mean()) / float(target_ns.mean()) - 1),
        mean_absolute=float(np.abs(each).mean()),
        band=(float(low), float(high)),
    )


def variation_percent(values: Sequence[float]) -> float:
    """The coefficient of variation: the sample's standard deviation in percent of its mean."""
    return 100 * float(np.std(values, ddof=1)) / float(np.mean(values))
