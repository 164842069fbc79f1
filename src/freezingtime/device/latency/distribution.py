# SPDX-License-Identifier: GPL-2.0-or-later
"""Distributions of times: what a model draws its service times from.

In a device's TOML a distribution is a time (``"75us"``: always the same) or a table with a
``kind``::

    fixed = {kind = "lognormal", mean = "80us", p99 = "200us"}

The formulas are those of Johnson, Kotz and Balakrishnan, "Continuous Univariate
Distributions", volume 1 (Wiley, 2nd edition, 1994), chapters 13 (truncated normal,
section 10.1), 14 (lognormal), 17 (gamma) and 19 (exponential).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args

import numpy as np
from msgspec import defstruct, field, structs
from numpy.typing import NDArray

from freezingtime.device.latency.draw_stream import BLOCK_DRAWS, DrawStream, new_generator
from freezingtime.device.parameters import Table
from freezingtime.device.schema import TIME_NS_MOST, Parameters, TimeNs, key
from freezingtime.units import format_time_ns

#: No draw is longer (11.6 days), so that sums of times stay far from the end of 64 bits.
MAX_DRAW_NS = TIME_NS_MOST

_STANDARD_NORMAL = NormalDist()
_Z99 = _STANDARD_NORMAL.inv_cdf(0.99)
#: The largest p99 / mean of any lognormal distribution, reached where sigma equals z(0.99).
_LOGNORMAL_MOST_P99_PER_MEAN = math.exp(_Z99**2 / 2)

_Mean: TypeAlias = Annotated[TimeNs, key("the mean", least=1)]


class Distribution(Parameters, frozen=True, kw_only=True, tag_field="kind"):
    """A distribution of times of 0 ns or more."""

    @property
    def kind(self) -> str:
        """Name in a description."""
        return str(self.__struct_config__.tag)

    @property
    def mean_ns(self) -> float:
        """The exact mean, before draws are rounded to whole nanoseconds."""
        raise NotImplementedError

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        """``count`` independent draws, not yet rounded."""
        raise NotImplementedError


class Constant(Distribution, frozen=True, tag="constant"):
    """Always the same time."""

    time_ns: Annotated[TimeNs, key("the time")]

    @property
    def mean_ns(self) -> float:
        return float(self.time_ns)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return np.full(count, float(self.time_ns))


class Uniform(Distribution, frozen=True, tag="uniform"):
    """Whole nanoseconds of a range, both ends included."""

    least_ns: Annotated[TimeNs, key("the shortest")] = field(name="from")
    most_ns: Annotated[TimeNs, key("the longest")] = field(name="to")

    @property
    def mean_ns(self) -> float:
        return (self.least_ns + self.most_ns) / 2

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        draws = generator.integers(self.least_ns, self.most_ns, size=count, endpoint=True)
        return draws.astype(np.float64)

    def check(self, table: Table) -> None:
        if self.most_ns < self.least_ns:
            raise table.error("to", f"must be at least {format_time_ns(self.least_ns)}")


class TruncatedNormal(Distribution, frozen=True, tag="normal"):
    """A normal distribution given that it is not less than ``least``.

    ``mean`` and ``sd`` are those of the whole normal distribution; ``least`` is at most the mean,
    so that at least half of the draws are kept.
    """

    location_ns: Annotated[TimeNs, key("mean before truncation")] = field(name="mean")
    sd_ns: Annotated[TimeNs, key("standard deviation, likewise", least=1)]
    least_ns: Annotated[TimeNs, key("the shortest; at most the mean")] = 0

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

    def check(self, table: Table) -> None:
        if self.least_ns > self.location_ns:
            raise table.error("least", "must be at most the mean")


class Lognormal(Distribution, frozen=True, tag="lognormal"):
    """The exponential of a normal distribution, of which sigma is the standard deviation.

    Of mean and median one is given, and one of 99th percentile and sigma. With
    ``ln(p99 / mean) = z sigma - sigma^2 / 2`` (z: the normal's 99th percentile) there are two
    solutions; the smaller sigma, the least skewed distribution, is meant.
    """

    median_ns: Annotated[TimeNs, key("or the median", least=1)] | None = None
    sigma: Annotated[float, key("or sigma", most=5.0)] | None = None
    average_ns: _Mean | None = field(default=None, name="mean")
    p99_ns: Annotated[TimeNs, key("the 99th percentile")] | None = None

    @property
    def shape(self) -> tuple[float, float]:
        """The median in ns, and sigma."""
        sigma, median_ns = self.sigma, self.median_ns
        if sigma is None:
            assert self.p99_ns is not None
            sigma = (
                math.log(self.p99_ns / median_ns) / _Z99
                if median_ns is not None
                else _Z99 - math.sqrt(_Z99**2 - 2 * math.log(self.p99_ns / self._centre_ns))
            )
        if median_ns is None:
            return self._centre_ns * math.exp(-(sigma**2) / 2), sigma
        return median_ns, sigma

    @property
    def _centre_ns(self) -> int:
        centre_ns = self.average_ns if self.median_ns is None else self.median_ns
        assert centre_ns is not None
        return centre_ns

    @property
    def mean_ns(self) -> float:
        median_ns, sigma = self.shape
        return median_ns * math.exp(sigma**2 / 2)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        median_ns, sigma = self.shape
        return generator.lognormal(math.log(median_ns), sigma, count)

    def check(self, table: Table) -> None:
        _check_one_of(table, "mean", "median")
        _check_one_of(table, "p99", "sigma")
        if self.p99_ns is None:
            return
        if self.p99_ns < self._centre_ns:
            raise table.error("p99", f"must be at least {format_time_ns(self._centre_ns)}")
        if self.median_ns is None and (
            self.p99_ns / self._centre_ns > _LOGNORMAL_MOST_P99_PER_MEAN
        ):
            most = f"{math.floor(10 * _LOGNORMAL_MOST_P99_PER_MEAN) / 10}"
            raise table.error(
                "p99", f"must be at most {most} times the mean: no lognormal has more"
            )


def _check_one_of(table: Table, first: str, second: str) -> None:
    if (first in table) == (second in table):
        raise table.error(first, f"give either {first} or {second}")


class Gamma(Distribution, frozen=True, tag="gamma"):
    """A gamma distribution of this mean; its squared coefficient of variation is 1 / shape."""

    average_ns: _Mean = field(name="mean")
    shape: Annotated[float, key("a whole number k: Erlang-k", least=0.01, most=1e6)]

    @property
    def mean_ns(self) -> float:
        return float(self.average_ns)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return generator.gamma(self.shape, self.average_ns / self.shape, count)


class Exponential(Distribution, frozen=True, tag="exponential"):
    """An exponential distribution of this mean."""

    average_ns: _Mean = field(name="mean")

    @property
    def mean_ns(self) -> float:
        return float(self.average_ns)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return generator.exponential(self.average_ns, count)


class Mixture(Distribution, frozen=True, tag="mixture"):
    """Each draw is from one of the parts, chosen with a probability in proportion to weight."""

    parts: Annotated[tuple[AnyPart, ...], key("each a distribution with a `weight`")]

    @property
    def weights(self) -> list[float]:
        """The weights of the parts, which need not add up to 1."""
        return [part.weight for part in self.parts]

    @property
    def mean_ns(self) -> float:
        weighted = zip(self.weights, self.parts, strict=True)
        means_ns: list[float] = [weight * part.mean_ns for weight, part in weighted]
        return sum(means_ns) / sum(self.weights)

    def draw_ns(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        probabilities = np.array(self.weights) / sum(self.weights)
        chosen = generator.choice(len(self.parts), size=count, p=probabilities)
        draws = np.empty(count)
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(chosen == number)
            draws[places] = part.draw_ns(generator, places.size)
        return draws

    def check(self, table: Table) -> None:
        if not self.parts:
            raise table.error(
                "parts", "must have at least one part, such as {weight = 1, kind = ...}"
            )


AnyDistribution: TypeAlias = (
    Constant | Uniform | TruncatedNormal | Lognormal | Gamma | Exponential | Mixture
)
#: How a service time is described: a time, or a table with a ``kind``.
DescribedTime: TypeAlias = TimeNs | AnyDistribution


def _weighted(kind: Any) -> Any:
    """A part of a mixture: a distribution's keys, and a weight beside them."""
    weight: Any = Annotated[float, key("relative frequency", least=1e-9, most=1e9)]
    return defstruct(
        f"Weighted{kind.__name__}",
        [("weight", weight)],
        bases=(kind,),
        module=__name__,
        frozen=True,
        kw_only=True,
        tag=kind.__struct_config__.tag,
    )


_WEIGHTED: dict[type, Any] = {kind: _weighted(kind) for kind in get_args(AnyDistribution)}
if TYPE_CHECKING:
    AnyPart: TypeAlias = Any
else:
    AnyPart = Union[*_WEIGHTED.values()]


def weighted(weight: float, distribution: Distribution) -> AnyPart:
    """A distribution as a part of a mixture."""
    return _WEIGHTED[type(distribution)](weight=weight, **structs.asdict(distribution))


def time_stream(distribution: Distribution, seed: np.random.SeedSequence) -> DrawStream:
    """Draws in whole nanoseconds: rounded to the nearest, from 0 to :data:`MAX_DRAW_NS`."""
    return time_stream_of(distribution, new_generator(seed))


def time_stream_of(distribution: Distribution, generator: np.random.Generator) -> DrawStream:
    """Likewise, of a generator that is there already."""

    def new_block() -> NDArray[np.int64]:
        draws = distribution.draw_ns(generator, BLOCK_DRAWS)
        return np.rint(np.clip(draws, 0, MAX_DRAW_NS)).astype(np.int64)

    return DrawStream(generator, new_block, MAX_DRAW_NS)
