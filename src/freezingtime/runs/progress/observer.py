# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface of whatever shows how far a run is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezingtime.emulator.loop import Totals
    from freezingtime.runs.progress.meter import DiskMeter


class RunObserver:
    """Observer of a run's progress, called in the caller's thread. By itself it does nothing."""

    def preparing(self, step: str, done: int, total: int) -> None:
        """Something is being made that later runs will find ready."""

    def running(self, totals: Totals, meters: Sequence[DiskMeter]) -> None:
        """Some twenty times a second while the job runs; the meters are of the recorded disks."""

    def output(self, stdout: bytes, stderr: bytes) -> None:
        """Receive the job's output since the last call."""
