# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole exploration: from its request to the failures that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from freezingtime.explore.crash.cut_recoveries import CutRecoveries
from freezingtime.explore.crash.directory import ExplorationDirectory
from freezingtime.explore.crash.explore import CrashObserver, open_exploration
from freezingtime.explore.crash.failures import report_failures
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.host.cpus import usable_cpu_count
from freezingtime.trace.explored.crash_files import CrashFailure, CrashSummary, ExploredDocument


@dataclass(frozen=True, slots=True)
class Explored:
    """Outcome of an exploration."""

    summary: CrashSummary
    recoveries: CrashSummary | None
    """Of second power cuts, if there were any."""
    failures: Sequence[CrashFailure]
    """One of each reason."""


def explore(
    request: CrashRequest, out: Path, workers: int | None, observer: CrashObserver
) -> Explored:
    """Explore in the directory ``out``; ``workers``: None for one for each core.

    Raises:
        InputError: it cannot be explored.
        RunError: the job failed, or a recovery could not be run.
    """
    request.require_possible()
    request.check_plan()
    request.job_plan(out)
    workers = workers or usable_cpu_count()
    with ExplorationDirectory(out) as directory:
        directory.begin(request.identity())
        with (
            open_exploration(request, directory, observer) as exploration,
            CutRecoveries(exploration, directory.scratch_path) as cut,
        ):
            exploration.run(workers, observer)
            cut.run(workers, observer)
            failures = report_failures(exploration, cut)
        recoveries = cut.summary if request.depth > 1 else None
        directory.write_explored(
            ExploredDocument(
                span_ns=(exploration.span.start_ns, exploration.span.end_ns),
                disks=exploration.recoveries.names,
                summary=exploration.summary,
                recoveries=recoveries,
                points=list(exploration.tallies.values()),
                failures=[failure.number for failure in failures],
            )
        )
        return Explored(exploration.summary, recoveries, failures)
