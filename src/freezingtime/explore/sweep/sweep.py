# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep: the units of all points, those that the store has read back, the others executed."""

from __future__ import annotations

import math
import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.pool import (
    Ended,
    Numbered,
    choose_workers,
    execute_all,
    execute_here,
    start_server,
)
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.explore.sweep.worker import PointOutcome, Status, Task
from freezingtime.host.os_errors import os_errors_as
from freezingtime.store.results.result_store import ResultStore
from freezingtime.trace.readers import Reading
from freezingtime.units import counted


class Engine(ABC):
    """Executor of tasks other than processes of our own on this machine."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Return the number of tasks that run at once, as far as that is known."""

    @abstractmethod
    def execute(
        self, tasks: Sequence[Numbered], sweep: Sweep, request: SweepRequest, store: ResultStore
    ) -> Ended:
        """Execute tasks; yield outcomes as they come, by number, and None while there is no news.

        ``sweep`` has the outcomes of all that is not to be executed.

        Raises:
            InputError: they cannot be executed there.
            RunError: who executes them is gone.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Ways to make a sweep; none changes a figure."""

    store: ResultStore | None
    """None: results are neither looked for nor kept."""
    refresh: bool = False
    """Whether every point is run anew, and its result replaced."""
    workers: int | None = None
    """How many processes; None: as :func:`~.pool.choose_workers` has it."""
    keep_going: bool = True
    """Whether the other points are run when one has no figures."""
    verify_share: float = 0.0
    """The share of the results found that are computed again, and must be the same."""
    engine: Engine | None = None
    """Who executes the points; None: processes of this machine."""

    @property
    def needs_processes(self) -> bool:
        """Whether points are executed by processes of our own.

        Who wants one worker gets no process; otherwise one that dies must not take us along.
        """
        return self.engine is None and self.workers != 1


@dataclass(slots=True)
class SweepProgress:
    """Progress of a sweep."""

    points: int
    workers: int = 0
    counts: Counter[Status] = field(default_factory=Counter)
    cached: int = 0
    executed: int = 0
    to_execute: int = 0
    verified: int = 0
    to_verify: int = 0
    start_s: float = field(default_factory=time.monotonic)
    last_s: float = 0.0
    """When the last execution ended, on the same clock."""

    def count_executed(self) -> None:
        """Count an execution that has ended."""
        self.executed += 1
        self.last_s = time.monotonic()

    @property
    def done(self) -> int:
        """Return the number of points that have an outcome."""
        return self.counts.total()

    @property
    def failed(self) -> int:
        """Return the number of points that failed, or have no figures."""
        return self.counts[Status.FAILED] + self.counts[Status.ERROR]

    @property
    def left_host_s(self) -> float | None:
        """Estimate the host time that is left; None while nothing has been executed.

        At the pace up to the last execution; from there on it counts down.
        """
        if not self.executed:
            return None
        pace_s = (self.last_s - self.start_s) / self.executed
        left_s = pace_s * (self.to_execute - self.executed)
        return max(0.0, left_s - (time.monotonic() - self.last_s))

    def __str__(self) -> str:
        """In one line."""
        running = min(self.workers, self.to_execute - self.executed)
        words = [f"{self.done} of {counted(self.points, 'point')}", f"{running} running"]
        words += [f"{self.cached} from the store"] if self.cached else []
        words += [f"{self.verified} of {self.to_verify} verified"] if self.to_verify else []
        words += [f"{self.failed} failed"] if self.failed else []
        left_s = self.left_host_s
        words += [] if left_s is None or not running else [f"about {left_s:.0f} s left"]
        return ", ".join(words)


class SweepObserver:
    """Observer of a sweep, called in the caller's thread. By itself it does nothing."""

    def preparing(self, step: str, done: int, total: int) -> None:
        """Something is being made that all points need."""

    def notify(self, notice: str) -> None:
        """Take a line that the user should see, whatever becomes of the points."""

    def on_reading(self, reading: Reading) -> None:
        """A trace has been read; how, and with which assumptions."""

    def sweeping(self, progress: SweepProgress) -> None:
        """Some five times a second, and after each point."""

    def ended(self, number: int, outcome: PointOutcome) -> None:
        """The outcome of a point is known."""


@dataclass(slots=True)
class Sweep:
    """A sweep while it is made, and afterwards: an outcome for each point."""

    points: Sequence[Point]
    outcomes: list[PointOutcome]
    progress: SweepProgress

    @property
    def has_failed(self) -> bool:
        """Whether a point failed, or was not run."""
        return any(outcome.status is not Status.OK for outcome in self.outcomes)


def new_sweep(points: Sequence[Point]) -> Sweep:
    """A sweep of which nothing has been run yet."""
    outcomes = [PointOutcome(Status.NOT_RUN)] * len(points)
    return Sweep(points, outcomes, SweepProgress(len(points)))


def run_sweep(
    sweep: Sweep, request: SweepRequest, options: SweepOptions, observer: SweepObserver
) -> None:
    """Run every point that the store has not. What is interrupted is as far as it has come.

    A point that cannot be run is an outcome like others.

    Raises:
        InputError: no point can be run: the text is of the first; or the store is no directory.
    """
    if options.store is not None:
        options.store.refuse_if_no_directory()
    request.preview(sweep.points[0], observer.notify, observer.on_reading)
    with _working_store(options.store) as store:
        tasks = _find_or_plan(sweep, request, options, store, observer)
        if tasks:
            store.require_writable()
        if len(tasks) == len(sweep.points):
            _refuse_if_none_can_run([task for _, task in tasks])
        progress = sweep.progress
        progress.to_execute = len(tasks)
        progress.start_s = time.monotonic()
        engine = options.engine
        if not tasks and engine is None:
            observer.sweeping(progress)
            return
        if engine is not None:
            ended_tasks = engine.execute(tasks, sweep, request, store)
        else:
            task_bytes = max(request.unit_bytes(task.unit) for _, task in tasks)
            progress.workers = choose_workers(options.workers, len(tasks), task_bytes)
            run = execute_all if options.needs_processes else execute_here
            ended_tasks = run(tasks, progress.workers)
        with closing(ended_tasks):
            for ended in ended_tasks:
                if engine is not None:
                    progress.workers = engine.workers
                if ended is not None:
                    _note(sweep, *ended, observer)
                    progress.count_executed()
                    if ended[1].status is Status.ERROR and not options.keep_going:
                        observer.sweeping(progress)
                        return
                observer.sweeping(progress)


def _find_or_plan(
    sweep: Sweep,
    request: SweepRequest,
    options: SweepOptions,
    store: ResultStore,
    observer: SweepObserver,
) -> list[tuple[int, Task]]:
    """Note the outcomes of what the store has; return what is to be executed."""
    tasks: list[tuple[int, Task]] = []
    hits: list[tuple[int, Task]] = []
    errors: list[InputError] = []
    for number, point in enumerate(sweep.points):
        try:
            unit = request.unit(point)
            digest = unit.key().digest
        except InputError as error:
            errors.append(error)
            _note(sweep, number, PointOutcome.of_error(error), observer)
            continue
        found = None
        if options.store is not None and not options.refresh:
            found = store.find(digest)
        if found is None:
            if not tasks and options.needs_processes:
                start_server()
            keeps = options.store is not None
            tasks.append((number, Task(unit, digest, store, keeps, replaces=options.refresh)))
        else:
            hits.append((number, Task(unit, digest, store, verified=found)))
            outcome = PointOutcome.of(found.content, digest, is_cached=True)
            _note(sweep, number, outcome, observer)
        observer.sweeping(sweep.progress)
    if errors and len(errors) == len(sweep.points):
        raise errors[0]
    sweep.progress.to_verify = math.ceil(len(hits) * options.verify_share)
    # Which ones is of no consequence, and must not be the same every time.
    return tasks + random.SystemRandom().sample(hits, sweep.progress.to_verify)


def _refuse_if_none_can_run(tasks: Sequence[Task]) -> None:
    """Raise what is wrong with the first if that goes for all: each would only say it for itself.

    One that can be run is enough, so that mostly one is looked at.
    """
    first: InputError | None = None
    for task in tasks:
        try:
            task.unit.check()
        except InputError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _note(sweep: Sweep, number: int, outcome: PointOutcome, observer: SweepObserver) -> None:
    before, progress = sweep.outcomes[number], sweep.progress
    if before.is_cached:  # found, and now verified
        progress.verified += 1
        progress.counts[before.status] -= 1
    else:
        progress.cached += outcome.is_cached
    progress.counts[outcome.status] += 1
    sweep.outcomes[number] = outcome
    observer.ended(number, outcome)


@contextmanager
def _working_store(store: ResultStore | None) -> Iterator[ResultStore]:
    """The store that runs work in; where none is wanted, one that goes away."""
    if store is None:
        with os_errors_as(InputError, "no temporary directory", "set TMPDIR"):
            scratch = tempfile.TemporaryDirectory(
                prefix="freezingtime-", ignore_cleanup_errors=True
            )
        with scratch as path:
            yield ResultStore(Path(path))
        return
    store.remove_leftovers()  # of who was killed before
    try:
        yield store
    finally:
        store.remove_leftovers()  # of workers that were ended
