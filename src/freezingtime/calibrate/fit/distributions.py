# SPDX-License-Identifier: GPL-2.0-or-later
"""Fits of the distributions of :mod:`~freezingtime.device.latency.distribution` to a sample.

Each kind is fitted, by maximum likelihood where that has a closed form or scipy has it, and the
one whose distribution function is nearest is taken (Kolmogorov-Smirnov). Mixtures of lognormal
distributions are fitted by expectation-maximisation to the logarithms (Dempster, Laird and
Rubin, Journal of the Royal Statistical Society B 39, 1977). A kind with more parameters has to
be nearer by a third to be preferred.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.latency.distribution import (
    AnyDistribution,
    Constant,
    Exponential,
    Gamma,
    Lognormal,
    Mixture,
    TruncatedNormal,
    Uniform,
    weighted,
)
from freezingtime.trace.readers.columns import IntColumn

Cdf: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
#: A distribution, the number of its parameters, and its distribution function.
_Candidate: TypeAlias = tuple[AnyDistribution, int, Cdf]

_SIGMA_MIN, _SIGMA_MAX = 1e-4, 5.0
_SHAPE_MIN, _SHAPE_MAX = 0.01, 1e6
_PREFERENCE = 2 / 3
_MIXTURE_PARTS = (2, 3)
_EM_ROUNDS = 200
_EM_STEP_MIN = 1e-7
# EM's cost grows with the sample; its result does not get better beyond that.
_EM_SAMPLE_MAX = 5_000


@dataclass(frozen=True, slots=True)
class FittedDistribution:
    """A distribution, and how near it comes."""

    distribution: AnyDistribution
    parameter_count: int
    ks: float
    """The Kolmogorov-Smirnov distance to the sample."""


def fit_distribution(times_ns: IntColumn) -> list[FittedDistribution]:
    """All kinds fitted to a sample of one or more times; the first is the one to take."""
    ordered = np.sort(np.maximum(times_ns, 1)).astype(np.float64)
    if ordered[0] == ordered[-1]:
        return [FittedDistribution(Constant(time_ns=_time_ns(ordered[0])), 1, 0.0)]
    candidates = [_judged(ordered, *fitted) for fitted in _fits(ordered)]
    candidates.sort(key=lambda candidate: candidate.parameter_count)
    best = candidates[0]
    for candidate in candidates[1:]:
        more = candidate.parameter_count > best.parameter_count
        if candidate.ks < best.ks * (_PREFERENCE if more else 1.0):
            best = candidate
    others = sorted((c for c in candidates if c is not best), key=lambda candidate: candidate.ks)
    return [best, *others]


def _judged(
    ordered: NDArray[np.float64], distribution: AnyDistribution, parameter_count: int, cdf: Cdf
) -> FittedDistribution:
    """Rounded to whole nanoseconds, as times are, so that ties count as what they are."""
    values, counts = np.unique(ordered, return_counts=True)
    below = np.concatenate([[0.0], np.cumsum(counts)]) / len(ordered)
    model = cdf(values + 0.5)
    before = cdf(values - 0.5)
    ks = max(np.abs(model - below[1:]).max(), np.abs(before - below[:-1]).max())
    return FittedDistribution(distribution, parameter_count, float(ks))


def _fits(ordered: NDArray[np.float64]) -> list[_Candidate]:
    fits = [_uniform(ordered), _exponential(ordered), _normal(ordered), _lognormal(ordered)]
    if gamma := _gamma(ordered):
        fits.append(gamma)
    return [*fits, *(_mixture(ordered, parts) for parts in _MIXTURE_PARTS)]


def _uniform(ordered: NDArray[np.float64]) -> _Candidate:
    from scipy import stats

    low, high = ordered[0], ordered[-1]
    found = Uniform(least_ns=_time_ns(low), most_ns=_time_ns(high))
    return found, 2, stats.uniform(low - 0.5, high - low + 1).cdf


def _exponential(ordered: NDArray[np.float64]) -> _Candidate:
    from scipy import stats

    mean = ordered.mean()
    return Exponential(average_ns=_time_ns(mean)), 1, stats.expon(scale=mean).cdf


def _normal(ordered: NDArray[np.float64]) -> _Candidate:
    """The whole normal distribution; what is below 0 is cut off, which is next to nothing."""
    from scipy import stats

    mean, sd = ordered.mean(), max(ordered.std(), 1.0)
    found = TruncatedNormal(location_ns=_time_ns(mean), sd_ns=_time_ns(sd))
    return found, 2, stats.truncnorm(-mean / sd, np.inf, loc=mean, scale=sd).cdf


def _lognormal(ordered: NDArray[np.float64]) -> _Candidate:
    from scipy import stats

    logs = np.log(ordered)
    median, sigma = np.exp(logs.mean()), _sigma(logs.std())
    found = Lognormal(median_ns=_time_ns(median), sigma=sigma)
    return found, 2, stats.lognorm(sigma, scale=median).cdf


def _gamma(ordered: NDArray[np.float64]) -> _Candidate | None:
    """None where its likelihood has no maximum that can be found."""
    from scipy import stats

    try:
        shape, _, scale = stats.gamma.fit(ordered, floc=0)
    except (stats.FitError, ValueError):
        return None
    shape = round(float(np.clip(shape, _SHAPE_MIN, _SHAPE_MAX)), 4)
    found = Gamma(average_ns=_time_ns(shape * scale), shape=shape)
    return found, 2, stats.gamma(shape, scale=scale).cdf


def _mixture(ordered: NDArray[np.float64], parts: int) -> _Candidate:
    from scipy import stats

    step = max(1, len(ordered) // _EM_SAMPLE_MAX)
    weights, means, sigmas = _expectation_maximisation(np.log(ordered[step // 2 :: step]), parts)
    medians = np.exp(means)
    found = Mixture(
        parts=tuple(
            weighted(weight, Lognormal(median_ns=_time_ns(median), sigma=sigma))
            for weight, median, sigma in zip(weights, medians, sigmas, strict=True)
        )
    )
    total = sum(weights)

    def cdf(values: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = [
            weight / total * stats.lognorm(sigma, scale=median).cdf(values)
            for weight, median, sigma in zip(weights, medians, sigmas, strict=True)
        ]
        return np.asarray(np.sum(shares, axis=0))

    return found, 3 * parts - 1, cdf


def _expectation_maximisation(
    logs: NDArray[np.float64], parts: int
) -> tuple[list[float], NDArray[np.float64], list[float]]:
    """Weights, means and standard deviations of normal distributions, by order of the means.

    Starts from equal shares of the sample in order, the last one small: tails are what a
    single distribution misses.
    """
    edges = [0.0, *np.linspace(0.5, 0.98, parts - 1), 1.0] if parts > 2 else [0.0, 0.95, 1.0]
    cuts = [int(edge * len(logs)) for edge in edges]
    pieces = [logs[low : max(high, low + 1)] for low, high in pairwise(cuts)]
    weights = np.array([len(piece) for piece in pieces]) / len(logs)
    means = np.array([piece.mean() for piece in pieces])
    sigmas = np.maximum([piece.std() for piece in pieces], _SIGMA_MIN)
    likelihood = -np.inf
    for _ in range(_EM_ROUNDS):
        deviations = (logs[:, None] - means) / sigmas
        densities = weights * np.exp(-0.5 * deviations**2) / sigmas
        totals = np.maximum(densities.sum(axis=1), np.finfo(float).tiny)
        shares = densities / totals[:, None]
        counts = np.maximum(shares.sum(axis=0), np.finfo(float).tiny)
        weights = counts / counts.sum()
        means = (shares * logs[:, None]).sum(axis=0) / counts
        variances = (shares * (logs[:, None] - means) ** 2).sum(axis=0) / counts
        sigmas = np.clip(np.sqrt(variances), _SIGMA_MIN, _SIGMA_MAX)
        now = float(np.log(totals).mean())
        if now - likelihood < _EM_STEP_MIN:
            break
        likelihood = now
    order = np.argsort(means)
    rounded = [max(round(float(weight), 6), 1e-6) for weight in weights[order]]
    return rounded, means[order], [_sigma(sigma) for sigma in sigmas[order]]


def _sigma(sigma: float) -> float:
    return round(float(np.clip(sigma, _SIGMA_MIN, _SIGMA_MAX)), 5)


def _time_ns(time_ns: float) -> int:
    return max(1, round(float(time_ns)))
