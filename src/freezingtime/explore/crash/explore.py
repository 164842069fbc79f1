# SPDX-License-Identifier: GPL-2.0-or-later
"""The exploration: the job is run once, then each state that is like no other is recovered from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezingtime.device.faults.durability import Durability
from freezingtime.errors import InputError, RunError
from freezingtime.explore.crash.check import Acknowledged
from freezingtime.explore.crash.derive import derive
from freezingtime.explore.crash.directory import ExplorationDirectory
from freezingtime.explore.crash.image import Sectors, new_images
from freezingtime.explore.crash.points import (
    JobSpan,
    PointSelection,
    Stretch,
    choose_points,
)
from freezingtime.explore.crash.reads import Reads, ReadTree
from freezingtime.explore.crash.recovery.candidate import Candidate, Ground
from freezingtime.explore.crash.recovery.outcome import RecoveryOutcome
from freezingtime.explore.crash.recovery.recoveries import Recoveries
from freezingtime.explore.crash.recovery.state_medium import contents_of
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.explore.crash.states import PointStates
from freezingtime.request import Operation
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.run import run
from freezingtime.trace.explored.crash_files import CrashSummary, CutPoint, PointTally
from freezingtime.trace.run_directory import STDOUT_NAME, document_value, read_document
from freezingtime.trace.writes.log import Contents, WriteEvent, WriteLog


class CrashObserver(RunObserver):
    """Observer of an exploration, called in the caller's thread. By itself it does nothing."""

    def exploring(self, summary: CrashSummary, point_count: int) -> None:
        """Called whenever a state's outcome has been found."""

    def cutting_recoveries(self, summary: CrashSummary, done: int, total: int) -> None:
        """Called whenever the power was cut during one more recovery."""


@dataclass(frozen=True, slots=True)
class FailedState:
    """A state whose check did not pass."""

    candidate: Candidate
    outcome: RecoveryOutcome


@dataclass(slots=True)
class Exploration:
    """The states of a recorded run, and what has been found of them. Owned by one thread.

    The run is the job, or the recovery from one of the job's states, ``parent``.
    """

    request: CrashRequest
    directory: ExplorationDirectory
    ground: Ground
    recoveries: Recoveries
    span: JobSpan
    parent: Candidate | None = None
    summary: CrashSummary = field(default_factory=CrashSummary)
    failures: list[FailedState] = field(default_factory=list)
    passed: list[Candidate] = field(default_factory=list)
    tallies: dict[int, PointTally] = field(default_factory=dict)
    """By the points' events, in order."""
    _trees: dict[bytes, ReadTree[RecoveryOutcome]] = field(default_factory=dict)

    @property
    def durabilities(self) -> list[Durability]:
        return [spec.durability for spec in self.recoveries.plan.disks]

    def points(self) -> list[CutPoint]:
        """The points that are asked for.

        Raises:
            InputError: there are none.
        """
        selection, seed = self.request.selection, self.request.options.seed
        stretch = self.request.stretch
        if self.parent is not None:
            if not any(
                event.operation is not Operation.FLUSH for event in self.ground.log.events()
            ):
                return []
            # What was said of the job's output or times is not of a recovery.
            selection = PointSelection(flushes=not selection.writes, writes=selection.writes)
            stretch = Stretch()
        return choose_points(self.ground.log.events(), selection, self.span, seed, stretch)

    def states_at(self, points: Sequence[CutPoint]) -> Iterator[tuple[CutPoint, PointStates]]:
        """Each point with its states."""
        log = self.ground.log
        images = new_images(log.disk_sectors, self.ground.defaults)
        return derive(
            log.events(),
            points,
            self.span.start_ns,
            images,
            self.durabilities,
            self.request.fates,
        )

    def acked_by(self, point: CutPoint) -> bytes:
        """The lines that had been acknowledged at a point."""
        if self.parent is not None:
            return self.parent.acked
        return Acknowledged(self.span.output).by(point.output_bytes)

    def candidates(self, points: Sequence[CutPoint]) -> Iterator[Candidate]:
        """The states that are like no other, in order."""
        summary, seed = self.summary, self.request.options.seed
        seen: set[tuple[str, str]] = set()
        for point, states in self.states_at(points):
            summary.points += 1
            self.tallies[point.event] = PointTally(point)
            summary.possible += states.possible_count
            acked = self.acked_by(point)
            for choice in states.choices(self.request.states, f"{seed} {point.event}"):
                summary.derived += 1
                state = states.state(choice)
                candidate = Candidate(self.ground, point, states, state, acked)
                if candidate.key not in seen:
                    seen.add(candidate.key)
                    summary.unique += 1
                    yield candidate

    def outcome(self, candidate: Candidate) -> RecoveryOutcome | None:
        """The outcome of a state, if it is known or follows from another's; else None."""
        if (known := self.directory.outcomes.get(candidate.key)) is not None:
            return known
        tree = self._trees.get(candidate.acked)
        return None if tree is None else tree.find(_Contents(candidate))

    def keep(self, candidate: Candidate, outcome: RecoveryOutcome, reads: Reads | None) -> None:
        """Keep an outcome; ``reads``: of the recovery that it is from, if it was run."""
        self.directory.keep(candidate.key, outcome)
        if reads is not None and outcome.is_exact:
            tree = self._trees.setdefault(candidate.acked, ReadTree())
            tree.add(reads, outcome)

    def find_outcome(self, candidate: Candidate) -> RecoveryOutcome:
        """The outcome of a state, for which it is run if need be."""
        outcome = self.outcome(candidate)
        if outcome is None:
            outcome, reads = self.recoveries.run(candidate)
            self.keep(candidate, outcome, reads)
        return outcome

    def run(self, workers: int, observer: CrashObserver) -> None:
        """Find the outcomes of all states.

        Raises:
            InputError: there is nothing to explore.
            RunError: a recovery could not be run.
        """
        points = self.points()
        self.summary.flushes += self._count_flushes()
        under_way: dict[Future[tuple[RecoveryOutcome, Reads]], Candidate] = {}
        with _pool(workers, self.recoveries) as pool:
            for candidate in self.candidates(points):
                if len(under_way) >= workers:
                    self._collect(under_way)
                    observer.exploring(self.summary, len(points))
                if (outcome := self.outcome(candidate)) is None:
                    under_way[pool.submit(self.recoveries.run, candidate)] = candidate
                else:
                    self._count_unrun(candidate, outcome)
            while under_way:
                self._collect(under_way)
                observer.exploring(self.summary, len(points))
        self.summary.guests = self.recoveries.guest_count
        self.summary.unlike = self.recoveries.unlike_count

    def _collect(self, under_way: dict[Future[tuple[RecoveryOutcome, Reads]], Candidate]) -> None:
        """Wait for one recovery or more, and keep the outcomes."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            candidate = under_way.pop(future)
            outcome, reads = future.result()
            self.summary.run += 1
            self.keep(candidate, outcome, reads)
            self._count(candidate, outcome)

    def _count_unrun(self, candidate: Candidate, outcome: RecoveryOutcome) -> None:
        if candidate.key in self.directory.outcomes:
            self.summary.known += 1
        else:
            self.summary.pruned += 1
            self.keep(candidate, outcome, None)
        self._count(candidate, outcome)

    def _count(self, candidate: Candidate, outcome: RecoveryOutcome) -> None:
        tally = self.tallies[candidate.point.event]
        tally.states += 1
        if not outcome.passed:
            tally.failed += 1
            self.summary.failed += 1
            self.failures.append(FailedState(candidate, outcome))
        elif self.parent is None and self.request.depth > 1:
            self.passed.append(candidate)

    def _count_flushes(self) -> int:
        return sum(
            event.operation is Operation.FLUSH and self._is_of_job(event)
            for event in self.ground.log.events()
        )

    def _is_of_job(self, event: WriteEvent) -> bool:
        return self.span.start_ns < event.time_ns <= self.span.end_ns


class _Contents:
    """A state's contents by sector."""

    def __init__(self, candidate: Candidate) -> None:
        self._images = candidate.states.images
        self._changes = {change[0]: change for change in candidate.state.changes}

    def __call__(self, disk: int, sectors: Sectors) -> Contents:
        return contents_of(self._images[disk], self._changes.get(disk), sectors)


@contextlib.contextmanager
def open_exploration(
    request: CrashRequest, directory: ExplorationDirectory, observer: CrashObserver
) -> Iterator[Exploration]:
    """An exploration whose job is recorded here and now, unless it has been.

    Raises:
        InputError: it cannot be explored.
        RunError: the job failed.
    """
    check_plan = request.check_plan()
    is_exact = _record(request, directory, observer)
    with WriteLog(directory.job_path) as log:
        span = _span(directory.job_path)
        with (
            directory.scratch() as scratch,
            Recoveries(check_plan, log, scratch, observer.preparing) as recoveries,
        ):
            ground = recoveries.ground(log)
            exploration = Exploration(request, directory, ground, recoveries, span)
            exploration.summary.is_exact = is_exact
            yield exploration


def _record(
    request: CrashRequest, directory: ExplorationDirectory, observer: CrashObserver
) -> bool:
    """Run the job, unless it was; return whether the run was exact."""
    plan = request.job_plan(directory.job_path)
    if not directory.has_job:
        run(plan, observer)
    document = _document(directory.job_path)
    status = document_value(directory.job_path, document, "job", "exit_status", int)
    if status:
        raise RunError(
            f"the job exited with {status} without any power cut; see "
            f"{directory.job_path / STDOUT_NAME}, mend it, and name another --out"
        )
    return document_value(directory.job_path, document, "audit", "valid", bool)


def _span(job: Path) -> JobSpan:
    document = _document(job)
    start_ns, end_ns = (
        document_value(job, document, "job", name, int) for name in ("start_ns", "end_ns")
    )
    try:
        return JobSpan(start_ns, end_ns, (job / STDOUT_NAME).read_bytes())
    except OSError as error:
        raise InputError(f"{job / STDOUT_NAME}: {error.strerror}; explore again") from error


def _document(job: Path) -> dict[str, Any]:
    document = read_document(job)
    if document is None:
        raise InputError(f"{job}: has no run; explore again")
    return document


@contextlib.contextmanager
def _pool(workers: int, recoveries: Recoveries) -> Iterator[ThreadPoolExecutor]:
    """Threads for recoveries, which end at once if the block is left by an exception."""
    pool = ThreadPoolExecutor(workers, "recovery", initializer=_give_event_loop)
    try:
        yield pool
    except BaseException:
        recoveries.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _give_event_loop() -> None:
    """QMP's client wants its thread to have one."""
    asyncio.set_event_loop(asyncio.new_event_loop())
