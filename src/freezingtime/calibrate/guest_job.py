# SPDX-License-Identifier: GPL-2.0-or-later
"""A run whose job is fio, as a step of something larger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freezingtime.emulator.loop import Totals
from freezingtime.errors import RunError
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress.meter import DiskMeter
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import run

#: Progress callback: the step, and how much of how much is done.
Observer = Callable[[str, int, int], None]


def run_fio(plan: RunPlan, step: str, request_count: int, observer: Observer) -> RunResult:
    """Run a job that makes so many requests, in which fio may not fail.

    Raises:
        InputError: the run cannot be made.
        RunError: it failed.
    """
    progress = _JobProgress(step, request_count, observer)
    result = run(plan, progress)
    if result.job.exit_status:
        said = bytes(progress.said).decode(errors="replace").strip().splitlines()
        raise RunError(f"fio failed in the guest: {said[-1] if said else 'without output'}")
    return result


class _JobProgress(RunObserver):
    """Progress of a run as a step."""

    def __init__(self, step: str, request_count: int, observer: Observer) -> None:
        self.said = bytearray()
        self._step = step
        self._request_count = request_count
        self._observer = observer

    def preparing(self, step: str, done: int, total: int) -> None:
        """Something is made ready."""
        self._observer(f"{self._step}: {step}", done, total)

    def running(self, totals: Totals, meters: Sequence[DiskMeter]) -> None:
        """The job runs."""
        done = min(totals.request_count, self._request_count)
        self._observer(self._step, done, self._request_count)

    def output(self, stdout: bytes, stderr: bytes) -> None:
        """Kept for when it fails."""
        self.said += stdout + stderr
