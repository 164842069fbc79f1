"""One line of progress on stderr, where there is somebody to see it: a terminal or a notebook."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from freezingtime.emulator import Totals
from freezingtime.errors import RunError
from freezingtime.experiment.progress_text import JobTimes, running_line, share_line, step_line
from freezingtime.experiment.run import RunObserver
from freezingtime.experiment.run_meter import DiskMeter

_PERIOD_S = 0.2


class Line:
    """A line that is written over and over, and gone when the block is left."""

    def __init__(self, wanted: bool | None) -> None:
        """``wanted``: None for a terminal or a notebook only."""
        self._is_shown = _has_reader() if wanted is None else wanted
        self._width = 0
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Write the line, if it is time to."""
        now_s = time.monotonic()
        if not self._is_shown or now_s - self._shown_s < _PERIOD_S:
            return
        self._shown_s = now_s
        # A carriage return works in terminals and in notebooks alike.
        print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
        self._width = len(text)


class LineObserver(RunObserver):
    """Shows a run's progress and keeps what the job prints on stderr."""

    def __init__(self, line: Line) -> None:
        self.stderr = bytearray()
        self.cancelled = threading.Event()
        """Set by whoever no longer wants the run."""
        self._line = line
        self._start_s = time.monotonic()
        self._job_times = JobTimes()

    def preparing(self, step: str, done: int, total: int) -> None:
        """Show the step."""
        self._check()
        host_s = time.monotonic() - self._start_s
        self._line.show(step_line(step, done, total, host_s))

    def running(self, totals: Totals, _meters: Sequence[DiskMeter]) -> None:
        """Show how far the run is."""
        self._check()
        times = self._job_times.since_start(totals.now_ns)
        self._line.show(running_line(totals, *times))

    def output(self, _stdout: bytes, stderr: bytes) -> None:
        """Keep it; what goes to stdout is in the run's directory."""
        self.stderr += stderr

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise RunError("the run was interrupted")


def show_share(line: Line, step: str, done: int, total: int) -> None:
    """Show how far a replay is."""
    line.show(share_line(step, done, total))


def _has_reader() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
