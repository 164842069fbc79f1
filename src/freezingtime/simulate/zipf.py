# SPDX-License-Identifier: GPL-2.0-or-later
"""Places drawn by Zipf's law: the k-th most popular one in proportion to 1 / k**theta.

By rejection-inversion: Hörmann and Derflinger, "Rejection-inversion to generate variates
from monotone discrete distributions", ACM TOMACS 6(3), 1996. Exact, without a table, for
any number of places and any theta above 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_GOLDEN = (math.sqrt(5) - 1) / 2
_MULTIPLIER_MAX = 2**62


class ZipfSlots:
    """Draws numbers from 0 to ``count - 1``; the popular ones lie scattered."""

    def __init__(self, count: int, theta: float) -> None:
        self._count = count
        self._theta = theta
        self._first = float(self._integral(np.array(1.5))) - 1.0
        self._last = float(self._integral(np.array(count + 0.5)))
        at_two = self._integral(np.array(2.5)) - self._density(np.array(2.0))
        self._sure = 2.0 - float(self._inverse(at_two))
        self._multiplier = _coprime_multiplier(count)

    def draw(self, random: np.random.Generator, size: int) -> NDArray[np.int64]:
        """``size`` independent slots."""
        rank = np.empty(0, dtype=np.int64)
        while len(rank) < size:
            rank = np.concatenate([rank, self._accepted(random, size - len(rank))])
        return (rank - 1) * self._multiplier % self._count

    def _accepted(self, random: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Ranks from 1, as many of ``size`` proposals as are accepted."""
        u = self._last + random.random(size) * (self._first - self._last)
        x = self._inverse(u)
        k = np.clip(np.floor(x + 0.5), 1, self._count)
        accepted = (k - x <= self._sure) | (u >= self._integral(k + 0.5) - self._density(k))
        return k[accepted].astype(np.int64)

    def _density(self, x: Floats) -> Floats:
        density: Floats = np.power(x, -self._theta)
        return density

    def _integral(self, x: Floats) -> Floats:
        """The integral of the density from 1 to x."""
        exponent = 1.0 - self._theta
        log_x = np.log(x)
        integral: Floats = np.expm1(exponent * log_x) / exponent if exponent else log_x
        return integral

    def _inverse(self, area: Floats) -> Floats:
        exponent = 1.0 - self._theta
        log_x = np.log1p(exponent * area) / exponent if exponent else area
        inverse: Floats = np.exp(log_x)
        return inverse


def _coprime_multiplier(count: int) -> int:
    """A factor that permutes 0 to ``count - 1`` and, times ``count``, fits into 63 bits."""
    multiplier = max(1, min(int(count * _GOLDEN), _MULTIPLIER_MAX // count))
    while math.gcd(multiplier, count) != 1:
        multiplier -= 1
    return multiplier
