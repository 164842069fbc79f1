"""What blkparse prints by default (blkparse(1), "Output description and formatting").

A line is: device, CPU, sequence number, seconds, process, action, RWBS, and, where the
request has a range, ``SECTOR + COUNT``. Of a request's many lines one is taken: ``D``,
when it was issued to the driver, which is what a device sees, or ``Q``, when it was
queued, before merging and scheduling. Of RWBS, see :mod:`~freezingtime.trace.readers.rwbs`;
``N`` and packet commands move no blocks and are left out. The summary at the end is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import SECTOR_BYTES, Lines, Record
from freezingtime.trace.readers.rwbs import RWBS_ALLOWED, parse_rwbs

_EVENT = re.compile(r"\d+,\d+ +\d+ +\d+ +\d+\.\d+ +\d+ +[A-Za-z]")
_DEVICE = re.compile(r"\d+,\d+")
_BANNER = "Input file "
_SUMMARY = ("CPU", "Total", "Throughput", "Events")
_SECOND_DIGITS = 9
_COLUMNS = ("device", "cpu", "sequence", "seconds", "pid", "action", "RWBS")


def recognizes(first_line: str) -> bool:
    """Whether a file that begins with this line is of this format."""
    return first_line.startswith(_BANNER) or _EVENT.match(first_line) is not None


def parser(action: str) -> Callable[[Lines], Iterator[Record]]:
    """A parser that takes the lines with this action, ``D`` or ``Q``."""

    def parse(lines: Lines) -> Iterator[Record]:
        return (record for _, record in events(lines, (action,)))

    return parse


def events(lines: Lines, actions: Sequence[str]) -> Iterator[tuple[str, Record]]:
    """What the lines with one of these actions are about, in the order of the file."""
    for line in lines:
        if line.startswith(_SUMMARY):
            return
        if line.startswith(_BANNER):
            continue
        fields = line.split()
        if not _DEVICE.fullmatch(fields[0]):
            raise lines.error("device", fields[0], "must be MAJOR,MINOR, such as 8,0")
        if len(fields) < len(_COLUMNS):
            raise lines.error("line", line, f"must begin with: {' '.join(_COLUMNS)}")
        if fields[5] in actions:
            for record in _records(lines, fields):
                yield fields[5], record


def _records(lines: Lines, fields: list[str]) -> Iterator[Record]:
    """What one event asks of the device: a flush, a request, or one after the other."""
    device, seconds, rwbs, place = fields[0], fields[3], fields[6], fields[7:]
    arrival_ns = lines.time_ns("seconds", seconds, _SECOND_DIGITS)
    asked = parse_rwbs(rwbs)
    if asked is None:
        raise lines.error("RWBS", rwbs, RWBS_ALLOWED)
    if asked.preflush:
        yield Record(device, arrival_ns, Operation.FLUSH, 0, 0)
    if asked.operation is None or not _has_range(place):
        return
    if len(place) < 3 or place[1] != "+":
        raise lines.error("range", " ".join(place), "must be SECTOR + COUNT")
    span = lines.range_bytes(
        ("sector", place[0]),
        ("count", place[2]),
        offset_unit_bytes=SECTOR_BYTES,
        length_unit_bytes=SECTOR_BYTES,
    )
    yield Record(device, arrival_ns, asked.operation, *span, asked.fua)


def _has_range(place: list[str]) -> bool:
    """False for an empty flush, ``[process]``, ``0 + 0`` or, completed, ``0 [ERROR]``, and for a
    packet, ``BYTES (HEX ..)``.
    """
    without = not place or place[0].startswith("[") or (len(place) == 2 and place[1][:1] == "[")
    packet = place[1:] and place[1].startswith("(")
    return not (without or packet or place[:3] == ["0", "+", "0"])
