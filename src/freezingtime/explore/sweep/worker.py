# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers: processes that execute one unit after the other, and store each result by itself."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from freezingtime.device.own_model import allow_code
from freezingtime.errors import FreezingTimeError, InputError, RunError
from freezingtime.explore.sweep.unit import SweepUnit
from freezingtime.host.memory.kept_memory import keep_freed_memory
from freezingtime.results.request_difference import NO_REQUESTS, request_difference
from freezingtime.store.results.result_store import (
    DifferingResultError,
    ResultStore,
    StoredFigures,
    StoredResult,
    damage,
    require_identical,
)
from freezingtime.trace.record_columns import Columns, read_disks
from freezingtime.trace.record_reader import open_record

_EXIT_ORPHANED = 1
_COMPARED = ("operation", "length_bytes", "arrival_ns", "delivery_ns", "offset_bytes", "fua")


class Status(Enum):
    """Outcome of a point."""

    OK = "ok"
    FAILED = "failed"
    """Its figures are there, but its job has failed."""
    ERROR = "error"
    """There are no figures."""
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class PointOutcome:
    """Outcome of one point; figures only where there are any."""

    status: Status
    figures: StoredFigures | None = None
    key: str | None = None
    reason: str | None = None
    is_cached: bool = False

    @staticmethod
    def of(figures: StoredFigures, key: str, *, is_cached: bool) -> PointOutcome:
        """The outcome of a unit that has ended."""
        status = Status.OK if figures.failure is None else Status.FAILED
        return PointOutcome(status, figures, key, figures.failure, is_cached)

    @staticmethod
    def of_error(error: Exception | str, key: str | None = None) -> PointOutcome:
        """The outcome of a unit that could not be run to its end."""
        return PointOutcome(Status.ERROR, key=key, reason=str(error))


@dataclass(frozen=True, slots=True)
class Task:
    """One unit to execute, and what becomes of its result."""

    unit: SweepUnit
    digest: str
    """Of its key; the key itself would fill the memory of a sweep of many points."""
    store: ResultStore
    keeps: bool = True
    """Whether the result is stored."""
    replaces: bool = False
    """Whether it takes the place of one that is there."""
    verified: StoredResult | None = None
    """The stored result that it must equal; nothing is stored then."""


def start_worker(
    environment: Mapping[str, str], directory: str, *, cpus: int, is_code_allowed: bool
) -> None:
    """Make this process a worker: Ctrl-C is its parent's, and it ends with that.

    ``environment`` and the working ``directory`` are its parent's, which may have changed since the
    server of processes began. ``cpus`` is its share of the machine: more threads of a library would
    only take turns with the other workers. Memory that is freed is kept for the next unit, and
    Arrow's, whose own allocator gives it back, comes from there, too.
    """
    import pyarrow as pa

    pa.set_cpu_count(cpus)
    keep_freed_memory()
    pa.set_memory_pool(pa.system_memory_pool())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    # What matters is an outcome; what is logged would come in between the parent's own lines.
    logging.getLogger().addHandler(logging.NullHandler())
    if is_code_allowed:
        allow_code()
    parent = multiprocessing.parent_process()
    if parent is not None:

        def leave() -> None:
            parent.join()
            os._exit(_EXIT_ORPHANED)  # the agent ends a QEMU that is left behind

        threading.Thread(target=leave, name="parent", daemon=True).start()


def execute(task: Task) -> PointOutcome:
    """Execute a task; what a user did wrong, or what failed, is an outcome as well."""
    digest = task.digest
    try:
        with task.store.building() as run_path:
            figures = task.unit.execute(run_path)
            key = task.unit.key()
            if key.digest != digest:
                raise RunError("one of its files was changed meanwhile; nothing is stored")
            try:
                if task.verified is not None:
                    _require_sound(task.verified)
                    require_identical(figures, task.verified)
                elif task.keeps:
                    found = task.store.publish(run_path, key, figures, replace=task.replaces)
                    figures = found.content
            except DifferingResultError as error:
                there, here = (task.unit.record_path(p) for p in (error.found.run_path, run_path))
                raise RunError(f"{error}{_first_difference(there, here)}") from error
    except FreezingTimeError as error:
        return PointOutcome.of_error(error, digest)
    except OSError as error:
        return PointOutcome.of_error(f"the host failed: {error}", digest)
    return PointOutcome.of(figures, digest, is_cached=task.verified is not None)


def _require_sound(stored: StoredResult) -> None:
    """Require that the files of a result are those that were stored: figures alone may be right."""
    problem = damage(stored.directory)
    if problem is not None:
        text = f"{stored.directory}: is damaged: {problem}; --refresh runs it anew"
        raise DifferingResultError(text, stored)


def _first_difference(stored: Path, again: Path) -> str:
    """The first request in which two executions differ, for a message; empty if there is none."""
    try:
        a, b = (_disks(path) for path in (stored, again))
    except InputError as error:
        return f"; {error}"
    found = [
        difference
        for name in dict.fromkeys([*a, *b])
        for difference in request_difference(
            name, a.get(name, NO_REQUESTS), b.get(name, NO_REQUESTS), show=1
        ).first
    ]
    if not found:
        return "; every request is the same"
    _, first = min(found, key=lambda each: each[0])
    values = ", ".join(
        f"{name} {(first.a or {}).get(name, '-')} and now {(first.b or {}).get(name, '-')}"
        for name in first.differing
    )
    return f"; the first differing request is number {first.number} of {first.disk}: {values}"


def _disks(path: Path) -> dict[str, Columns]:
    columns = (*_COMPARED, "sequence")
    return dict(read_disks(open_record(path), columns, lambda notice: None))
