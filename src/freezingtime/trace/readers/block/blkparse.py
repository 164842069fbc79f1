"""What blkparse prints by default (blkparse(1), "Output description and formatting").

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
from freezingtime.trace.readers.lines import Lines, Record

_EVENT = re.compile(r"\d+,\d+ +\d+ +\d+ +\d+\.\d+ +\d+ +[A-Za-z]")
_DEVICE = re.compile(r"\d+,\d+")
_BANNER = "Input file "
_SUMMARY = ("CPU", "Total", "Throughput", "Events")
_SKIPS = re.compile(r"Skips: (?P<count>[1-9]\d*) forward \((?P<events>[\d,]+)")
_COLUMNS = ("device", "cpu", "sequence", "seconds", "pid", "action", "RWBS")
_ERROR = re.compile(r"\[-?\d+\]")


def recognizes(first_line: str) -> bool:
    """Whether a file that begins with this line is of this format."""
    return first_line.startswith(_BANNER) or _EVENT.match(first_line) is not None


def parser(action: str) -> Callable[[Lines], Iterator[Record]]:
    """A parser that takes the lines with this action, ``D`` or ``Q``."""
    return lambda lines: requests(lines, events, action)


def events(lines: Lines, actions: Collection[str]) -> Iterator[BlockEvent]:
    """What the lines with one of these actions are about, in the order of the file."""
    captures = _Captures()
    for line in lines:
        if not captures.is_event(lines, line):
            continue
        try:
            fields = _fields(lines, line)
            captures.see(fields)
            found = list(_records(lines, fields)) if fields[5] in actions else []
        except InputError as error:
            lines.refuse_unless_cut(error)
            return
        for record in found:
            yield BlockEvent(fields[5], record, captures.number, _failed(fields))


class _Captures:
    """Tells events from summaries, and counts the captures."""

    def __init__(self) -> None:
        self.number = 0
        self._in_summary = False
        self._last: dict[str, tuple[int, str]] = {}

    def is_event(self, lines: Lines, line: str) -> bool:
        """Whether a line must be an event: a summary's are in no order."""
        if line.startswith(_BANNER):
            self._in_summary = self._in_summary or bool(self._last)
            return False
        if line.startswith(_SUMMARY):
            self._in_summary = True
        if not self._in_summary:
            return True
        if _EVENT.match(line):
            return True
        if lost := _SKIPS.match(line):
            lines.note(f"blktrace itself lost {lost['events']} events")
        return False

    def see(self, fields: list[str]) -> None:
        """An event was read: it may be the first one of another capture."""
        device, cpu, sequence, seconds = fields[:4]
        place = f"{device} {cpu}"
        before = self._last.get(place)
        restarts = before is not None and _is_before((int(sequence), seconds), before)
        if self._last and (self._in_summary or restarts):
            self.number += 1
            self._last.clear()
        self._in_summary = False
        self._last[place] = (int(sequence), seconds)


def _is_before(event: tuple[int, str], other: tuple[int, str]) -> bool:
    """Whether both the number and the time of an event are less than those of another."""
    return event[0] < other[0] and float(event[1]) < float(other[1])


def _fields(lines: Lines, line: str) -> list[str]:
    fields = line.split()
    if not _DEVICE.fullmatch(fields[0]):
        raise lines.error("device", fields[0], "must be MAJOR,MINOR, such as 8,0")
    if len(fields) < len(_COLUMNS) or (lines.is_cut and not line.endswith((")", "]"))):
        raise lines.error("line", line, f"must begin with: {' '.join(_COLUMNS)}")
    lines.whole("sequence", fields[2])
    lines.time_ns("seconds", fields[3], SECOND_DIGITS)
    return fields


def _records(lines: Lines, fields: list[str]) -> Iterator[Record]:
    """What one event asks of the device: a flush, a request, or one after the other."""
    device, seconds, rwbs, place = fields[0], fields[3], fields[6], fields[7:]
    at_ns = lines.time_ns("seconds", seconds, SECOND_DIGITS)
    has_range = _has_range(place)
    if has_range and (len(place) < 3 or place[1] != "+"):
        raise lines.error("range", " ".join(place), "must be SECTOR + COUNT")
    return records_of(lines, device, at_ns, rwbs, (place[0], place[2]) if has_range else None)


def _has_range(place: list[str]) -> bool:
    """False for an empty flush, ``[process]``, ``0 + 0`` or, completed, ``0 [ERROR]``, and for a
    packet, ``BYTES (HEX ..)``.
    """
    without = not place or place[0].startswith("[") or (len(place) == 2 and place[1][:1] == "[")
    packet = place[1:] and place[1].startswith("(")
    return not (without or packet or place[:3] == ["0", "+", "0"])


def _failed(fields: list[str]) -> bool:
    """Whether a completion has an error's number."""
    is_error = _ERROR.fullmatch(fields[-1]) is not None and fields[-1] != NO_ERROR
    return fields[5] == COMPLETED and is_error
