# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations, sectors, sizes and times in a rule of faults, and their notations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

from freezingtime.device.schema import TIME_NS_MOST, Notation
from freezingtime.errors import InputError, did_you_mean
from freezingtime.request import Operation
from freezingtime.units import (
    format_size_bytes,
    format_time_ns,
    parse_size_bytes,
    parse_time_ns,
)

SECTOR_BYTES = 512
#: No sector of a disk that a 64-bit size can have is beyond.
_SECTOR_DIGITS_MOST = 17
_OPERATIONS = {operation.name.lower(): operation for operation in Operation}


class Sectors(NamedTuple):
    """Sectors of 512 bytes from ``first`` to ``last``, in each ``period`` if that is not 0."""

    first: int
    last: int
    period: int = 0

    def __str__(self) -> str:
        """Return the value as a description has it."""
        text = str(self.first) if self.first == self.last else f"{self.first}..{self.last}"
        return f"{text}/{self.period}" if self.period else text

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The runs of these sectors (first, end) that lie in a range of sectors, cut to it."""
        if self.period:
            rounds = range(start // self.period, (end - 1) // self.period + 1)
        else:
            rounds = range(1)
        runs = [
            (
                max(number * self.period + self.first, start),
                min(number * self.period + self.last + 1, end),
            )
            for number in rounds
        ]
        return [(first, last) for first, last in runs if first < last]


class SizeRange(NamedTuple):
    """Sizes of requests, both ends included."""

    least_bytes: int
    most_bytes: int

    def __str__(self) -> str:
        """Return the value as a description has it."""
        return _range_text(format_size_bytes(self.least_bytes), format_size_bytes(self.most_bytes))


class TimeRange(NamedTuple):
    """Times, each as likely as any other, both ends included."""

    least_ns: int
    most_ns: int

    def __str__(self) -> str:
        """Return the value as a description has it."""
        return _range_text(format_time_ns(self.least_ns), format_time_ns(self.most_ns))


def _range_text(least: str, most: str) -> str:
    return least if least == most else f"{least}..{most}"


def _parse_operations(value: object) -> tuple[Operation, ...]:
    words = value.split("+") if isinstance(value, str) else []
    unknown = [word for word in words if word not in _OPERATIONS]
    if not words or unknown or len(set(words)) < len(words):
        hint = did_you_mean(unknown[0], _OPERATIONS) if unknown else ""
        raise InputError(f"{hint}must be some of {', '.join(_OPERATIONS)}, joined by '+'")
    return tuple(_OPERATIONS[word] for word in words)


def _show_operations(operations: Sequence[Operation]) -> str:
    return "+".join(operation.name.lower() for operation in operations)


def _parse_sectors(value: object) -> Sectors:
    problem = 'must be sectors of 512 bytes such as "2048..4095", or "0..7/1024" in each 1024'
    text = "" if isinstance(value, bool) or not isinstance(value, str | int) else str(value)
    span, slash, period = text.partition("/")
    first, dots, last = span.partition("..")
    numbers = [first, last if dots else first, period if slash else "0"]
    if not all(
        number.isascii() and number.isdigit() and len(number) <= _SECTOR_DIGITS_MOST
        for number in numbers
    ):
        raise InputError(problem)
    sectors = Sectors(*map(int, numbers))
    if sectors.last < sectors.first:
        raise InputError("the last sector must not be below the first")
    if slash and sectors.period <= sectors.last:
        raise InputError("the number behind the slash must be above the last sector")
    return sectors


def _parse_range(value: object, parse: Callable[[str], int], problem: str) -> tuple[int, int]:
    if not isinstance(value, str):
        raise InputError(problem)
    least, dots, most = value.partition("..")
    try:
        ends = parse(least), parse(most if dots else least)
    except InputError as error:
        raise InputError(problem) from error
    if ends[1] < ends[0]:
        raise InputError("the second end must not be below the first")
    return ends


def _parse_sizes(value: object) -> SizeRange:
    problem = 'must be a size such as "4KiB", or sizes such as "4KiB..64KiB"'
    sizes = SizeRange(*_parse_range(value, parse_size_bytes, problem))
    if sizes.least_bytes < SECTOR_BYTES:
        raise InputError(f"must be at least {SECTOR_BYTES} bytes: no request is smaller")
    return sizes


def _parse_times(value: object) -> TimeRange:
    problem = 'must be a time such as "2ms", or times such as "1ms..5ms"'
    times = TimeRange(*_parse_range(value, parse_time_ns, problem))
    if times.most_ns > TIME_NS_MOST:
        raise InputError(f"must be at most {format_time_ns(TIME_NS_MOST)}")
    return times


def _notation(
    kind: str, example: str, parse: Callable[[object], Any], show: Callable[[Any], str] = str
) -> Any:
    return Notation(
        kind=kind,
        problem=f"must be {kind}",
        parse=parse,
        show=show,
        schema={"type": ["string", "integer"], "examples": [example]},
    ).meta()


OperationsValue: TypeAlias = Annotated[
    tuple[Operation, ...],
    _notation("operations", "read+write", _parse_operations, _show_operations),
]
SectorsValue: TypeAlias = Annotated[Sectors, _notation("sectors", "2048..4095", _parse_sectors)]
SizesValue: TypeAlias = Annotated[SizeRange, _notation("sizes", "4KiB..64KiB", _parse_sizes)]
TimesValue: TypeAlias = Annotated[TimeRange, _notation("times", "1ms..5ms", _parse_times)]
