# SPDX-License-Identifier: GPL-2.0-or-later
"""Text to integers and back: times in nanoseconds, sizes in bytes, rates in hertz.

Parsing happens once, at the edge; everything inside is an ``int``. No value is ever
rounded: text that does not name a whole number is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from freezingtime.errors import InputError, about

#: The largest time, size or rate: what a signed 64-bit integer holds (292 years, 8 EiB).
MAX_VALUE = 2**63 - 1

NS_PER_S: Final = 10**9

#: When something happens that does not: no time is later, and nothing may be added to it.
NEVER_NS: Final = MAX_VALUE

# The two spellings of the micro prefix are U+00B5 (micro sign) and U+03BC (Greek mu).
_TIME_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
}
_BINARY_UNITS_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DECIMAL_UNITS_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
# A bare prefix counts in 1024s, as QEMU and fio have it.
_BARE_UNITS_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE_UNITS_BYTES = {
    unit.lower(): size_bytes
    for unit, size_bytes in (_BINARY_UNITS_BYTES | _DECIMAL_UNITS_BYTES | _BARE_UNITS_BYTES).items()
}
_RATE_UNITS_HZ = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

_TIME_HELP = "a number and a unit (ns, us, ms, s), such as 10us, 2.5ms or 1s"
_SIZE_HELP = "a number of bytes with an optional unit, such as 512, 4KiB, 1GiB or 1GB"
_RATE_HELP = "a number per second with an optional prefix (k, M, G), such as 500M or 2.5G"

# The digits are bounded so that no text costs much to refuse.
_QUANTITY = re.compile(r"([0-9]{1,24}(?:\.[0-9]{1,24})?) ?([A-Za-z\u00b5\u03bc]{0,3})")


def parse_time_ns(text: str) -> int:
    """Parse a time such as ``10us`` into nanoseconds, 0 to :data:`MAX_VALUE`.

    The unit may be missing only from a plain ``0``. Raises :class:`InputError` for
    anything else, and for a time that is not a whole number of nanoseconds.
    """
    if text.strip() == "0":
        return 0
    return _parse("time", text, _TIME_UNITS_NS, "nanoseconds", _TIME_HELP)


def parse_size_bytes(text: str) -> int:
    """Parse a size such as ``4KiB`` into bytes, 0 to :data:`MAX_VALUE`.

    ``KiB`` and its kin count in 1024s, ``kB`` and its kin in 1000s, a bare ``K``, ``M``,
    ``G`` or ``T`` in 1024s; upper and lower case mean the same. Raises
    :class:`InputError` for anything else, and for a fraction of a byte.
    """
    return _parse("size", text, _SIZE_UNITS_BYTES, "bytes", _SIZE_HELP, fold_case=True)


def parse_rate_hz(text: str) -> int:
    """Parse a rate such as ``2.5G`` into events per second, 1 to :data:`MAX_VALUE`.

    Prefixes are decimal. Raises :class:`InputError` for anything else, for zero, and for
    a fraction of an event per second.
    """
    rate_hz = _parse("rate", text, _RATE_UNITS_HZ, "events per second", _RATE_HELP)
    if rate_hz == 0:
        raise InputError(f"bad rate {text!r}: must be more than 0; write {_RATE_HELP}")
    return rate_hz


class Limits(NamedTuple):
    """Limits of an option's value."""

    least: int
    most: int
    allowed: str
    """In words, behind "must be"."""
    unit: int = 1
    """It must be a multiple of this."""

    def check(self, option: str, text: object, value: int) -> int:
        """Return the value; an InputError names the option and what was written."""
        if not self.least <= value <= self.most or value % self.unit:
            raise InputError(f"{option} {text}: must be {self.allowed}")
        return value


def parse_option(
    option: str, text: str, parse: Callable[[str], int], limits: Limits | None = None
) -> int:
    """Parse an option's value; an InputError begins with the option."""
    with about(f"{option}: "):
        value = parse(text)
    return value if limits is None else limits.check(option, text, value)


def format_time_ns(time_ns: int) -> str:
    """Write a time exactly, in the largest unit that is not more than it: ``12.345us``."""
    sign = "-" if time_ns < 0 else ""
    magnitude_ns = abs(time_ns)
    unit, unit_ns = largest_time_unit(magnitude_ns)
    whole, rest = divmod(magnitude_ns, unit_ns)
    digits = len(str(unit_ns)) - 1
    decimals = f".{rest:0{digits}}".rstrip("0") if rest else ""
    return f"{sign}{whole}{decimals}{unit}"


def largest_time_unit(time_ns: float) -> tuple[str, int]:
    """Return the largest unit that is not more than a time, ns for less, and its nanoseconds."""
    units = ((unit, _TIME_UNITS_NS[unit]) for unit in ("s", "ms", "us"))
    return next((each for each in units if time_ns >= each[1]), ("ns", 1))


def time_cell(time_ns: float) -> str:
    """A time in four digits, in the largest unit that is not more than it, for a table."""
    unit, unit_ns = largest_time_unit(time_ns)
    return f"{four_digits(time_ns / unit_ns)}{unit}"


def four_digits(value: float) -> str:
    """Format a number to four digits, or to all before its point."""
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def rate_hz(amount: int, duration_ns: int) -> float | None:
    """So much per second; None if it took no time."""
    return amount * NS_PER_S / duration_ns if duration_ns else None


def format_size_bytes(size_bytes: int) -> str:
    """Write a size exactly, as the shortest whole number of a unit: ``4KiB``, ``1GB``, ``513B``.

    Where a binary and a decimal unit are equally short, the binary one is taken.
    """
    units = _BINARY_UNITS_BYTES | _DECIMAL_UNITS_BYTES
    counts = {
        unit: size_bytes // unit_bytes
        for unit, unit_bytes in units.items()
        if size_bytes % unit_bytes == 0 and (size_bytes or unit == "B")
    }
    unit = min(counts, key=lambda unit: len(str(counts[unit])))
    return f"{counts[unit]}{unit}"


def _parse(
    kind: str,
    text: str,
    units: Mapping[str, int],
    base_unit: str,
    help_text: str,
    *,
    fold_case: bool = False,
) -> int:
    """Turn ``text`` into a whole number of the base unit, which ``units`` maps to 1."""
    match = _QUANTITY.fullmatch(text.strip())
    number, unit = match.groups() if match else ("", "?")
    unit_size = units.get(unit.lower() if fold_case else unit)
    if unit_size is None:
        raise InputError(f"bad {kind} {text!r}: write {help_text}")
    value = Fraction(number) * unit_size
    if value.denominator != 1:
        raise InputError(f"bad {kind} {text!r}: must be a whole number of {base_unit}")
    if value > MAX_VALUE:
        raise InputError(f"bad {kind} {text!r}: at most {MAX_VALUE} {base_unit}")
    return int(value)


def counted(count: int, noun: str, *, grouped: bool = False) -> str:
    """A number of things: ``1 point``, ``2 points``; ``grouped``: ``1,000 points``."""
    return f"{count:{',' if grouped else ''}} {noun}{'' if count == 1 else 's'}"
