# SPDX-License-Identifier: GPL-2.0-or-later
"""The block events of ftrace: ``trace`` and ``trace_pipe``, ``trace-cmd report``, ``perf script``.

A line is: task, CPU, flags, seconds, and ``block_rq_issue: MAJOR,MINOR RWBS BYTES (COMMAND)
SECTOR + COUNT [TASK]`` or ``block_rq_complete: MAJOR,MINOR RWBS (COMMAND) SECTOR + COUNT
[ERROR]`` (include/trace/events/block.h of the kernel). Other events are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from freezingtime.errors import InputError
from freezingtime.trace.readers.block.events import (
    COMPLETED,
    ISSUED,
    NO_ERROR,
    REQUEUED,
    SECOND_DIGITS,
    BlockEvent,
    records_of,
    requests,
)
from freezingtime.trace.readers.lines import Lines, TraceRequest

# A task, its number, the CPU, maybe flags, and the time.
_LINE = re.compile(
    r"\S.*[- ]+\d+(/\d+)?\s+(\(.{1,12}\)\s+)?\[\d+\]\s+(\S+\s+)?\d+\.\d+: +(?P<event>[\w:]+):"
)
_HEADERS = re.compile(r"cpus=\d+")
_REQUEST = re.compile(
    r"(?P<seconds>\d+\.\d+): +(block:)?block_rq_(?P<event>issue|complete|requeue): +"
    r"(?P<disk>\d+,\d+) +(?P<rwbs>\w+) +(\d+ +)?\([^)]*\) +(?P<sector>\d+) \+ (?P<count>\d+)"
    r"( .*)?(?P<tail>\[[^\]]*\])"
)
_ANY_REQUEST = re.compile(r": +(block:)?block_rq_(issue|complete|requeue):")
_ACTIONS = {"issue": ISSUED, "complete": COMPLETED, "requeue": REQUEUED}
_LOST = re.compile(r"CPU:?\s*\d+.*?(?P<count>\d+) EVENTS", re.IGNORECASE)
# Patterns take time by the square of a line's length; no line of ftrace's is that long.
_LINE_MAX = 1000
_FORM = "must be MAJOR,MINOR RWBS BYTES (COMMAND) SECTOR + COUNT [TASK OR ERROR]"


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line, comments apart, is of this format."""
    return len(first_line) <= _LINE_MAX and bool(
        _LINE.match(first_line) or _HEADERS.fullmatch(first_line)
    )


def parse(lines: Lines) -> Iterator[TraceRequest]:
    """Read the requests as they were issued."""
    return requests(lines, events, ISSUED)


def events(lines: Lines, actions: Collection[str]) -> Iterator[BlockEvent]:
    """Yield the events of the lines with one of these actions, in the order of the file."""
    for line in lines:
        if not _ANY_REQUEST.search(line):
            if lost := _LOST.match(line[:_LINE_MAX]):
                lines.leave_out("events that the kernel's buffer lost", int(lost["count"][:18]))
            continue
        try:
            found = list(_events(lines, line))
        except InputError as error:
            lines.refuse_unless_cut(error)
            return
        yield from (event for event in found if event.action in actions)


def _events(lines: Lines, line: str) -> Iterator[BlockEvent]:
    match = _REQUEST.search(line) if len(line) <= _LINE_MAX else None
    if match is None:
        raise lines.error("event", line.partition("block_rq_")[2], _FORM)
    action = _ACTIONS[match["event"]]
    at_ns = lines.time_ns("seconds", match["seconds"], SECOND_DIGITS)
    # A flush has no blocks, and its sector is meaningless.
    sectors = (match["sector"], match["count"]) if int(match["count"][:18]) else None
    failed = action == COMPLETED and match["tail"] != NO_ERROR
    for record in records_of(lines, match["disk"], at_ns, match["rwbs"], sectors):
        yield BlockEvent(action, record, 0, failed)
