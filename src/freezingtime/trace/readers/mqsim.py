"""MQSim's ASCII traces: ``arrival device address size type``, divided by blanks.

Arrival is ns (MQSim reads a unit but uses none), address and size are sectors of 512
bytes, type 0 writes and 1 reads. Source: MQSim, src/host/ASCII_Trace_Definition.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import SECTOR_BYTES, Lines, Record

_COLUMNS = ("arrival", "device", "address", "size", "type")
_LINE = re.compile(r"\d+\s+\d+\s+\d+\s+\d+\s+[01]")
_OPERATIONS = {"0": Operation.WRITE, "1": Operation.READ}


def recognizes(first_line: str) -> bool:
    """Whether a file that begins with this line is of this format."""
    return _LINE.fullmatch(first_line) is not None


def parse(lines: Lines) -> Iterator[Record]:
    """Read the records."""
    for line in lines:
        arrival, device, address, size, code = lines.split(line, None, _COLUMNS)
        yield Record(
            device,
            lines.whole("arrival", arrival),
            lines.operation("type", code, _OPERATIONS),
            *lines.range_bytes(
                ("address", address),
                ("size", size),
                offset_unit_bytes=SECTOR_BYTES,
                length_unit_bytes=SECTOR_BYTES,
            ),
        )
