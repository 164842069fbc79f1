# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts that all text formats share: numbered lines, fields, errors with their place."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from freezingtime.device.trace_device import MAX_LENGTH_BYTES
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.hints import NO_HINTS, Hints
from freezingtime.units import MAX_VALUE

SECTOR_BYTES = 512

Item = TypeVar("Item")

# So that no text costs much to refuse, and a message stays one line.
_DIGITS_MAX = 20
_SHOWN_MAX = 40
_PEEKED_LINES = 1000
_PEEKED_CHARACTERS = 1 << 20
_COMMENT = "#"


class TraceRequest(NamedTuple):
    """One request of a trace.

    ``disk`` is the format's own name for where it went. ``arrival_ns`` may count from
    anywhere and be of any size; records need not be in order of arrival.
    """

    disk: str
    arrival_ns: int
    operation: Operation
    offset_bytes: int
    length_bytes: int
    fua: bool = False


class Lines:
    """The lines of a trace, without their ends; blank ones and comments are left out, but counted.

    Readers report here how they read: facts, such as a unit, and notes,
    such as what was left out.
    """

    def __init__(self, file: str, lines: Iterable[str], hints: Hints = NO_HINTS) -> None:
        """``file`` is the trace's name in messages."""
        self.file = file
        self._lines = iter(lines)
        self._ahead: deque[str] = deque()
        self._left_out: Counter[str] = Counter()
        self._told: dict[str, None] = {}
        self.facts: list[str] = []
        self.hints = hints
        self.assumed_unit: str | None = None
        """The unit of times that nothing but a custom speaks for."""
        self.is_one_clock = False
        """Whether times that go back can be nothing but out of order."""
        self.number = 0
        self.is_cut = False
        """Whether the present line is the last one and has no end, as where a tool was killed."""

    def __iter__(self) -> Iterator[str]:
        while True:
            line = self._ahead.popleft() if self._ahead else next(self._lines, None)
            if line is None:
                return
            self.number += 1
            self.is_cut = not line.endswith("\n")
            if stripped := _content(line):
                yield stripped

    def peek(self) -> list[str]:
        """The lines that come next, of which there are many: what a format is known by."""
        budget = _PEEKED_CHARACTERS - sum(map(len, self._ahead))
        while budget > 0 and len(self._ahead) < _PEEKED_LINES:
            line = next(self._lines, None)
            if line is None:
                break
            self._ahead.append(line)
            budget -= len(line)
        return [stripped for line in self._ahead if (stripped := _content(line))]

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count skipped items, named in the plural, such as "lines without a latency"."""
        self._left_out[what] += count

    def note(self, text: str) -> None:
        """Note a surprise for the user; each only once."""
        self._told[text] = None

    def refuse_unless_cut(self, error: InputError) -> None:
        """Raise the error of the present line, unless the line is truncated: then note it."""
        if not self.is_cut or self.number == 1:
            raise error
        self.note("its last line is truncated, and skipped")

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the skipped items, with counts, and the notes."""
        counted = (f"left out {count} {what}" for what, count in self._left_out.items() if count)
        return (*counted, *self._told)

    def error(self, field: str, value: str, allowed: str) -> InputError:
        """The error to raise about a field of the present line."""
        shown = value if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]}..."
        return InputError(f"{self.file}:{self.number}: {field} {shown!r}: {allowed}")

    def split(self, line: str, separator: str | None, columns: Sequence[str]) -> list[str]:
        """The fields of a line, of which there must be one for each column."""
        # Quotes are rare, and the csv module is slow for single lines.
        if separator is not None and '"' in line:
            fields = next(csv.reader([line], delimiter=separator))
        else:
            fields = line.split(separator)
        if len(fields) != len(columns):
            names = (separator or " ").join(columns)
            raise self.error("line", line, f"must have {len(columns)} fields: {names}")
        return fields

    def whole(self, field: str, text: str, *, least: int = 0, most: int = MAX_VALUE) -> int:
        """A decimal number from ``least`` to ``most``, without a sign."""
        if text.isdecimal() and len(text) <= _DIGITS_MAX:
            value = int(text)
            if least <= value <= most:
                return value
        raise self.error(field, text, f"must be a whole number from {least} to {most}")

    def time_ns(self, field: str, text: str, unit_digits: int) -> int:
        """A decimal number of units of 10**``unit_digits`` ns, cut off below 1 ns."""
        whole, point, fraction = text.partition(".")
        digits = whole + fraction
        if not digits.isdecimal() or not whole or (point and not fraction):
            raise self.error(field, text, "must be a decimal number, such as 12 or 12.000345")
        if len(digits) > 2 * _DIGITS_MAX:
            raise self.error(field, text, f"must have at most {2 * _DIGITS_MAX} digits")
        return int(whole + fraction[:unit_digits].ljust(unit_digits, "0"))

    def operation(self, field: str, text: str, operations: Mapping[str, Operation]) -> Operation:
        """Parse one of the format's names of an operation."""
        try:
            return operations[text]
        except KeyError:
            raise self.error(field, text, f"must be one of: {', '.join(operations)}") from None

    def range_bytes(
        self,
        offset: tuple[str, str],
        length: tuple[str, str],
        *,
        offset_unit_bytes: int = 1,
        length_unit_bytes: int = 1,
    ) -> tuple[int, int]:
        """Offset and length in bytes from (field, text) pairs in units of theirs.

        A length must be from 1 byte to 8 GiB, and the range must end within 64 bits.
        """
        offset_bytes = offset_unit_bytes * self.whole(*offset, most=MAX_VALUE // offset_unit_bytes)
        longest = MAX_LENGTH_BYTES // length_unit_bytes
        length_bytes = length_unit_bytes * self.whole(*length, least=1, most=longest)
        if offset_bytes + length_bytes > MAX_VALUE:
            raise self.error(*offset, f"the request must end before byte {MAX_VALUE}")
        return offset_bytes, length_bytes

    def range_sectors(self, first: tuple[str, str], count: tuple[str, str]) -> tuple[int, int]:
        """Offset and length in bytes, as :meth:`range_bytes`, from numbers of sectors."""
        unit_bytes = {"offset_unit_bytes": SECTOR_BYTES, "length_unit_bytes": SECTOR_BYTES}
        return self.range_bytes(first, count, **unit_bytes)


def until_truncated(lines: Lines, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of lines, but for a last line that is cut off and wrong."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except InputError as error:
            lines.refuse_unless_cut(error)
            return
        yield item


def _content(line: str) -> str:
    """A line without blanks around it; nothing of a comment."""
    stripped = line.strip()
    return "" if stripped.startswith(_COMMENT) else stripped
