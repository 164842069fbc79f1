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
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import TypeAlias

from freezingtime.device.own_model import is_code_allowed
from freezingtime.explore.sweep import worker
from freezingtime.explore.sweep.worker import PointOutcome, Task
from freezingtime.host.cpus import usable_cpu_count
from freezingtime.trace.host_memory import free_memory_bytes

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

Numbered: TypeAlias = tuple[int, Task]


def choose_workers(wanted: int | None, task_count: int, task_bytes: int) -> int:
    """Return the number of workers: ``wanted``, or one for each CPU that this process may use.

    Without a wish there are never more than fit into the memory that is free now, with 512 MiB and
    ``task_bytes`` for each; nor, in any case, more than tasks.
    """
    if wanted is None:
        wanted = min(usable_cpu_count(), free_memory_bytes() // (_PROCESS_BYTES + task_bytes))
    return max(1, min(wanted, task_count))


def execute_here(tasks: Iterable[Numbered], _workers: int) -> Iterator[tuple[int, PointOutcome]]:
    """Execute tasks in this process, one after the other: no other has to be started for them."""
    for number, task in tasks:
        yield number, worker.execute(task)


def execute_all(
    tasks: Iterable[Numbered], workers: int
) -> Iterator[tuple[int, PointOutcome] | None]:
    """Execute tasks on ``workers`` processes; yields the outcomes as they come, by number.

    None is yielded now and then while there is nothing new. Leaving the iteration ends the
    processes at once.
    """
    waiting = deque(tasks)
    suspects: deque[Numbered] = deque()
    while waiting or suspects:
        with _processes(1 if suspects else workers) as pool:
            queue = suspects or waiting
            yield from _until_broken(pool, queue, 1 if suspects else workers, suspects)


def _until_broken(
    pool: Executor, queue: deque[Numbered], workers: int, suspects: deque[Numbered]
) -> Iterator[tuple[int, PointOutcome] | None]:
    """Work off a queue until it is empty or a process dies, whose tasks become suspects."""
    is_alone = queue is suspects
    under_way: dict[Future[PointOutcome], Numbered] = {}
    is_broken = False
    while under_way or (queue and not is_broken):
        while queue and len(under_way) < workers and not is_broken:
            number, task = queue.popleft()
            try:
                with _without_main():
                    under_way[pool.submit(worker.execute, task)] = (number, task)
            except BrokenProcessPool:
                queue.appendleft((number, task))
                is_broken = True
        done, _ = wait(under_way, _TICK_S, FIRST_COMPLETED)
        if not done:
            yield None
        for future in done:
            number, task = under_way.pop(future)
            error = future.exception()
            if error is None:
                yield number, future.result()
            elif not isinstance(error, BrokenProcessPool):
                reason = f"{type(error).__name__}: {error}"
                yield number, PointOutcome.of_error(reason, task.digest)
            elif is_alone:
                is_broken = True
                reason = "its process died, twice; out of memory?"
                yield number, PointOutcome.of_error(reason, task.digest)
            else:
                is_broken = True
                suspects.append((number, task))


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ended when the block is left, whatever they do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count,
        mp_context=context,
        initializer=_start,
        initargs=(dict(os.environ), is_code_allowed()),
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
def _without_main() -> Iterator[None]:
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


def _start(environment: dict[str, str], is_allowed: bool) -> None:
    """Start a worker; an initializer has no keywords."""
    worker.start_worker(environment, is_code_allowed=is_allowed)
