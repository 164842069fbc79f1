# SPDX-License-Identifier: GPL-2.0-or-later
"""Quantiles and scale of a CDF that shows the tails as well as the middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POINTS = 400
_LOGIT_MAX = 10.0


def cdf_ranks(count: int) -> NDArray[np.int64]:
    """Ranks, from 1, among ``count`` values: densest in the tails."""
    share = 1 / (1 + np.exp(-np.linspace(-_LOGIT_MAX, _LOGIT_MAX, _POINTS)))
    return np.unique(np.clip(np.ceil(share * count).astype(np.int64), 1, count))


def cdf_shares(ranks: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The share of values within that of each rank: never 0 or 1, which no logit axis shows."""
    shares: NDArray[np.float64] = (ranks - 0.5) / count
    return shares
