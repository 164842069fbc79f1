# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of the kernel's block layer: requests queued, issued, completed, requeued.

blkparse prints these events, and so does ftrace; this is what both have in common. Only an
issue that is not taken back is a request to the device: ``R`` takes one back, and the same
request is issued again later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, TypeAlias

from freezingtime.request import Operation
from freezingtime.trace.readers.joined_times import JoinedTimes
from freezingtime.trace.readers.lines import Lines, TraceRequest
from freezingtime.trace.readers.rwbs import RWBS_ALLOWED, parse_rwbs
from freezingtime.units import counted

#: As blkparse(1) has them, "Trace actions".
QUEUED, ISSUED, COMPLETED, REQUEUED = "Q", "D", "C", "R"
#: blkparse and ftrace print seconds.
SECOND_DIGITS = 9
#: A completion ends in the error's number.
NO_ERROR = "[0]"


class BlockEvent(NamedTuple):
    """One event; ``record`` is what it is about, and its arrival when it happened."""

    action: str
    record: TraceRequest
    capture: int
    """Which capture of the file it is in, from 0; each has a clock of its own."""
    failed: bool = False
    """Completed, but with an error."""


#: Reads the events with one of these actions, in the order of the file.
Events: TypeAlias = Callable[[Lines, Collection[str]], Iterator[BlockEvent]]


class _Key(NamedTuple):
    """Key that a request's events share."""

    disk: str
    operation: Operation
    offset_bytes: int
    length_bytes: int


def _key(record: TraceRequest) -> _Key:
    return _Key(record.disk, record.operation, record.offset_bytes, record.length_bytes)


def requests(lines: Lines, events: Events, action: str) -> Iterator[TraceRequest]:
    """The requests as they were queued or issued, each of them once.

    A request that was requeued is taken when it was issued first: then the load wanted it.
    """
    times = JoinedTimes()
    requeued: Counter[_Key] = Counter()
    capture = reissued_count = 0
    for event in events(lines, (action, REQUEUED)):
        if event.capture != capture:
            capture = event.capture
            times.restart()
            requeued.clear()
        record = event.record
        if event.action == REQUEUED:
            requeued[_key(record)] += action == ISSUED
        elif requeued and requeued[_key(record)]:
            requeued[_key(record)] -= 1
            reissued_count += 1
        else:
            yield record._replace(arrival_ns=times.at(record.arrival_ns))
    note_captures(lines, times)
    if reissued_count:
        lines.note(
            f"{counted(reissued_count, 'request')} requeued (R): counted from the first issue"
        )


def note_captures(lines: Lines, times: JoinedTimes) -> None:
    """Note if a file has several captures."""
    if times.capture_count > 1:
        lines.note(f"{times.capture_count} captures in one file are read one after the other")


def records_of(
    lines: Lines, disk: str, at_ns: int, rwbs: str, sectors: tuple[str, str] | None
) -> Iterator[TraceRequest]:
    """Return the requests that an event makes: a flush, a request, or one after the other.

    ``sectors`` are the first one and how many, as they stand there; None: no range.
    """
    asked = parse_rwbs(rwbs)
    if asked is None:
        raise lines.error("RWBS", rwbs, RWBS_ALLOWED)
    if asked.preflush:
        yield TraceRequest(disk, at_ns, Operation.FLUSH, 0, 0)
    if asked.operation is None or sectors is None:
        return
    first, count = sectors
    span = lines.range_sectors(("sector", first), ("count", count))
    yield TraceRequest(disk, at_ns, asked.operation, *span, asked.fua)
