# SPDX-License-Identifier: GPL-2.0-or-later
"""Fields of a CSV into values: times without a unit, codes for operations, sizes.

Nothing is guessed unseen: what a value's size or a custom speaks for is told, what nothing speaks
for is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from freezingtime.device.trace_device import MAX_LENGTH_BYTES
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.hints import TIME_UNITS
from freezingtime.trace.readers.lines import SECTOR_BYTES, Lines
from freezingtime.trace.readers.rwbs import parse_rwbs
from freezingtime.trace.readers.table.header import Column, plain_name
from freezingtime.units import MAX_VALUE, NS_PER_S

_UNIT_NAMES = {digits: unit for unit, digits in TIME_UNITS.items()}
# Times since 1970, or 1601 for Windows' units of 100 ns, of the years 1990 to 2100: so far apart
# that a number is of one unit at most.
_YEAR_S = 31_556_952
_EPOCH_S = (20 * _YEAR_S, 130 * _YEAR_S)
_WINDOWS_SHIFT_S = 369 * _YEAR_S
_TICK_DIGITS = 2

WORDS = {
    **dict.fromkeys(("r", "read", "rs"), Operation.READ),
    **dict.fromkeys(("w", "write", "ws"), Operation.WRITE),
    **dict.fromkeys(("f", "flush", "sync"), Operation.FLUSH),
    **dict.fromkeys(("d", "discard", "trim", "unmap"), Operation.DISCARD),
    "write_zeroes": Operation.WRITE_ZEROES,
}
_FACTORS = {"k": 2**10, "m": 2**20, "g": 2**30}


def epoch_digits(whole: int) -> int | None:
    """The unit in which a number is a time of our days: 10**digits ns; None: in none."""
    least_s, most_s = _EPOCH_S
    for digits in (9, 6, 3, 0):
        if least_s <= whole * 10**digits // NS_PER_S < most_s:
            return digits
    ticks_s = whole * 10**_TICK_DIGITS // NS_PER_S - _WINDOWS_SHIFT_S
    return _TICK_DIGITS if least_s <= ticks_s < most_s else None


class TimeField:
    """A column of times of arrival, whose unit is settled by its first value."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._digits: int | None = None

    def ns(self, lines: Lines, fields: list[str]) -> int:
        """The time in a line, in ns."""
        text = self._column.of(fields)
        if self._digits is None:
            self._digits = self._settle(lines, text)
        return lines.time_ns(self._column.name, text, self._digits)

    def _settle(self, lines: Lines, text: str) -> int:
        name, named = self._column.name, self._column.unit
        whole = text.partition(".")[0]
        by_size = epoch_digits(int(whole)) if whole.isdecimal() and len(whole) < 25 else None
        if named is not None:
            if by_size is not None and by_size < named:
                raise lines.error(
                    name, text, f"is a present-day time in {_UNIT_NAMES[by_size]}, not in "
                    f"{_UNIT_NAMES[named]}; rename the column to its unit"
                )  # fmt: skip
            return named
        if lines.hints.time_digits is not None:
            lines.facts.append(f"{name} in {_UNIT_NAMES[lines.hints.time_digits]}, as given")
            return lines.hints.time_digits
        if by_size is not None:
            lines.facts.append(f"{name} in {_UNIT_NAMES[by_size]}, inferred from its size")
            return by_size
        lines.assumed_unit = "s"
        lines.facts.append(f"{name} in s, assumed without a unit (--time-unit)")
        return TIME_UNITS["s"]


class LatencyField:
    """A column of latencies, in seconds by default."""

    def __init__(self, lines: Lines, column: Column) -> None:
        self._column = column
        self.name = column.name
        digits = lines.hints.time_digits if column.unit is None else column.unit
        self.is_assumed = digits is None
        self._digits = TIME_UNITS["s"] if digits is None else digits
        if self.is_assumed:
            lines.facts.append(f"{column.name} in s, assumed without a unit (--time-unit)")

    def ns(self, lines: Lines, fields: list[str]) -> int | None:
        """The latency in a line, in ns; None: there is none."""
        text = self._column.of(fields)
        return lines.time_ns(self._column.name, text, self._digits) if text else None


class OperationField:
    """A column of operations: words, the kernel's letters, or one of two codes."""

    def __init__(self, lines: Lines, column: Column, *, are_letters: bool = False) -> None:
        """``are_letters``: also those of the kernel (RWBS), as in a column of that name."""
        self._column = column
        self._are_letters = are_letters or plain_name(column.name) == "rwbs"
        self._read_code = lines.hints.read_code
        self._other_code: str | None = None
        self._saw_read_code = False

    def operations(self, lines: Lines, fields: list[str]) -> Iterator[tuple[Operation, bool]]:
        """Return a line's operations in order, and whether with FUA; none: no block request."""
        text = self._column.of(fields).lower()
        if text == self._read_code:
            self._saw_read_code = True
            yield Operation.READ, False
        elif text in WORDS:
            yield WORDS[text], False
        elif self._are_letters and text and (asked := parse_rwbs(text.upper())) is not None:
            if asked.preflush:
                yield Operation.FLUSH, False
            if asked.operation is None and not asked.preflush:
                lines.leave_out("lines that move no blocks")
            elif asked.operation is not None:
                yield asked.operation, asked.fua
        else:
            yield self._coded(lines, text), False

    def finish(self, lines: Lines) -> None:
        """Describe, at the end of the file, how codes were interpreted."""
        if self._other_code is not None:
            lines.facts.append(f"{self._column.name} {self._other_code} writes")
            if not self._saw_read_code:
                lines.note(f"no request has the read code {self._read_code}: all are writes")

    def _coded(self, lines: Lines, text: str) -> Operation:
        name = self._column.name
        if self._read_code is None:
            if text.isdecimal():
                raise lines.error(
                    name, text, "is a code; give the one for reads: --read-code 0 or 1"
                )
            raise lines.error(name, text, f"must be one of: {', '.join(WORDS)}, or --read-code")
        if self._other_code not in (None, text):
            raise lines.error(
                name, text, f"is a third code beside {self._read_code} for reads and "
                f"{self._other_code}; write words, such as read, write, flush, discard"
            )  # fmt: skip
        self._other_code = text
        return Operation.WRITE


class LengthField:
    """A column of lengths, or, the same way, of offsets."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._unit_bytes = column.unit or 1
        self._longest_bytes = 0

    def length_bytes(self, lines: Lines, fields: list[str]) -> int:
        """The length in a line: from 1 byte to 8 GiB."""
        length_bytes = self._bytes(lines, fields, least=1, most=MAX_LENGTH_BYTES)
        self._longest_bytes = max(self._longest_bytes, length_bytes)
        return length_bytes

    def offset_bytes(self, lines: Lines, fields: list[str], length_bytes: int) -> int:
        """The offset in a line; the request must end within 64 bits."""
        offset_bytes = self._bytes(lines, fields, least=0, most=MAX_VALUE)
        if offset_bytes + length_bytes > MAX_VALUE:
            text = self._column.of(fields)
            raise lines.error(
                self._column.name, text, f"the request must end before byte {MAX_VALUE}"
            )
        return offset_bytes

    def finish(self, lines: Lines) -> None:
        """Refuse, at the end of the file, bytes that can only be sectors.

        Raises:
            InputError: no request has as much as a sector.
        """
        if self._column.unit is None and 0 < self._longest_bytes < SECTOR_BYTES:
            raise InputError(
                f"{lines.file}: {self._column.name}: the longest request has "
                f"{self._longest_bytes} bytes, less than a sector; if they are sectors, call the "
                f"columns lba and sectors, as with --format csv:HEADER; if not, size_bytes"
            )

    def _bytes(self, lines: Lines, fields: list[str], *, least: int, most: int) -> int:
        name, text = self._column.name, self._column.of(fields)
        if not text.isdecimal():
            text = _plain_number(text, is_in_bytes=self._unit_bytes == 1)
        unit_bytes = self._unit_bytes
        return unit_bytes * lines.whole(name, text, least=least, most=most // unit_bytes)


def _plain_number(text: str, *, is_in_bytes: bool) -> str:
    """A hexadecimal number, or one of KiB, MiB or GiB such as ``4k``, as a decimal one.

    Any other text comes back as it is.
    """
    lowered = text.lower()
    if lowered.startswith("0x") and len(text) <= len("0x") + 16:
        try:
            return str(int(lowered, 16))
        except ValueError:
            return text
    number = lowered.removesuffix("ib").removesuffix("b")
    factor = _FACTORS.get(number[-1:])
    if is_in_bytes and factor and number[:-1].isdecimal() and len(number) <= len("1234567890k"):
        return str(int(number[:-1]) * factor)
    return text
