# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of an exploration of power cuts, for who writes them and who reads them.

=====================  =====================================================
``crash.json``         what is explored
``job/``               the run directory of the job, with its write log
``states.jsonl``       a line for each state whose outcome is known
``explored.json``      what was found, once all of it has been explored
``failures/N.json``    a failure: point, fates, reason
``failures/N-*.raw``   its disks
``scratch/``           a guest's memory, while it is explored
=====================  =====================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

REQUEST_NAME = "crash.json"
JOB_NAME = "job"
STATES_NAME = "states.jsonl"
EXPLORED_NAME = "explored.json"
FAILURES_NAME = "failures"
SCRATCH_NAME = "scratch"
#: Changes whenever a reader of the version before would misread one of the documents.
EXPLORATION_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LostWrite:
    """A write of which something was lost."""

    disk: str
    offset_bytes: int
    length_bytes: int
    """Of what was lost, from its first to its last byte."""
    pieces: int
    of_pieces: int
    fate: str
    holds: tuple[str, ...] = ()
    """What would be there had nothing been lost: files and structures of the file system; empty
    where nothing can tell."""


@dataclass(frozen=True, slots=True)
class CutPoint:
    """A moment at which the power is cut."""

    event: int
    """The log's event that no longer happens, from 0; their number at the end of the job."""
    time_ns: int
    """Guest time of that event, or of the job's end."""
    output_bytes: int
    """How much the job had printed."""
    before: str
    """What no longer happens."""


@dataclass(slots=True)
class PointTally:
    """States of a point that are like none of the points before it, and their outcomes."""

    point: CutPoint
    states: int = 0
    failed: int = 0


@dataclass(slots=True)
class CrashSummary:
    """Summary of an exploration; all numbers are of states unless they say otherwise."""

    points: int = 0
    possible: int = 0
    """Choices of what is kept, over all points."""
    derived: int = 0
    unique: int = 0
    """Different contents of the disks, or different acknowledgements."""
    known: int = 0
    """Outcomes that an exploration before, which was interrupted, had found."""
    pruned: int = 0
    """Not run: they differ from one that was run only in what that did not read."""
    run: int = 0
    guests: int = 0
    """Guests that were started for the states that were run; one recovers from many."""
    unlike: int = 0
    """Passed in a guest of their own, after they had failed in one that recovered from others."""
    failed: int = 0
    flushes: int = 0
    """Flushes of the job."""
    is_exact: bool = True
    """Whether the job's run was."""


@dataclass(frozen=True, slots=True)
class FirstCut:
    """A state whose recovery was cut short."""

    point: CutPoint
    since_start_ns: int
    lost: tuple[LostWrite, ...]
    fates: str
    """What became of each piece, in hexadecimal."""
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CrashFailure:
    """A failure as it is reported; its state is the smallest loss found that still fails.

    With ``recovery_of`` it is a second power cut: times are of the recovery from that state.
    """

    number: int
    point: CutPoint
    since_start_ns: int
    reason: str
    output: tuple[str, ...]
    console: tuple[str, ...]
    lost: tuple[LostWrite, ...]
    undecided_pieces: int
    images: tuple[str, ...]
    recovery_of: FirstCut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploredDocument:
    """The content of ``explored.json``."""

    format: int = EXPLORATION_FORMAT
    span_ns: tuple[int, int]
    """Of the job, in guest time."""
    disks: Sequence[str]
    summary: CrashSummary
    recoveries: CrashSummary | None
    """Of second power cuts, if there were any."""
    points: Sequence[PointTally]
    failures: Sequence[int]
    """Their numbers."""
