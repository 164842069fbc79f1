# SPDX-License-Identifier: GPL-2.0-or-later
"""``compare --fail-if``: what makes a difference a regression.

::

    [DISK:][OPERATION.]METRIC OP THRESHOLD

OP is ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``. A THRESHOLD with a sign is a change,
from the first run to the other: ``+5%``, ``-10us``, ``+0``. One without a sign is what the
other run has: ``100us``, ``50k``, ``2GB/s``. ``app.NAME`` is one of the application's own figures,
in its own unit: ``app.tps < -3%``. Without an OPERATION all requests of a disk count
together, and without a DISK the condition is about each disk.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from freezingtime.application.fsync import FSYNC
from freezingtime.errors import InputError, did_you_mean
from freezingtime.request import Operation
from freezingtime.request_figures import ALL
from freezingtime.results.compare import MetricDifference, RunComparison
from freezingtime.results.metrics import (
    APPLICATION,
    DISK_METRICS,
    RUN_METRICS,
    UNITS,
    MetricKey,
    MetricUnit,
)
from freezingtime.units import parse_rate_hz, parse_size_bytes, parse_time_ns

OPTION = "--fail-if"

_CONDITION = re.compile(
    r"\s*(?:(?P<disk>.+):)?(?:(?P<operation>[A-Za-z_]+)\.)?(?P<metric>[A-Za-z][A-Za-z0-9_.]*)"
    r"\s*(?P<relation><=|>=|==|!=|<|>)\s*(?P<sign>[+-]?)(?P<amount>[^\s+-]\S*)\s*"
)
_PERCENT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)%")
_OWN_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([^0-9.\s]\S{0,15})?")
_RELATIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_OPERATIONS = (ALL, *(operation.name.lower() for operation in Operation), FSYNC)
_WITHOUT_FSYNC = ("iops", "bandwidth")
_FORM = "write [DISK:][OPERATION.]METRIC OP THRESHOLD, such as 'read.p99 > +5%'"


@dataclass(frozen=True, slots=True)
class Condition:
    """One ``--fail-if``, parsed."""

    text: str
    disk: str | None
    operation: str
    """Empty for a figure of the run as a whole."""
    metric: str
    relation: str
    threshold: Fraction
    """In the metric's unit, or a share of the first run's value."""
    is_change: bool
    is_share: bool
    own_unit: str = ""
    """Unit of a threshold for one of the application's figures; empty: whatever it has."""

    def figures(self, comparison: RunComparison) -> list[MetricDifference]:
        """The figures that the condition is about, which both runs have.

        Raises:
            InputError: a run has no such figure, or the runs no such disk.
        """
        chosen = self._chosen(comparison)
        if not chosen:
            raise self._error(f"{comparison.a.path} and {comparison.b.path} have no such metric")
        for found in chosen:
            if self.own_unit not in ("", found.key.own_unit):
                raise self._error(f"{found.key} is in {found.key.own_unit or 'no unit'}")
            for run, value in ((comparison.a, found.a), (comparison.b, found.b)):
                if value is None:
                    raise self._error(f"{run.path} has no {found.key}")
        return chosen

    def failing(self, comparison: RunComparison) -> list[MetricDifference]:
        """The figures that meet the condition.

        Raises:
            InputError: as for :meth:`figures`.
        """
        return [found for found in self.figures(comparison) if self._is_met(found)]

    def limit(self, value: Fraction) -> Fraction:
        """Return the value beyond which a change from ``value`` meets the condition."""
        return value + (self.threshold * value if self.is_share else self.threshold)

    def notes(self, comparison: RunComparison) -> list[str]:
        """Explain why the condition decides nothing, if its latency is 0 in both runs."""
        return [
            f"{self.text}: {found.key} is 0 in both{_why_zero(found.key, comparison)}"
            for found in self._chosen(comparison)
            if found.key.unit is MetricUnit.NS and found.a == found.b == 0
        ]

    def is_met_by(self, value: int | float) -> bool:
        """Whether a value meets a condition that is no change."""
        return _RELATIONS[self.relation](Fraction(value), self.threshold)

    def _chosen(self, comparison: RunComparison) -> list[MetricDifference]:
        return [found for found in comparison.metrics if self._is_about(found.key)]

    def _is_about(self, key: MetricKey) -> bool:
        return (key.operation, key.metric) == (self.operation, self.metric) and (
            self.disk is None or self.disk == key.disk
        )

    def _is_met(self, found: MetricDifference) -> bool:
        relation = _RELATIONS[self.relation]
        # Exact: no rounding decides whether a change of a nanosecond is seen.
        a, b = Fraction(found.a or 0), Fraction(found.b or 0)
        return relation(b, self.limit(a) if self.is_change else self.threshold)

    def _error(self, problem: str) -> InputError:
        return InputError(f"{OPTION} {self.text}: {problem}; leave it out, or name other runs")


def _why_zero(key: MetricKey, comparison: RunComparison) -> str:
    """Explain a latency of 0, and suggest a metric to use instead."""
    longest = MetricKey(key.disk, key.operation, "max")
    if any(found.key == longest and (found.a or found.b) for found in comparison.metrics):
        return ""
    if key.operation != Operation.FLUSH.name.lower():
        return f"; on this device a {key.operation} takes no time"
    return (
        "; on this device a flush takes no time; "
        f"{FSYNC}.{key.metric} has the writes that it waits for"
    )


def parse_condition(text: str) -> Condition:
    """Parse the value of ``--fail-if``.

    Raises:
        InputError: it has another form, or names no metric, operation or quantity.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise InputError(f"{OPTION} {text}: not understood; {_FORM}")
    disk, operation, metric, relation, sign, amount = match.groups()
    try:
        operation = _checked_operation(metric, operation, disk)
        own_unit = ""
        if operation == APPLICATION:
            is_share, magnitude, own_unit = _parse_own_amount(amount)
        else:
            is_share, magnitude = _parse_amount(amount, UNITS[metric])
        if is_share and not sign:
            raise InputError(f"{amount}: a percentage is a change; write +{amount} or -{amount}")
    except InputError as error:
        raise InputError(f"{OPTION} {text}: {error}") from error
    threshold = -magnitude if sign == "-" else magnitude
    return Condition(
        text, disk, operation, metric, relation, threshold, bool(sign), is_share, own_unit
    )


def _checked_operation(metric: str, operation: str | None, disk: str | None) -> str:
    """The operation that is meant, if the metric and the prefixes go together."""
    if operation == APPLICATION:
        if disk:
            raise InputError(
                f"{APPLICATION}.{metric} is the application's own; write it without a disk"
            )
        return operation
    if metric in RUN_METRICS:
        if operation or disk:
            raise InputError(f"{metric} belongs to the run as a whole; write it without a prefix")
        return ""
    if metric not in DISK_METRICS:
        raise InputError(
            f"unknown metric {metric!r}; {did_you_mean(metric, UNITS)}available: {', '.join(UNITS)}"
        )
    if operation is not None and operation not in _OPERATIONS:
        known = ", ".join(_OPERATIONS)
        suggestion = did_you_mean(operation, _OPERATIONS)
        raise InputError(f"unknown operation {operation!r}; {suggestion}available: {known}")
    if operation == FSYNC and metric in _WITHOUT_FSYNC:
        raise InputError(f"{FSYNC} has no {metric}; flush has")
    return operation or ALL


def _parse_amount(amount: str, unit: MetricUnit) -> tuple[bool, Fraction]:
    """Whether it is a share, and how much."""
    if share := _PERCENT.fullmatch(amount):
        return True, Fraction(share[1]) / 100
    if amount == "0":
        return False, Fraction(0)
    return False, Fraction(_PARSERS[unit](amount))


def _parse_own_amount(amount: str) -> tuple[bool, Fraction, str]:
    """Whether it is a share, how much, and its unit."""
    if share := _PERCENT.fullmatch(amount):
        return True, Fraction(share[1]) / 100, ""
    if own := _OWN_AMOUNT.fullmatch(amount):
        return False, Fraction(own[1]), own[2] or ""
    raise InputError(f"bad amount {amount!r}: write a number, such as 5, 5ms or +3%")


def _parse_bandwidth(text: str) -> int:
    if not text.endswith("/s"):
        raise InputError(f"bad bandwidth {text!r}: write it such as 500MB/s")
    return parse_size_bytes(text.removesuffix("/s"))


_PARSERS: Mapping[MetricUnit, Callable[[str], int]] = {
    MetricUnit.COUNT: parse_rate_hz,
    MetricUnit.NS: parse_time_ns,
    MetricUnit.HZ: parse_rate_hz,
    MetricUnit.BYTES_PER_S: _parse_bandwidth,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A condition that a figure meets."""

    condition: Condition
    found: MetricDifference


def failures(conditions: Sequence[Condition], comparison: RunComparison) -> list[Failure]:
    """Every condition with every figure that meets it.

    Raises:
        InputError: as for :meth:`Condition.failing`.
    """
    return [
        Failure(condition, found)
        for condition in conditions
        for found in condition.failing(comparison)
    ]
