# SPDX-License-Identifier: GPL-2.0-or-later
"""The traces of FIU, as SNIA keeps them (Koller and Rangaswami, "I/O Deduplication", FAST 2010).

``TIME PID PROCESS LBA BLOCKS OPERATION MAJOR MINOR HASH``, divided by blanks: TIME is ns, LBA
and BLOCKS are sectors of 512 bytes, OPERATION is R or W; a process's name may have blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import Lines, TraceRequest

_FORM = "TIME PID PROCESS LBA BLOCKS OPERATION MAJOR MINOR HASH"
_LINE = re.compile(
    r"(?P<time>\d+)\s+\d+\s+\S.*?\s+(?P<lba>\d+)\s+(?P<blocks>\d+)\s+(?P<operation>[RW])\s+"
    r"(?P<major>\d+)\s+(?P<minor>\d+)\s+[0-9a-fA-F]{32}"
)
# The pattern takes time by the square of a line's length; a process's name has 16 letters.
_LINE_MAX = 1000
_OPERATIONS = {"R": Operation.READ, "W": Operation.WRITE}


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return _match(first_line) is not None


def _match(line: str) -> re.Match[str] | None:
    return _LINE.fullmatch(line) if len(line) <= _LINE_MAX else None


def parse(lines: Lines) -> Iterator[TraceRequest]:
    """Read the records; a disk is ``MAJOR,MINOR``."""
    for line in lines:
        match = _match(line)
        if match is None:
            raise lines.error("line", line, f"must be: {_FORM}")
        yield TraceRequest(
            f"{match['major']},{match['minor']}",
            lines.whole("TIME", match["time"]),
            _OPERATIONS[match["operation"]],
            *lines.range_sectors(("LBA", match["lba"]), ("BLOCKS", match["blocks"])),
        )
