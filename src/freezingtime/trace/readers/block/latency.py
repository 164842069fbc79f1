# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's block events as latencies: from the issue to the driver to the completion.

That is D2C, the time in the device and its driver. Events have no name in common but the
sector, and some are lost under load. So a completion belongs to the *newest* request of its
disk and kind that awaits one at its sector: a request whose completion was lost stays behind,
instead of shifting all later ones there by one. A request that is completed in parts has
ended when all of its sectors have; one that is requeued counts from when it was issued again.
What finds no other half, as at the ends of a trace, is left out and counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from freezingtime.request import Operation
from freezingtime.trace.readers.block.events import (
    COMPLETED,
    ISSUED,
    REQUEUED,
    Events,
    note_captures,
)
from freezingtime.trace.readers.joined_times import JoinedTimes
from freezingtime.trace.readers.latencies import Latencies, LatencyColumns
from freezingtime.trace.readers.lines import Lines, TraceRequest
from freezingtime.units import counted


class _Place(NamedTuple):
    """Sector at which a request continues: its next completion must name it."""

    disk: str
    operation: Operation
    offset_bytes: int


@dataclass(slots=True, eq=False)
class _Issued:
    """A request that awaits its completion."""

    at_ns: int
    length_bytes: int
    left_bytes: int
    """Not yet completed."""


class _InFlight:
    """The requests that were issued and have not ended."""

    def __init__(self) -> None:
        self._issued: dict[_Place, list[_Issued]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._issued.values()))

    def issue(self, record: TraceRequest, at_ns: int) -> None:
        place = _Place(record.disk, record.operation, record.offset_bytes)
        self._issued[place].append(_Issued(at_ns, record.length_bytes, record.length_bytes))

    def take(self, record: TraceRequest) -> _Issued | None:
        """The request that a completion or requeue is about, no longer in flight; None: unknown.

        The newest that lacks just these bytes, or else the newest that lacks more.
        """
        place = _Place(record.disk, record.operation, record.offset_bytes)
        waiting = self._issued.get(place, [])
        needed_bytes = record.length_bytes
        found = next((one for one in reversed(waiting) if one.left_bytes == needed_bytes), None)
        if found is None:
            found = next((one for one in reversed(waiting) if one.left_bytes > needed_bytes), None)
        if found is None:
            return None
        waiting.remove(found)
        if not waiting:
            del self._issued[place]
        return found

    def go_on(self, issued: _Issued, record: TraceRequest) -> None:
        """A part of a request was completed; the rest is still in flight."""
        issued.left_bytes -= record.length_bytes
        rest = record.offset_bytes + record.length_bytes
        self._issued[_Place(record.disk, record.operation, rest)].append(issued)


class _Latencies:
    """Collects the requests that have ended, and counts what is not one."""

    def __init__(self) -> None:
        self.columns = LatencyColumns()
        self._in_flight = _InFlight()
        self.incomplete_count = 0
        self.unknown_count = 0
        self.failed_count = 0
        self.requeued_count = 0
        self.parts_count = 0

    def end_capture(self) -> None:
        """Drop what is still in flight: the next capture knows nothing of it."""
        self.incomplete_count += len(self._in_flight)
        self._in_flight = _InFlight()

    def issue(self, record: TraceRequest, at_ns: int) -> None:
        self._in_flight.issue(record, at_ns)

    def requeue(self, record: TraceRequest) -> None:
        self.requeued_count += self._in_flight.take(record) is not None

    def complete(self, record: TraceRequest, at_ns: int, *, failed: bool) -> None:
        issued = self._in_flight.take(record)
        if issued is None:
            self.unknown_count += 1
        elif failed:
            self.failed_count += 1
        elif issued.left_bytes > record.length_bytes:
            self.parts_count += 1
            self._in_flight.go_on(issued, record)
        elif at_ns < issued.at_ns:
            self.unknown_count += 1
            self.incomplete_count += 1
        else:
            took_ns = at_ns - issued.at_ns
            self.columns.add(issued.at_ns, took_ns, record.operation, issued.length_bytes)

    def tell(self, lines: Lines) -> None:
        """Note what was not read as is."""
        lines.leave_out("requests whose completion is not in the trace", self.incomplete_count)
        lines.leave_out("completions whose request is not in the trace", self.unknown_count)
        lines.leave_out("requests that failed", self.failed_count)
        if self.requeued_count:
            lines.note(
                f"{counted(self.requeued_count, 'request')} requeued (R): "
                "counted from the last issue"
            )
        if self.parts_count:
            lines.note(
                f"{counted(self.parts_count, 'partial completion')}: "
                "a request ends with its last one"
            )


def block_latencies(
    events: Events,
) -> Callable[[Lines, str | None], tuple[Latencies, set[str]]]:
    """A reader of the latencies of one disk's requests, and of the names of all disks there.

    With several disks and none chosen, the latencies are those of all.
    """

    def read(lines: Lines, disk: str | None) -> tuple[Latencies, set[str]]:
        found = _Latencies()
        times = JoinedTimes()
        disks: set[str] = set()
        capture = 0
        for event in events(lines, (ISSUED, COMPLETED, REQUEUED)):
            if event.capture != capture:
                capture = event.capture
                times.restart()
                found.end_capture()
            record = event.record
            at_ns = times.at(record.arrival_ns)
            disks.add(record.disk)
            if disk is not None and record.disk != disk:
                continue
            if event.action == ISSUED:
                found.issue(record, at_ns)
            elif event.action == REQUEUED:
                found.requeue(record)
            else:
                found.complete(record, at_ns, failed=event.failed)
        found.end_capture()
        found.tell(lines)
        note_captures(lines, times)
        return found.columns.latencies(), disks

    return read
