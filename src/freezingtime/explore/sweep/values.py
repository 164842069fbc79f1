# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of ``--set KEY=VALUES``: those of one parameter, or the interval that they are drawn from.

The words are Hydra's: ``a,b,c`` and ``choice(a,b,c)`` list values, ``range(START,STOP,STEP)``
counts up to below STOP, ``interval(A,B)`` is drawn from, and ``tag(log,interval(A,B))`` evenly in
its logarithm. A value with commas or parentheses stands in quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from freezingtime.errors import InputError

#: A mistyped range must not fill the memory.
VALUES_MAX = 100_000

_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_QUANTITY = re.compile(r"([-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?) ?([A-Za-z%/]*)")
_QUOTES = "'\""
_FORMS = "a,b,c, choice(a,b), range(1,33,8), interval(0.07,0.28) or tag(log,interval(1us,1ms))"


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of numbers of one unit, from which a sample is drawn."""

    low: float
    high: float
    unit: str
    is_whole: bool
    """Whether both ends are whole numbers, and so all that is drawn."""
    is_log: bool

    def __str__(self) -> str:
        """As ``--set`` has it."""
        text = f"interval({self.low:.15g}{self.unit},{self.high:.15g}{self.unit})"
        return f"tag(log,{text})" if self.is_log else text

    def at(self, share: float) -> str:
        """The value at a share of the interval, from 0 to below 1."""
        if self.is_whole and not self.is_log:
            # Each whole number is as likely as any other, the ends included.
            value = min(self.low + math.floor(share * (self.high - self.low + 1)), self.high)
        elif self.is_log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + share * (self.high - self.low)
        number = str(round(value)) if self.is_whole else f"{value:.6g}"
        return f"{number}{self.unit}"


@dataclass(frozen=True, slots=True)
class VariedKey:
    """A key that is varied: its values, or the interval that they are drawn from."""

    name: str
    values: Sequence[str]
    interval: Interval | None = None

    def described(self) -> list[str]:
        """For the sweep's own file: the name, and the values or the interval."""
        return [self.name, *(self.values if self.interval is None else [str(self.interval)])]


def parse_set(text: str) -> VariedKey:
    """Parse the value of ``--set``.

    Raises:
        InputError: it is not of one of the forms.
    """
    name, equals, given = text.partition("=")
    name = name.strip()
    if not equals or not name or not given.strip():
        raise InputError(f"--set {text}: write KEY=VALUES, such as workload.qd=1,8,32")
    try:
        return parse_values(name, given.strip())
    except InputError as error:
        raise InputError(f"--set {text}: {error}") from None


def parse_values(name: str, given: str) -> VariedKey:
    """Parse the values of a key.

    Raises:
        InputError: they are of none of the forms.
    """
    call = _CALL.fullmatch(given)
    if call is None or len(list(_split(given))) > 1:
        return _listed(name, list(_split(given)))
    function, inner = call[1], list(_split(call[2]))
    if function == "choice":
        return _listed(name, inner)
    if function == "range":
        return VariedKey(name, list(_count(inner)))
    if function == "interval":
        return VariedKey(name, (), _interval(inner, is_log=False))
    if function == "tag":
        below = _CALL.fullmatch(inner[1]) if len(inner) == 2 and inner[0] == "log" else None
        if below is not None and below[1] == "interval":
            return VariedKey(name, (), _interval(list(_split(below[2])), is_log=True))
    raise InputError(f"{function}(...) is none of the forms: {_FORMS}")


def _listed(name: str, values: list[str]) -> VariedKey:
    values = [_unquoted(value) for value in values]
    if "" in values:
        raise InputError("has an empty value; remove the extra comma")
    return VariedKey(name, values)


def _split(text: str) -> Iterator[str]:
    """The parts between commas that are in no quotes and parentheses."""
    start = depth = 0
    quote = ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign in "()":
            depth += 1 if sign == "(" else -1
        elif sign == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    if quote or depth:
        what = f"the quote {quote} is" if quote else "a parenthesis is"
        raise InputError(f"{what} not closed")
    yield text[start:].strip()


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES
    return value[1:-1] if is_quoted else value


def _count(given: Sequence[str]) -> Iterator[str]:
    try:
        numbers = [Decimal(value) for value in given]
    except InvalidOperation:
        numbers = []
    start, stop, step = {
        1: (Decimal(0), *numbers, Decimal(1)),
        2: (*numbers, Decimal(1)),
        3: tuple(numbers),
    }.get(len(numbers), (Decimal(0), Decimal(0), Decimal(0)))
    if not all(map(Decimal.is_finite, numbers)) or not step or (stop - start) / step <= 0:
        raise InputError("write range(STOP), range(START,STOP) or range(START,STOP,STEP)")
    count = math.ceil((stop - start) / step)
    if count > VALUES_MAX:
        raise InputError(f"has {count} values; at most {VALUES_MAX} are possible")
    for number in range(count):
        yield f"{start + number * step:f}"


def _interval(given: Sequence[str], *, is_log: bool) -> Interval:
    ends = [_QUANTITY.fullmatch(value) for value in given]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise InputError("write interval(LOW,HIGH), such as interval(0.07,0.28)")
    units = {end[2] for end in ends if end is not None}
    if len(units) > 1:
        raise InputError(f"the ends are in {' and '.join(sorted(units))}; write both in one unit")
    low, high = (float(end[1]) for end in ends if end is not None)
    if not low < high or not math.isfinite(high - low):
        raise InputError("the first end must be below the second")
    if is_log and low <= 0:
        raise InputError("a logarithm needs ends above 0")
    is_whole = all(re.fullmatch("[-+]?[0-9]+", end[1]) for end in ends if end is not None)
    return Interval(low, high, units.pop(), is_whole, is_log)
