# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of a sweep on the terminal."""

from __future__ import annotations

from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.explore.sweep.sweep import SweepObserver, SweepProgress


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
