# SPDX-License-Identifier: GPL-2.0-or-later
"""The traces of MSR Cambridge, as SNIA keeps them.

``Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`` without a header line:
Timestamp is a Windows file time (units of 100 ns since 1601), Type is Read or Write,
Offset and Size are bytes. Source: the README of the traces; Narayanan, Donnelly and
Rowstron, "Write off-loading", FAST 2008.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import Lines, TraceRequest

COLUMNS = ("Timestamp", "Hostname", "DiskNumber", "Type", "Offset", "Size", "ResponseTime")
_HEADER = ",".join(COLUMNS)
_LINE = re.compile(r"\d+,[^,]+,\d+,(Read|Write),\d+,\d+,\d+")
_OPERATIONS = {"Read": Operation.READ, "Write": Operation.WRITE}
TICK_NS = 100


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return first_line == _HEADER or _LINE.fullmatch(first_line) is not None


def parse(lines: Lines) -> Iterator[TraceRequest]:
    """Read the records; a disk is ``HOSTNAME.DISKNUMBER``."""
    for line in lines:
        if line == _HEADER:
            continue
        yield parse_line(lines, line)[0]


def parse_line(lines: Lines, line: str) -> tuple[TraceRequest, str]:
    """Parse one line into a request and its raw ResponseTime."""
    ticks, host, disk, word, offset, size, response = lines.split(line, ",", COLUMNS)
    record = TraceRequest(
        f"{host}.{disk}",
        TICK_NS * lines.whole("Timestamp", ticks),
        lines.operation("Type", word, _OPERATIONS),
        *lines.range_bytes(("Offset", offset), ("Size", size)),
    )
    return record, response
