# SPDX-License-Identifier: GPL-2.0-or-later
"""Distributions of times: what a model draws its service times from.

In a device's TOML a distribution is a time (``"75us"``: always the same) or a table::

    fixed = {kind = "lognormal", mean = "80us", p99 = "200us"}

=============  ==========================================================================
kind           keys
=============  ==========================================================================
constant       ``time``
uniform        ``from``, ``to``; every whole nanosecond of the range is equally likely
normal         ``mean``, ``sd``, ``least`` (0 if missing, at most ``mean``): the normal
               distribution of that mean and standard deviation, given that it is not less
               than ``least``
lognormal      ``mean`` or ``median``, and ``p99`` or ``sigma``
gamma          ``mean``, ``shape`` (Erlang-k where it is a whole number k)
exponential    ``mean``
mixture        ``parts``: tables with a ``weight`` beside the keys of a distribution; the
               weights need not add up to 1
=============  ==========================================================================

The formulas are those of Johnson, Kotz and Balakrishnan, "Continuous Univariate
Distributions", volume 1 (Wiley, 2nd edition, 1994), chapters 13 (truncated normal,
section 10.1), 14 (lognormal), 17 (gamma) and 19 (exponential).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.latency.draw_stream import BLOCK_DRAWS, DrawStream, new_generator
from freezingtime.device.parameters import Table
from freezingtime.errors import InputError
from freezingtime.units import format_time_ns

#: No draw is longer (11.6 days), so that sums of times stay far from the end of 64 bits.
MAX_DRAW_NS = 10**15

_STANDARD_NORMAL = NormalDist()
_Z99 = _STANDARD_NORMAL.inv_cdf(0.99)
#: The largest p99 / mean of any lognormal distribution, reached where sigma equals z(0.99).
_LOGNORMAL_MOST_P99_PER_MEAN = math.exp(_Z99**2 / 2)


class Distribution(ABC):
    """A distribution of times of 0 ns or more."""

    @property
    @abstractmethod
    def mean_ns(self) -> float:
        """The exact mean, before draws are rounded to whole nanoseconds."""

    @abstractmethod
    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        """``count`` independent draws, not yet rounded."""


@dataclass(frozen=True)
class Constant(Distribution):
    """Always the same time."""

    time_ns: int

    @property
    def mean_ns(self) -> float:
        return float(self.time_ns)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return np.full(count, float(self.time_ns))


@dataclass(frozen=True)
class Uniform(Distribution):
    """Whole nanoseconds from ``least_ns`` to ``most_ns``, both included."""

    least_ns: int
    most_ns: int

    @property
    def mean_ns(self) -> float:
        return (self.least_ns + self.most_ns) / 2

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        draws = generator.integers(self.least_ns, self.most_ns, size=count, endpoint=True)
        return draws.astype(np.float64)


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """A normal distribution given that it is not less than ``least_ns``.

    ``location_ns`` and ``sd_ns`` (more than 0) are those of the whole normal distribution;
    ``least_ns`` is at most ``location_ns``, so that at least half of the draws are kept.
    """

    location_ns: int
    sd_ns: int
    least_ns: int

    @property
    def mean_ns(self) -> float:
        bound = (self.least_ns - self.location_ns) / self.sd_ns
        kept = 1 - _STANDARD_NORMAL.cdf(bound)
        return self.location_ns + self.sd_ns * _STANDARD_NORMAL.pdf(bound) / kept

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        draws = generator.normal(self.location_ns, self.sd_ns, count)
        while (refused := np.flatnonzero(draws < self.least_ns)).size:
            draws[refused] = generator.normal(self.location_ns, self.sd_ns, refused.size)
        return draws


@dataclass(frozen=True)
class Lognormal(Distribution):
    """The exponential of a normal distribution; ``sigma`` is that one's standard deviation."""

    median_ns: float
    sigma: float

    @classmethod
    def from_mean_and_p99(cls, mean_ns: float, p99_ns: float) -> Lognormal:
        """The least skewed lognormal distribution of this mean and 99th percentile.

        With ``ln(p99 / mean) = z sigma - sigma^2 / 2`` (z: the normal's 99th percentile)
        there are two solutions; this is the smaller sigma. Raises ValueError unless ``p99``
        is from 1 to 14.9 times the mean: beyond that no lognormal distribution exists.
        """
        if not 1 <= p99_ns / mean_ns <= _LOGNORMAL_MOST_P99_PER_MEAN:
            raise ValueError(f"p99 {p99_ns} ns does not go with mean {mean_ns} ns")
        sigma = _Z99 - math.sqrt(_Z99**2 - 2 * math.log(p99_ns / mean_ns))
        return cls(mean_ns * math.exp(-(sigma**2) / 2), sigma)

    @property
    def mean_ns(self) -> float:
        return self.median_ns * math.exp(self.sigma**2 / 2)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return generator.lognormal(math.log(self.median_ns), self.sigma, count)


@dataclass(frozen=True)
class Gamma(Distribution):
    """A gamma distribution of this mean; its squared coefficient of variation is 1 / shape."""

    average_ns: int
    shape: float

    @property
    def mean_ns(self) -> float:
        return float(self.average_ns)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return generator.gamma(self.shape, self.average_ns / self.shape, count)


@dataclass(frozen=True)
class Exponential(Distribution):
    """An exponential distribution of this mean."""

    average_ns: int

    @property
    def mean_ns(self) -> float:
        return float(self.average_ns)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return generator.exponential(self.average_ns, count)


@dataclass(frozen=True)
class Mixture(Distribution):
    """Each draw is from one of the parts, chosen with a probability in proportion to weight."""

    weights: tuple[float, ...]
    parts: tuple[Distribution, ...]

    @property
    def mean_ns(self) -> float:
        weighted = zip(self.weights, self.parts, strict=True)
        return sum(weight * part.mean_ns for weight, part in weighted) / sum(self.weights)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        probabilities = np.array(self.weights) / sum(self.weights)
        chosen = generator.choice(len(self.parts), size=count, p=probabilities)
        draws = np.empty(count)
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(chosen == number)
            draws[places] = part.draw_ns(generator, places.size)
        return draws


def time_stream(distribution: Distribution, seed: np.random.SeedSequence) -> DrawStream:
    """Draws in whole nanoseconds: rounded to the nearest, from 0 to :data:`MAX_DRAW_NS`."""
    generator = new_generator(seed)

    def new_block() -> NDArray[np.int64]:
        draws = distribution.draw_ns(generator, BLOCK_DRAWS)
        return np.rint(np.clip(draws, 0, MAX_DRAW_NS)).astype(np.int64)

    return DrawStream(new_block)


def parse_distribution(table: Table, key: str, default: Distribution | None = None) -> Distribution:
    """The distribution at ``key``: a time, or a table with a ``kind``.

    Raises:
        InputError: the value is neither, or its parameters are impossible, or it is missing
            and there is no default.
    """
    if default is not None and key not in table:
        table.time_ns(key, 0)  # makes the key known
        return default
    described = _table_if_one(table, key)
    if described is None:
        return Constant(_time_ns(table, key))
    distribution = _parse_kind(described)
    described.finish()
    return distribution


def _table_if_one(table: Table, key: str) -> Table | None:
    try:
        return table.sub(key)
    except InputError:
        return None  # perhaps a time: whoever reads it says what it must be


def _time_ns(table: Table, key: str, default: int | None = None, *, least_ns: int = 0) -> int:
    if default is None:
        time_ns = table.time_ns(key, least=least_ns)
    else:
        time_ns = table.time_ns(key, default, least=least_ns)
    if time_ns > MAX_DRAW_NS:
        raise table.error(key, f"must be at most {format_time_ns(MAX_DRAW_NS)}")
    return time_ns


def _parse_kind(table: Table) -> Distribution:
    return _PARSERS[table.choice("kind", list(_PARSERS))](table)


def _parse_constant(table: Table) -> Distribution:
    return Constant(_time_ns(table, "time"))


def _parse_uniform(table: Table) -> Distribution:
    least_ns = _time_ns(table, "from")
    return Uniform(least_ns, _time_ns(table, "to", least_ns=least_ns))


def _parse_normal(table: Table) -> Distribution:
    location_ns = _time_ns(table, "mean")
    sd_ns = _time_ns(table, "sd", least_ns=1)
    least_ns = _time_ns(table, "least", 0)
    if least_ns > location_ns:
        raise table.error("least", "must be at most the mean")
    return TruncatedNormal(location_ns, sd_ns, least_ns)


def _parse_lognormal(table: Table) -> Distribution:
    centre = _one_of(table, "mean", "median")
    spread = _one_of(table, "p99", "sigma")
    centre_ns = _time_ns(table, centre, least_ns=1)
    if spread == "sigma":
        sigma = table.number("sigma", most=5)
        median_ns = centre_ns if centre == "median" else centre_ns * math.exp(-(sigma**2) / 2)
        return Lognormal(median_ns, sigma)
    p99_ns = _time_ns(table, "p99", least_ns=centre_ns)
    if centre == "median":
        return Lognormal(centre_ns, math.log(p99_ns / centre_ns) / _Z99)
    try:
        return Lognormal.from_mean_and_p99(centre_ns, p99_ns)
    except ValueError as error:
        most = f"{math.floor(10 * _LOGNORMAL_MOST_P99_PER_MEAN) / 10}"
        raise table.error(
            "p99", f"must be at most {most} times the mean: no lognormal has more"
        ) from error


def _one_of(table: Table, first: str, second: str) -> str:
    if (first in table) == (second in table):
        raise table.error(first, f"give either {first} or {second}")
    return first if first in table else second


def _parse_gamma(table: Table) -> Distribution:
    return Gamma(_time_ns(table, "mean", least_ns=1), table.number("shape", least=0.01, most=1e6))


def _parse_exponential(table: Table) -> Distribution:
    return Exponential(_time_ns(table, "mean", least_ns=1))


def _parse_mixture(table: Table) -> Distribution:
    weights, parts = [], []
    for part in table.tables("parts"):
        weights.append(part.number("weight", least=1e-9, most=1e9))
        parts.append(_parse_kind(part))
        part.finish()
    if not parts:
        raise table.error("parts", "must have at least one part, such as {weight = 1, kind = ...}")
    return Mixture(tuple(weights), tuple(parts))


_PARSERS: dict[str, Callable[[Table], Distribution]] = {
    "constant": _parse_constant,
    "uniform": _parse_uniform,
    "normal": _parse_normal,
    "lognormal": _parse_lognormal,
    "gamma": _parse_gamma,
    "exponential": _parse_exponential,
    "mixture": _parse_mixture,
}
