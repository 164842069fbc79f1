# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.crash``: what a power cut does to a job, as the command of the same name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezingtime.api.event_loop import run_outside_event_loop
from freezingtime.api.keywords import with_fields_of
from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import ProgressLine
from freezingtime.api.runs import Job, job_of
from freezingtime.emulator.loop import Totals
from freezingtime.errors import InputError, RunError
from freezingtime.explore.crash.choices import CHECK_LIMIT, MACHINE_OPTIONS
from freezingtime.explore.crash.explore import CrashObserver
from freezingtime.explore.crash.explored import Explored, explore
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.option import list_options
from freezingtime.runs.options import RunOptions
from freezingtime.trace.explored.crash_files import CrashFailure, CrashSummary
from freezingtime.units import counted


class CrashResult:
    """An exploration of power cuts that has ended."""

    def __init__(self, explored: Explored, output: OutputPath) -> None:
        """For this package; use :func:`freezingtime.crash`."""
        self.path: Path = output.path
        """The directory with the job's run, the outcomes, and the failures' disks; a temporary one
        goes away with this object."""
        self.summary: CrashSummary = explored.summary
        """Points, states and outcomes, counted."""
        self.recoveries: CrashSummary | None = explored.recoveries
        """The same of second power cuts, with ``depth=2``."""
        self.failures: Sequence[CrashFailure] = explored.failures
        """One of each reason: with the smallest loss found, and its disks as files."""
        self._output = output

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return not self.failures

    def __repr__(self) -> str:
        summary = self.summary
        return (
            f"<CrashResult {self.path}: {counted(summary.unique, 'state')} at "
            f"{counted(summary.points, 'point')}, "
            f"{summary.failed} failed>"
        )


@dataclass(frozen=True, slots=True)
class CrashArguments(RunOptions):
    """The arguments of :func:`crash`: what is run and checked, and when the power is cut."""

    job: Job = "true"
    check: Job | None = field(default=None, kw_only=True)
    points: str = field(default="all-flushes", kw_only=True)
    since: str | None = field(default=None, kw_only=True)
    until: str | None = field(default=None, kw_only=True)
    states: int | None = field(default=None, kw_only=True)
    values: Sequence[str] = field(default=(), kw_only=True)
    depth: int = field(default=1, kw_only=True)
    check_limit: str = field(default=CHECK_LIMIT, kw_only=True)
    workers: int | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_fields_of(CrashArguments)
def crash(arguments: CrashArguments) -> CrashResult:
    """Cut the power of the disks while a job runs, and check every state that may be left.

    ``job`` is what :func:`run` takes, and so is ``check``; None checks the disks' file systems, and
    that what the job acknowledged is there. ``out`` is the exploration's directory, which a later
    call goes on with; without it, it is removed with the result. The other arguments are the
    options of ``freezingtime crash``.

    Raises:
        InputError: it cannot be explored; the text names the option.
        RunError: the job failed, or a recovery could not be run.
    """
    script, job_directory = job_of(arguments.job)
    check, check_directory = (None, None) if arguments.check is None else job_of(arguments.check)
    if check_directory is not None:
        raise InputError(f"check={arguments.check!r}: is a directory; name a script")
    given = {name: getattr(arguments, name) for name in list_options(RunOptions)}
    for name, option in list_options(RunOptions).items():
        if given[name] != option.default and name not in (*MACHINE_OPTIONS, "out"):
            raise InputError(f"{name}={given[name]!r}: is not for power cuts; leave it out")
    request = CrashRequest(
        options=RunOptions(**{**given, "out": None}),
        job=script,
        job_directory=job_directory,
        check=check,
        check_limit=arguments.check_limit,
        points=arguments.points,
        since=arguments.since,
        until=arguments.until,
        states=arguments.states,
        values=arguments.values,
        depth=arguments.depth,
    )
    request.require_possible()
    output = OutputPath(arguments.out, "crash")
    with ProgressLine(arguments.progress) as line:
        observer = _CrashLine(line)
        explored = run_outside_event_loop(
            lambda: explore(request, output.path, arguments.workers, observer),
            observer.cancelled.set,
        )
    return CrashResult(explored, output)


class _CrashLine(CrashObserver):
    """Shows how far an exploration is."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self.cancelled = threading.Event()

    def preparing(self, step: str, done: int, total: int) -> None:
        self._show("crash", step)

    def running(self, totals: Totals, meters: Sequence[Any]) -> None:
        self._show("crash", f"the job: {totals.request_count} requests")

    def exploring(self, summary: CrashSummary, point_count: int) -> None:
        self._show(
            "crash",
            f"point {summary.points} of {point_count}: {counted(summary.run, 'state')} run, "
            f"{summary.failed} failed",
        )

    def cutting_recoveries(self, summary: CrashSummary, done: int, total: int) -> None:
        self._show(
            "crash",
            f"recovery {done} of {total}: {counted(summary.run, 'state')} run, "
            f"{summary.failed} failed",
        )

    def _show(self, step: str, text: str) -> None:
        if self.cancelled.is_set():
            raise RunError("the exploration was cancelled")
        self._line.show(step, text)
