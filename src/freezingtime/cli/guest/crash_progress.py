# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of an exploration on the console."""

from __future__ import annotations

from freezingtime.cli.guest.progress import RunProgress
from freezingtime.explore.crash.explore import CrashObserver
from freezingtime.host.foreign_text import say
from freezingtime.trace.explored.crash_files import CrashSummary
from freezingtime.units import counted

_PROGRESS_PERIOD = 25


class CrashProgress(CrashObserver):
    """Passes a run's progress on, and says now and then how far the exploration is."""

    def __init__(self, progress: RunProgress, *, quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._said = 0
        self.preparing = progress.preparing  # type: ignore[method-assign]
        self.running = progress.running  # type: ignore[method-assign]

    def exploring(self, summary: CrashSummary, point_count: int) -> None:
        if self._quiet or summary.run < self._said + _PROGRESS_PERIOD:
            return
        self._said = summary.run
        say(
            f"point {summary.points} of {point_count}: {counted(summary.unique, 'state')}, "
            f"{summary.run} run, {summary.failed} failed"
        )

    def cutting_recoveries(self, summary: CrashSummary, done: int, total: int) -> None:
        if self._quiet or summary.run < self._said + _PROGRESS_PERIOD:
            return
        self._said = summary.run
        say(
            f"recovery {done} of {total}: {counted(summary.run, 'state')} run, "
            f"{summary.failed} failed"
        )
