# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep on the terminal: its progress, and in the end its points, failures and files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.results.sweep_table import table_rows
from freezingtime.explore.sweep.sweep import Sweep, SweepObserver, SweepProgress
from freezingtime.host.foreign_text import say, show
from freezingtime.trace.explored.sweep_files import TABLE_NAME
from freezingtime.units import counted

_ROWS_MAX = 50
_REASONS_MAX = 20


class Display(SweepObserver):
    """Shows how far a sweep is."""

    def __init__(self, progress: ReplayProgress) -> None:
        self._show = progress
        self.notify = progress.notify  # type: ignore[method-assign]
        self.on_reading = progress.on_reading  # type: ignore[method-assign]

    def preparing(self, step: str, done: int, total: int) -> None:
        self._show(step, done, total)

    def sweeping(self, progress: SweepProgress) -> None:
        self._show(str(progress), 0, 0)


def sweep_document(sweep: Sweep, out: Path) -> dict[str, Any]:
    """The points, for ``--json``."""
    return {
        "out": str(out),
        "points": [
            {
                "point": dict(point),
                "status": outcome.status.value,
                "reason": outcome.reason,
                "from_store": outcome.is_cached,
                "result": outcome.key,
                "figures": None if outcome.figures is None else outcome.figures.figures,
            }
            for point, outcome in zip(sweep.points, sweep.outcomes, strict=True)
        ],
    }


def show_points(sweep: Sweep, metrics: Sequence[str]) -> None:
    """Print the first points as a table."""
    header, *rows = table_rows(sweep.points, sweep.outcomes, metrics)
    print_columns([header, *rows[:_ROWS_MAX]])
    if len(rows) > _ROWS_MAX:
        show(f"{len(rows) - _ROWS_MAX} more points; {TABLE_NAME} has all")


def say_enqueued(sweep: Sweep, out: Path, *, quiet: bool) -> None:
    """Say what has been enqueued, and how it is run."""
    _say_failures(sweep)
    if quiet:
        return
    progress = sweep.progress
    words = [f"{counted(progress.points, 'point')}: {progress.cached} from the store"]
    words += [f"{progress.to_execute} enqueued", f"{progress.failed} failed"]
    say(", ".join(words))
    say(f"on any machine that shares {out}: freezingtime worker {shlex.quote(str(out))}")


def _say_failures(sweep: Sweep) -> None:
    failed = [
        (point, outcome)
        for point, outcome in zip(sweep.points, sweep.outcomes, strict=True)
        if outcome.reason is not None
    ]
    for point, outcome in failed[:_REASONS_MAX]:
        where = " ".join(f"{name}={value}" for name, value in point.items())
        say(f"{outcome.status.value}: {where}: {outcome.reason}")
    if len(failed) > _REASONS_MAX:
        say(f"{len(failed) - _REASONS_MAX} more failed; {TABLE_NAME} has the reasons")


def say_summary(sweep: Sweep, out: Path, store: Path | None, *, quiet: bool) -> None:
    """Say which points failed and why, and where everything is."""
    _say_failures(sweep)
    if quiet:
        return
    progress = sweep.progress
    words = [f"{counted(progress.points, 'point')}: {progress.cached} from the store"]
    words += [f"{progress.executed - progress.verified} run", f"{progress.failed} failed"]
    words += [f"{progress.verified} verified"] if progress.to_verify else []
    say(", ".join(words))
    where_runs = "not kept" if store is None else f"in the store {store}"
    say(f"table in {out / TABLE_NAME}, results {where_runs}")
