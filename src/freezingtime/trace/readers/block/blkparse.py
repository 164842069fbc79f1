# SPDX-License-Identifier: GPL-2.0-or-later
"""Reader of blkparse's default output (blkparse(1), "Output description and formatting").

A line is: device, CPU, sequence number, seconds, process, action, RWBS, and, where the
request has a range, ``SECTOR + COUNT``. Of a request's many lines one is taken: ``D``,
when it was issued to the driver, which is what a device sees, or ``Q``, when it was
queued, before merging and scheduling. Of RWBS, see :mod:`~freezingtime.trace.readers.rwbs`;
``N`` and packet commands move no blocks and are left out.

The summary at the end is read only for what the tracer lost. What follows it, or begins
again with earlier times and sequence numbers, is another capture. The last line of a
tracer that was killed may be cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from freezingtime.errors import InputError
from freezingtime.trace.readers.block.events import (
    COMPLETED,
    NO_ERROR,
    SECOND_DIGITS,
    BlockEvent,
    records_of,
    requests,
)
from freezingtime.trace.readers.lines import Lines, TraceRequest

_EVENT = re.compile(r"\d+,\d+ +\d+ +\d+ +\d+\.\d+ +\d+ +[A-Za-z]")
_DEVICE = re.compile(r"\d+,\d+")
_BANNER = "Input file "
_SUMMARY = ("CPU", "Total", "Throughput", "Events")
_SKIPS = re.compile(r"Skips: (?P<count>[1-9]\d*) forward \((?P<events>[\d,]+)")
_COLUMNS = ("device", "cpu", "sequence", "seconds", "pid", "action", "RWBS")
_ERROR = re.compile(r"\[-?\d+\]")


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return first_line.startswith(_BANNER) or _EVENT.match(first_line) is not None


def parser(action: str) -> Callable[[Lines], Iterator[TraceRequest]]:
    """A parser that takes the lines with this action, ``D`` or ``Q``."""
    return lambda lines: requests(lines, events, action)


def events(lines: Lines, actions: Collection[str]) -> Iterator[BlockEvent]:
    """Yield the events of the lines with one of these actions, in the order of the file."""
    captures = _Captures()
    for line in lines:
        if not captures.is_event(lines, line):
            continue
        try:
            fields = _fields(lines, line)
            action = fields[5]
            if action not in actions:
                continue
            at_ns = lines.time_ns("seconds", fields[3], SECOND_DIGITS)
            captures.see((fields[0], fields[1]), lines.whole("sequence", fields[2]), at_ns)
            found = list(_records(lines, fields, at_ns))
        except InputError as error:
            lines.refuse_unless_cut(error)
            return
        failed = action == COMPLETED and _failed(fields)
        for record in found:
            yield BlockEvent(action, record, captures.number, failed)


class _Captures:
    """Separates events from summaries, and counts the captures."""

    def __init__(self) -> None:
        self.number = 0
        self._in_summary = False
        self._last: dict[tuple[str, str], tuple[int, int]] = {}

    def is_event(self, lines: Lines, line: str) -> bool:
        """Return whether a line must be an event: a summary's are in no order."""
        if line[0].isdigit():
            return not self._in_summary or _EVENT.match(line) is not None
        if line.startswith(_BANNER):
            self._in_summary = self._in_summary or bool(self._last)
            return False
        if line.startswith(_SUMMARY):
            self._in_summary = True
        if self._in_summary and (lost := _SKIPS.match(line)):
            lines.note(f"blktrace itself lost {lost['events']} events")
        return not self._in_summary

    def see(self, place: tuple[str, str], sequence: int, at_ns: int) -> None:
        """An event of a disk and CPU was read: it may be the first one of another capture."""
        before, before_ns = self._last.get(place, (sequence, at_ns))
        if self._last and (self._in_summary or (sequence < before and at_ns < before_ns)):
            self.number += 1
            self._last.clear()
        self._in_summary = False
        self._last[place] = sequence, at_ns


def _fields(lines: Lines, line: str) -> list[str]:
    fields = line.split()
    if not _DEVICE.fullmatch(fields[0]):
        raise lines.error("device", fields[0], "must be MAJOR,MINOR, such as 8,0")
    if len(fields) < len(_COLUMNS) or (lines.is_cut and not line.endswith((")", "]"))):
        raise lines.error("line", line, f"must begin with: {' '.join(_COLUMNS)}")
    return fields


def _records(lines: Lines, fields: list[str], at_ns: int) -> Iterator[TraceRequest]:
    """Convert one event into requests: a flush, a read or write, or one after the other."""
    place = fields[7:]
    has_range = _has_range(place)
    if has_range and (len(place) < 3 or place[1] != "+"):
        raise lines.error("range", " ".join(place), "must be SECTOR + COUNT")
    sectors = (place[0], place[2]) if has_range else None
    return records_of(lines, fields[0], at_ns, fields[6], sectors)


def _has_range(place: list[str]) -> bool:
    """False for an empty flush, ``[process]``, ``0 + 0`` or, completed, ``0 [ERROR]``, and for a
    packet, ``BYTES (HEX ..)``.
    """
    without = not place or place[0].startswith("[") or (len(place) == 2 and place[1][:1] == "[")
    packet = place[1:] and place[1].startswith("(")
    return not (without or packet or place[:3] == ["0", "+", "0"])


def _failed(fields: list[str]) -> bool:
    """Whether the error's number is there, and is not 0."""
    return fields[-1] != NO_ERROR and _ERROR.fullmatch(fields[-1]) is not None
