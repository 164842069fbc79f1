"""Our own record of a run: ``requests.csv`` (columns in :mod:`freezingtime.trace.record`)."""

from __future__ import annotations

from collections.abc import Iterator

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import Lines, Record
from freezingtime.trace.record import COLUMNS

_HEADER = ",".join(COLUMNS)
_OPERATIONS = {operation.name.lower(): operation for operation in Operation}
_FUA = {"0": False, "1": True}


def recognizes(first_line: str) -> bool:
    """Whether a file that begins with this line is of this format."""
    return first_line == _HEADER


def parse(lines: Lines) -> Iterator[Record]:
    """Read the records, which are in order of completion, not of arrival.

    Times count from when the devices were new, and stay as they are.
    """
    for line in lines:
        if line == _HEADER:
            continue
        fields = lines.split(line, ",", COLUMNS)
        disk, word, offset, length, fua, arrival = fields[:6]
        sequence = lines.whole("sequence", fields[-1])
        operation = lines.operation("operation", word, _OPERATIONS)
        arrival_ns = lines.whole("arrival_ns", arrival)
        if fua not in _FUA:
            raise lines.error("fua", fua, "must be 0 or 1")
        if operation is Operation.FLUSH:
            yield Record(disk, arrival_ns, operation, 0, 0, sequence=sequence)
        else:
            span = lines.range_bytes(("offset_bytes", offset), ("length_bytes", length))
            yield Record(disk, arrival_ns, operation, *span, _FUA[fua], sequence)
