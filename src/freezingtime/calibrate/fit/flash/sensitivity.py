# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters that a curve determines, and how well: finite differences at the best choice.

If another measurement of the same drive differed by a few per cent, by how much would each
parameter move? The covariance of a least-squares fit answers that: of the derivatives of all
figures by all parameters, each figure weighted by how well it can be measured, and how near the
model comes to it at all. That a parameter has limits counts as knowledge, too, so one that
nothing tells comes out as uncertain as its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freezingtime.calibrate.fit.flash.objective import Vector, log_ratios, scales
from freezingtime.calibrate.fit.flash.search_space import SearchSpace
from freezingtime.simulate.load_curve import FigureComparison

#: A parameter that is known this well is identifiable.
IDENTIFIABLE = 0.05
#: How much a figure differs from one measurement to the next; medians and rates by the first.
_NOISE = {"p50": 0.03, "p90": 0.06, "p99": 0.10, "p99_9": 0.20}
_RATE_NOISE = 0.03
#: Parameters whose errors go together so closely cannot be told apart.
_CONFOUNDED = 0.8


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Uncertainty of one parameter."""

    name: str
    uncertainty: float
    """Standard deviation, as a fraction of the value."""
    strongest: str
    """The figure that it moves most."""
    slope: float
    """By how many per cent that moves if the parameter grows by one."""
    confounded_with: str
    """The parameter that can stand in for it; empty: none."""

    @property
    def is_identifiable(self) -> bool:
        """Return whether the curve tells it."""
        return self.uncertainty <= IDENTIFIABLE


def sensitivities(
    space: SearchSpace, jacobian: Vector, figures: Sequence[FigureComparison]
) -> list[Sensitivity]:
    """The sensitivity of each free parameter that does not jump.

    ``jacobian`` has the residuals' derivatives by their places, ``figures`` the residuals' figures.
    """
    smooth = [free for free in space.free if not free.is_discrete]
    spans = np.array([free.span for free in smooth])
    slopes = jacobian / scales(figures)[:, None] / spans
    weights = np.array([_weight(figure) for figure in figures])
    prior = np.diag(12 / spans**2)  # of a uniform distribution between the limits
    covariance = np.linalg.inv(slopes.T @ (weights[:, None] * slopes) + prior)
    deviation = np.sqrt(np.diag(covariance))
    found = []
    for column, free in enumerate(smooth):
        correlation = np.abs(covariance[column] / (deviation[column] * deviation))
        correlation[column] = 0.0
        other = int(correlation.argmax())
        most = int(np.abs(slopes[:, column] * np.sqrt(weights)).argmax())
        found.append(
            Sensitivity(
                free.name,
                float(deviation[column]),
                f"{figures[most].figure} at {figures[most].point.iops:,}/s",
                float(slopes[most, column]),
                smooth[other].name if correlation[other] > _CONFOUNDED else "",
            )
        )
    return found


def _weight(figure: FigureComparison) -> float:
    """One over the variance; less for a figure that the model does not come near."""
    _, _, percentile = figure.figure.partition("_")
    noise = _NOISE.get(percentile, _RATE_NOISE)
    residual = float((log_ratios([figure]) * scales([figure]))[0])
    return 1 / (noise**2 * (1 + residual**2))
