# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks on processes of this machine, whatever becomes of one of them.

No more tasks are handed out than there are workers, so that memory is bounded by what runs. If a
process dies, those that were under way are run once more, one by one: who then dies again alone is
the one that did it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from freezingtime.device.own_model import is_code_allowed
from freezingtime.errors import RunError
from freezingtime.explore.sweep import worker
from freezingtime.explore.sweep.worker import PointOutcome, Task
from freezingtime.host.cpus import usable_cpu_count
from freezingtime.host.memory.free_memory import free_memory_bytes
from freezingtime.host.os_errors import os_errors_as

#: How often those who wait are told that nothing has changed.
_TICK_S = 0.2
#: What Python, its libraries and the requests of a replay take.
_PROCESS_BYTES = 512 << 20

#: Imported once, and not in each process.
_PRELOADED = (
    worker.__name__,
    "freezingtime.explore.sweep.replay_unit",
    "freezingtime.device.trace_device",
    "freezingtime.trace.record_schema",
    "freezingtime.trace.record_parquet",
)

_LOOK_ABOVE = "what Python has said above is why"

Numbered: TypeAlias = tuple[int, Task]
#: Outcomes as they come, by number; None while there is no news.
Ended: TypeAlias = Generator[tuple[int, PointOutcome] | None, None, None]
#: Hands a task to an executor.
Submit: TypeAlias = Callable[[Task], Future[PointOutcome]]


class TaskQueue:
    """Tasks in the order in which they come; they are asked for when somebody is free."""

    def __init__(self, tasks: Iterable[Numbered | None]) -> None:
        """``tasks``: None stands for: nothing now, perhaps later."""
        self._tasks = iter(tasks)
        self._returned: deque[Numbered] = deque()
        self.is_empty = False

    def take(self) -> Numbered | None:
        """The next task; None: there is none now, or at all."""
        if self._returned:
            return self._returned.popleft()
        if self.is_empty:
            return None
        try:
            return next(self._tasks)
        except StopIteration:
            self.is_empty = True
            return None

    def put_back(self, task: Numbered) -> None:
        """Have a task that could not be begun come first."""
        self._returned.appendleft(task)

    @property
    def may_have_more(self) -> bool:
        """Whether a task may still come."""
        return bool(self._returned) or not self.is_empty


def choose_workers(wanted: int | None, task_count: int, task_bytes: int) -> int:
    """Return the number of workers: ``wanted``, or one for each CPU that this process may use.

    Without a wish there are never more than fit into the memory that is free now, with 512 MiB and
    ``task_bytes`` for each; nor, in any case, more than tasks.
    """
    if wanted is None:
        wanted = min(usable_cpu_count(), free_memory_bytes() // (_PROCESS_BYTES + task_bytes))
    return max(1, min(wanted, task_count))


def execute_here(tasks: Iterable[Numbered | None], _workers: int) -> Ended:
    """Execute tasks in this process, one after the other: no other has to be started for them."""
    for task in tasks:
        if task is None:
            yield None
            time.sleep(_TICK_S)
        else:
            yield task[0], worker.execute(task[1])


def execute_all(tasks: Iterable[Numbered | None], workers: int) -> Ended:
    """Execute tasks on ``workers`` processes; yields the outcomes as they come, by number.

    None is yielded now and then while there is nothing new. Leaving the iteration ends the
    processes at once.
    """
    waiting = TaskQueue(tasks)
    suspects: list[Numbered] = []
    while suspects or waiting.may_have_more:
        alone, suspects = suspects, []
        if not alone:
            with _processes(workers) as pool:
                yield from until_broken(_submit_to(pool), waiting, lambda: workers, suspects)
        for suspect in alone:
            with _processes(1) as pool:
                yield from until_broken(_submit_to(pool), TaskQueue([suspect]), lambda: 1, None)


def _submit_to(pool: Executor) -> Submit:
    def submit(task: Task) -> Future[PointOutcome]:
        with without_main(), os_errors_as(RunError, "cannot start a process", _LOOK_ABOVE):
            return pool.submit(worker.execute, task)

    return submit


def _explain(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def until_broken(
    submit: Submit,
    queue: TaskQueue,
    room: Callable[[], int],
    suspects: list[Numbered] | None,
    explain: Callable[[BaseException], str] = _explain,
) -> Ended:
    """Work off a queue until it is empty or a process dies, whose tasks become suspects.

    ``room``: how many tasks the executor takes at once. ``suspects``: None if whatever runs when a
    process dies has been the reason. ``explain``: the reason of a task that raised something.
    """
    under_way: dict[Future[PointOutcome], Numbered] = {}
    is_broken = False
    while under_way or (queue.may_have_more and not is_broken):
        while len(under_way) < room() and not is_broken and (taken := queue.take()) is not None:
            try:
                under_way[submit(taken[1])] = taken
            except BrokenProcessPool:
                queue.put_back(taken)
                is_broken = True
        if not under_way:
            if queue.may_have_more and not is_broken:
                yield None
                time.sleep(_TICK_S)
            continue
        done, _ = wait(under_way, _TICK_S, FIRST_COMPLETED)
        if not done:
            yield None
        for future in done:
            number, task = under_way.pop(future)
            error = future.exception()
            if error is None:
                yield number, future.result()
            elif not isinstance(error, BrokenProcessPool):
                yield number, PointOutcome.of_error(explain(error), task.digest)
            elif suspects is None:
                is_broken = True
                reason = "its process died, twice; out of memory?"
                yield number, PointOutcome.of_error(reason, task.digest)
            else:
                is_broken = True
                suspects.append((number, task))


def start_server() -> None:
    """Have the server of processes import what they need, while tasks are still being planned.

    Raises:
        RunError: it cannot be started.
    """
    _context()
    with without_main(), os_errors_as(RunError, "cannot start a process", _LOOK_ABOVE):
        forkserver.ensure_running()


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ended when the block is left, whatever they do."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count,
        mp_context=_context(),
        initializer=_start,
        initargs=(
            dict(os.environ),
            str(Path.cwd()),
            max(1, usable_cpu_count() // count),
            is_code_allowed(),
        ),
    )
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Hide the program's main module while a process may be started, which would import it.

    Nothing of it goes to a worker; and a script that calls us without ``if __name__ == "__main__"``
    would be executed anew in each.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start(environment: dict[str, str], directory: str, cpus: int, is_allowed: bool) -> None:
    """Start a worker; an initializer has no keywords."""
    worker.start_worker(environment, directory, cpus=cpus, is_code_allowed=is_allowed)
