# SPDX-License-Identifier: GPL-2.0-or-later
"""Distance of a curve from the measured one.

Each figure counts by its logarithmic distance in units of its aim, as log(1 + r^2): a figure
that no choice of parameters comes near (such as a stall that the model does not have) has
hardly any pull on the others (Cauchy's loss).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.simulate.load_curve import AIMS, SATURATION, FigureComparison

Vector: TypeAlias = NDArray[np.float64]

#: The figures without an aim are tails; they guide the search a little.
_TAIL_AIM = 0.40
_TAIL_WEIGHT = 0.3
_SATURATION_WEIGHT = 3.0


def log_ratios(figures: Sequence[FigureComparison]) -> Vector:
    """The logarithms of predicted over measured."""
    return np.array([math.log(max(f.predicted, 1.0) / f.measured) for f in figures])


def scales(figures: Sequence[FigureComparison]) -> Vector:
    """Factors from logarithms to residuals: in units of the aims, by the figures' weights."""
    return np.array([_weight(f.figure) / math.log1p(_aim(f.figure)) for f in figures])


def loss(residuals: Vector) -> float:
    """The mean loss of the figures, 0 where all are met."""
    return float(np.log1p(residuals**2).mean())


def _aim(figure: str) -> float:
    return AIMS.get(figure, _TAIL_AIM)


def _weight(figure: str) -> float:
    if figure == SATURATION:
        return _SATURATION_WEIGHT
    return 1.0 if figure in AIMS else _TAIL_WEIGHT
