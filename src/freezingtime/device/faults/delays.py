# SPDX-License-Identifier: GPL-2.0-or-later
"""Delays of the requests that a rule of faults slows down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np

from freezingtime.device.faults.rule import FaultRule, GivenFault
from freezingtime.device.latency.distribution import MAX_DRAW_NS, AnyDistribution, Distribution
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, key, keys_of

#: Of the ns that the request would have taken, how many it takes in addition.
Added: TypeAlias = Callable[[int], int]


class _Described(Parameters, frozen=True, kw_only=True):
    """The part of a rule that is a distribution."""

    slow_distribution: Annotated[AnyDistribution, key("how much longer it takes")]


def read_distribution(table: Table) -> Distribution:
    """Read the distribution in the table of a rule.

    Raises:
        InputError: it is not right.
    """
    names = [key.name for key in keys_of(FaultRule)]
    distribution: Distribution = table.read(_Described, beside=names).slow_distribution
    return distribution


def added_ns(given: GivenFault, generator: np.random.Generator) -> Added:
    """Return what a rule adds to the time of a request that it hits."""
    rule = given.rule
    if rule.slow is not None:
        further = rule.slow - 1.0
        return lambda service_ns: round(service_ns * further)
    if rule.slow_by is not None:
        least_ns, most_ns = rule.slow_by
        if least_ns == most_ns:
            return lambda _: least_ns
        return lambda _: int(generator.integers(least_ns, most_ns, endpoint=True))
    distribution = read_distribution(given.table)
    return lambda _: round(min(max(float(distribution.draw_ns(generator, 1)[0]), 0.0), MAX_DRAW_NS))
