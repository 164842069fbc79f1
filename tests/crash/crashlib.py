# SPDX-License-Identifier: GPL-2.0-or-later
"""Explorations of power cuts for tests: in process, with everything that was found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezingtime.explore.crash.directory import ExplorationDirectory
from freezingtime.explore.crash.explore import CrashObserver, Exploration, open_exploration
from freezingtime.explore.crash.failures import report_failures
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.trace.explored.crash_files import CrashFailure, CrashSummary


@dataclass
class Explored:
    summary: CrashSummary
    failures: list[CrashFailure]

    @property
    def reasons(self) -> set[str]:
        return {failure.reason for failure in self.failures}


def crash_request(job: str | Command, *disks: str, **values: Any) -> CrashRequest:
    """A request with these disks; ``job`` may be shell text."""
    command = job if isinstance(job, Command) else Command(line=job)
    return CrashRequest(options=RunOptions(disks=disks), job=command, **values)


@contextlib.contextmanager
def opened(request: CrashRequest, out: Path) -> Iterator[Exploration]:
    """The exploration in ``out``, whose job has run."""
    request.require_possible()
    with ExplorationDirectory(out) as directory:
        directory.begin(request.identity())
        with open_exploration(request, directory, CrashObserver()) as exploration:
            yield exploration


def explore(request: CrashRequest, out: Path, workers: int = 2) -> Explored:
    """Explore all of it."""
    with opened(request, out) as exploration:
        exploration.run(workers, CrashObserver())
        failures = report_failures(exploration)
        assert exploration.summary.is_exact
        return Explored(exploration.summary, failures)
