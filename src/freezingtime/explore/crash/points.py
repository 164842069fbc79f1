# SPDX-License-Identifier: GPL-2.0-or-later
"""The points of a run at which the power is cut: each right before an event of its write log."""

from __future__ import annotations

import bisect
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from freezingtime.errors import InputError, about
from freezingtime.explore.crash.choices import AFTER, ALL_FLUSHES, AT, EVERY_WRITE, FORMS
from freezingtime.request import Operation
from freezingtime.trace.explored.crash_files import CutPoint
from freezingtime.trace.writes.log import WriteEvent, WriteEventKind
from freezingtime.units import parse_time_ns

_COUNT_MOST = 10**9


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a job: from what it prints like ``since`` to what it then prints like ``until``."""

    since: re.Pattern[bytes] | None = None
    until: re.Pattern[bytes] | None = None

    @classmethod
    def parse(cls, since: str | None, until: str | None) -> Stretch:
        """Read ``--since`` and ``--until``.

        Raises:
            InputError: one is no pattern.
        """
        with about(f"--since {since}: "):
            begins = None if since is None else _pattern(since)
        with about(f"--until {until}: "):
            return cls(begins, None if until is None else _pattern(until))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the job."""
        return self.since is None and self.until is None

    @property
    def idle_reason(self) -> str:
        """The message if nothing happened in it; only one that ends before its job may be so."""
        until = "" if self.until is None else f"--until {_text(self.until)}"
        if self.since is None:
            return f"{until}: nothing was written or flushed before that"
        return f"--since {_text(self.since)}, {until}: nothing was written or flushed between them"

    def outputs(self, output: bytes) -> tuple[int, int | None]:
        """The bytes that the job had printed when it began, and had not yet when it ended.

        None: it ends with the job.

        Raises:
            InputError: the job printed no such thing.
        """
        first = 0 if self.since is None else _end_of("--since", self.since, output, 0)
        last = None if self.until is None else _end_of("--until", self.until, output, first)
        return first, last


def _end_of(option: str, pattern: re.Pattern[bytes], output: bytes, start: int) -> int:
    found = next((one for one in pattern.finditer(output, start) if one[0]), None)
    if found is None:
        behind = " behind what --since names" if start else ""
        raise InputError(f"{option} {_text(pattern)}: the job printed nothing like that{behind}")
    return found.end()


_WHOLE = Stretch()


@dataclass(frozen=True, slots=True)
class PointSelection:
    """Choice of points, as ``--points`` has it; exactly one field is set."""

    flushes: bool = False
    writes: bool = False
    count: int | None = None
    at_ns: int | None = None
    """Guest time since the start of the job."""
    after: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class JobSpan:
    """The guest times between which the power is cut, and what the job printed by the end."""

    start_ns: int
    end_ns: int
    output: bytes
    of: str = "job"
    """What it is the span of."""


def parse_selection(text: str) -> PointSelection:
    """Read ``--points``.

    Raises:
        InputError: it is none of the forms.
    """
    with about(f"--points {text}: "):
        if text == ALL_FLUSHES:
            return PointSelection(flushes=True)
        if text == EVERY_WRITE:
            return PointSelection(writes=True)
        if text.startswith(AT):
            return PointSelection(at_ns=parse_time_ns(text.removeprefix(AT)))
        if text.startswith(AFTER):
            return PointSelection(after=_pattern(text.removeprefix(AFTER)))
        if re.fullmatch("[0-9]{1,9}", text) and 0 < int(text) < _COUNT_MOST:
            return PointSelection(count=int(text))
        raise InputError(f"no such points; write one of: {FORMS}")


def _pattern(text: str) -> re.Pattern[bytes]:
    try:
        pattern = re.compile(text.encode(errors="surrogateescape"))
    except re.error as error:
        raise InputError(f"no regular expression: {error}") from error
    if pattern.match(b""):
        raise InputError("matches an empty text; write what the job prints")
    return pattern


def _text(pattern: re.Pattern[bytes]) -> str:
    return pattern.pattern.decode(errors="replace")


def choose_points(
    events: Iterable[WriteEvent],
    selection: PointSelection,
    span: JobSpan,
    seed: int,
    stretch: Stretch = _WHOLE,
) -> list[CutPoint]:
    """The points that are selected, in order; ``events`` is the whole log.

    The power is cut within ``stretch`` only.

    A cut right before a completion leaves most undecided; between two events nothing changes on
    the disks, so that one moment stands for all.

    Raises:
        InputError: there are none, and why.
    """
    moments: list[CutPoint] = []
    has_written = False
    count = 0
    for index, event in enumerate(events):
        if event.time_ns > span.end_ns:
            break
        count = index + 1
        if event.time_ns <= span.start_ns:
            continue
        has_written = has_written or event.operation is not Operation.FLUSH
        if _is_moment(event, selection):
            moments.append(_before(index, event))
    if not has_written:
        raise InputError("the job wrote nothing to its disks, so a power cut can lose nothing")
    end = CutPoint(count, span.end_ns, len(span.output), f"the end of the {span.of}")
    if selection.at_ns is not None:
        return [_at(moments, end, selection.at_ns, span)]
    if selection.after is not None:
        return _after(moments, end, selection.after, span.output)
    first, last = stretch.outputs(span.output)
    within = [
        moment
        for moment in moments
        if first <= moment.output_bytes and (last is None or moment.output_bytes < last)
    ]
    if selection.count is not None and selection.count <= len(within):
        chosen = random.Random(f"points {seed}").sample(range(len(within)), selection.count)
        return [within[place] for place in sorted(chosen)]
    if last is None:
        within.append(end)
    if not within:
        raise InputError(stretch.idle_reason)
    return within


def _is_moment(event: WriteEvent, selection: PointSelection) -> bool:
    if selection.at_ns is not None or selection.after is not None:
        return True
    if event.kind is WriteEventKind.ARRIVAL:
        return False
    return not selection.flushes or event.operation is Operation.FLUSH


def _before(index: int, event: WriteEvent) -> CutPoint:
    what = event.operation.name.lower().replace("_", " ")
    moment = "arrives" if event.kind is WriteEventKind.ARRIVAL else "completes"
    return CutPoint(index, event.time_ns, event.output_bytes, f"a {what} {moment}")


def _at(moments: Sequence[CutPoint], end: CutPoint, at_ns: int, span: JobSpan) -> CutPoint:
    """The first moment after a time."""
    cut_ns = span.start_ns + at_ns
    if cut_ns > span.end_ns:
        raise InputError(
            f"--points at={at_ns}ns: the job ended before that, at {span.end_ns - span.start_ns}ns"
        )
    place = bisect.bisect_right([point.time_ns for point in moments], cut_ns)
    return [*moments, end][place]


def _after(
    moments: Sequence[CutPoint], end: CutPoint, pattern: re.Pattern[bytes], output: bytes
) -> list[CutPoint]:
    """The first moment after each match: whatever it is about had to be durable by then."""
    printed = [point.output_bytes for point in moments]
    places = {
        bisect.bisect_left(printed, found.end()): None
        for found in pattern.finditer(output)
        if found.end() > found.start()
    }
    if not places:
        raise InputError(f"--points after={_text(pattern)}: the job printed nothing like that")
    return [[*moments, end][place] for place in places]
