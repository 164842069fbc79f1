# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker of an enqueued sweep: it claims points until all of them have been run, by whomever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

from freezingtime.device import own_model
from freezingtime.disk.spec import read_option
from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.cluster.lease import Leases
from freezingtime.explore.sweep.cluster.work_queue import SharedQueue, key_parts
from freezingtime.explore.sweep.pool import Numbered, choose_workers, execute_all
from freezingtime.explore.sweep.table import write_table
from freezingtime.explore.sweep.unit import SweepUnit
from freezingtime.explore.sweep.worker import PointOutcome, Status, Task
from freezingtime.host.os_errors import os_errors_as
from freezingtime.trace.explored.sweep_files import TABLE_NAME
from freezingtime.units import counted

_TABLE = "table"


@dataclass(slots=True)
class WorkProgress:
    """Progress of a worker."""

    points: int
    done: int = 0
    """By whomever, as far as this worker has seen."""
    executed: int = 0
    """Here."""
    failed: int = 0
    """Of those."""
    running: int = 0
    elsewhere: int = 0

    def __str__(self) -> str:
        """In one line."""
        words = [f"{self.done} of {counted(self.points, 'point')}", f"{self.running} running here"]
        words += [f"{self.elsewhere} elsewhere"] if self.elsewhere else []
        words += [f"{self.failed} failed here"] if self.failed else []
        return ", ".join(words)


@dataclass(slots=True)
class _Work:
    """What is left of a queue, as one worker knows it."""

    queue: SharedQueue
    leases: Leases
    progress: WorkProgress
    left: dict[str, int]
    """The number of a point of each key that is not known to be done, in this worker's order."""
    reads_results: bool = False
    """Whether a result that is there has to be sound to count."""

    def claims(self) -> Iterator[Numbered | None]:
        """Points to be run here, each with its lease; None while others are at work on the rest."""
        look_s = self.leases.look_s
        while self.left:
            is_idle = True
            for key, number in list(self.left.items()):
                if key not in self.left:  # ended here while others were handed out
                    continue
                if self._is_done(key):
                    self._leave(key)
                elif key not in self.leases.held and self._claim(key):
                    if self._is_done(key):  # between the look and the claim
                        self.leases.release(key)
                        self._leave(key)
                        continue
                    is_idle = False
                    self.progress.running += 1
                    yield number, self._task(number, key)
            self.progress.elsewhere = self.leases.count_others()
            looked_s = time.monotonic()
            while is_idle and self.left and time.monotonic() - looked_s < look_s:
                yield None

    def _claim(self, key: str) -> bool:
        with _writing(self.queue):
            return self.leases.claim(key) is not None

    def ended(self, outcome: PointOutcome) -> None:
        """Tell everybody the outcome of a point that was run here.

        Raises:
            RunError: it cannot be written.
        """
        key = outcome.key
        if key is None:
            raise RuntimeError("an outcome of a point has no key")
        if outcome.status is Status.ERROR:
            with _writing(self.queue):
                self.queue.note_failure(key, outcome.reason or "it failed")
        self.leases.release(key)
        self.progress.running -= 1
        self.progress.executed += 1
        self.progress.failed += outcome.status is not Status.OK
        self._leave(key)

    def _is_done(self, key: str) -> bool:
        if self.reads_results:
            return self.queue.outcome(self.queue.points[self.left[key]]) is not None
        return self.queue.is_done(key)

    def _leave(self, key: str) -> None:
        if self.left.pop(key, None) is not None:
            self.progress.done += 1

    def _task(self, number: int, key: str) -> Task:
        """The task of a point, if here it is what was queued.

        Raises:
            InputError: it is not, or cannot be run here.
        """
        queued = self.queue.points[number]
        where = " ".join(f"{name}={value}" for name, value in queued.point.items())
        try:
            unit = self.queue.request.unit(queued.point)
            _require_trusted(unit)
            found = unit.key()
        except InputError as error:
            raise InputError(f"{where}: cannot be run on this machine: {error}") from error
        if found.digest != key:
            here = key_parts(found)
            other = [name for name, digest in here.items() if queued.parts.get(name) != digest]
            raise InputError(
                f"{where}: is not what was enqueued: its {' and its '.join(other) or 'key'} "
                "differs on this machine; have the same files and guests on every machine, or "
                "enqueue the sweep again"
            )
        return Task(unit, key, self.queue.store)


def work_on(
    queue: SharedQueue,
    *,
    workers: int | None,
    lease_s: float,
    observe: Callable[[WorkProgress], None],
) -> WorkProgress:
    """Run points of a queue until all are done, by whomever; the last worker writes the table.

    The working directory is the queue's. ``observe`` is called some five times a second.

    Raises:
        InputError: a point is not what was enqueued, or cannot be run here: nothing is noted of it.
        RunError: the directory, or the store, cannot be written to.
    """
    keys = {queued.key: number for number, queued in enumerate(queue.points) if queued.key}
    order = random.SystemRandom().sample(list(keys), len(keys))  # not all at the same one
    progress = WorkProgress(len(keys))
    with Leases(queue.leases_path, lease_s) as leases:
        work = _Work(queue, leases, progress, {key: keys[key] for key in order})
        while work.left:
            with closing(execute_all(work.claims(), _workers(queue, workers))) as outcomes:
                for ended in outcomes:
                    if ended is not None:
                        work.ended(ended[1])
                    observe(progress)
            # What is there and cannot be read is run anew.
            while (missing := _write_table(queue, leases)) is None:
                observe(progress)
                time.sleep(leases.look_s)
            work.left = {key: keys[key] for key in missing}
            work.reads_results = True
            progress.done -= len(work.left)
    return progress


def _writing(queue: SharedQueue) -> AbstractContextManager[None]:
    about = f"cannot write to {queue.path}"
    return os_errors_as(RunError, about, "free space, and start the worker again")


def _workers(queue: SharedQueue, wanted: int | None) -> int:
    """How many points run at once: as many as the largest of them allow."""
    if wanted is not None:
        return wanted
    largest_bytes = 0
    for queued in queue.points:
        if queued.key is not None:
            unit = queue.request.unit(queued.point)
            largest_bytes = max(largest_bytes, queue.request.unit_bytes(unit))
    return choose_workers(None, len(queue.points), largest_bytes)


def _write_table(queue: SharedQueue, leases: Leases) -> list[str] | None:
    """Write the table, unless another worker has done it; None: another is at it, or has died so.

    Returns the keys of results that are missing or damaged: there is no table then.

    Raises:
        RunError: it cannot be written.
    """
    with _writing(queue):
        if queue.is_finished:
            return []
        if leases.claim(_TABLE) is None:
            return None
        return _write_claimed_table(queue, leases)


def _write_claimed_table(queue: SharedQueue, leases: Leases) -> list[str]:
    """Write the table, whose lease this worker has, and give that back. Raises OSError."""
    try:
        if queue.is_finished:  # between the look and the claim
            return []
        outcomes = [(queued, queue.outcome(queued)) for queued in queue.points]
        missing = [queued.key for queued, outcome in outcomes if outcome is None and queued.key]
        if not missing:
            known = [outcome for _, outcome in outcomes if outcome is not None]
            write_table(queue.path / TABLE_NAME, [each.point for each in queue.points], known)
            queue.note_finished()
        return missing
    finally:
        leases.release(_TABLE)


def _require_trusted(unit: SweepUnit) -> None:
    """Require that whoever started this worker trusts the Python code that the queue names.

    Raises:
        InputError: they have not said so.
    """
    if own_model.is_code_allowed():
        return
    for text in unit.devices():
        device = str(read_option(text).device)
        if own_model.is_name(device):
            raise InputError(f"{device}: is Python code; --allow-code runs it")
