# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of a run on the terminal: preparation, the live view, the job's output."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO, Self, cast

from rich.console import Console

from freezingtime.cli.guest.live.view import LiveView
from freezingtime.emulator.loop import Totals
from freezingtime.errors import RunError
from freezingtime.host.foreign_text import say
from freezingtime.runs.progress.heartbeat import Heartbeat
from freezingtime.runs.progress.meter import DiskHistory, DiskMeter
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.progress.step_lines import StepLines
from freezingtime.runs.progress.text import JobTimes, disks_line, running_line, step_line

#: How often the view is renewed on a terminal, and a line printed elsewhere.
_TERMINAL_PERIOD_S = 0.2
_PLAIN_PERIOD_S = 10.0
#: So much of a job's output is kept in memory.
_STORE_BYTES = 1 << 20
_BEAT_S = 1.0


def is_drawn_on(console: Console) -> bool:
    """Whether what is drawn can be taken away again: on a terminal, not in a notebook's cell.

    A cell's ``!command`` has a pseudo terminal, of which the notebook keeps every byte.
    """
    return console.is_terminal and "JPY_PARENT_PID" not in os.environ


class RunProgress(RunObserver):
    """The run's observer. A context manager, so that the terminal is left clean."""

    def __init__(
        self,
        *,
        quiet: bool,
        forward_output: bool,
        expected_ns: int | None = None,
        verbose: bool = False,
    ) -> None:
        """``forward_output``: pass the job's output on at once, else keep it.

        ``expected_ns``: how much guest time the job will take, if that is known.
        """
        #: What the job has printed, if it is not forwarded; larger outputs are in a file.
        self.stdout: BinaryIO = _new_store()
        self.stderr: BinaryIO = _new_store()
        self._quiet = quiet
        self._forward = forward_output
        self._expected_ns = expected_ns
        self._verbose = verbose
        console = Console(stderr=True)
        self._view = LiveView(console) if is_drawn_on(console) else None
        self._period_s = _PLAIN_PERIOD_S if self._view is None else _TERMINAL_PERIOD_S
        self._histories: list[DiskHistory] = []
        self._start_s = time.monotonic()
        self._job_times = JobTimes()
        self._printed_s = self._start_s
        self._step = ("", 0, 0)
        self._lines = StepLines()
        self._lock = threading.Lock()
        self._heartbeat = Heartbeat(self._draw_step, _BEAT_S)
        self._in_a_line = False
        """The job has begun a line on the terminal: drawing would overwrite it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest()
        self._clear()
        if self._in_a_line and not self._quiet:
            sys.stderr.write("\n")

    def preparing(self, step: str, done: int, total: int) -> None:
        """Show a step of the preparation, and a sign of life if it takes long."""
        if self._quiet:
            return
        if self._view is None:
            self._lines(step, done, total)
            return
        self._step = (step, done, total)
        self._draw_step()
        self._heartbeat.shown()

    def running(self, totals: Totals, meters: Sequence[DiskMeter]) -> None:
        """Renew the view, or print a line, if it is time to."""
        self._rest()
        now_s = time.monotonic()
        times = self._job_times.since_start(totals.now_ns)
        if not self._histories:
            self._histories = [DiskHistory(meter, totals.now_ns) for meter in meters]
        if self._quiet or now_s - self._printed_s < self._period_s:
            return
        self._printed_s = now_s
        for history in self._histories:
            history.advance(totals.now_ns)
        line = running_line(totals, *times, self._expected_ns, verbose=self._verbose)
        if self._view is None:
            parts = [line, disks_line(self._histories)]
            say("; ".join(filter(None, parts)))
        elif not self._in_a_line:
            self._view.show_run(line, self._histories)

    def output(self, stdout: bytes, stderr: bytes) -> None:
        """Pass the job's output on, or keep it."""
        if not self._forward:
            self._store(stdout, stderr)
            return
        if stdout or stderr:
            self._rest()
            self._clear()
        for data, stream in ((stdout, sys.stdout), (stderr, sys.stderr)):
            if data:
                stream.flush()
                stream.buffer.write(data)
                stream.buffer.flush()
                if self._view is not None and stream.isatty():
                    self._in_a_line = not data.endswith(b"\n")

    def _store(self, stdout: bytes, stderr: bytes) -> None:
        try:
            self.stdout.write(stdout)
            self.stderr.write(stderr)
        except OSError as error:
            raise RunError(
                f"the job's output cannot be stored in {tempfile.gettempdir()}: {error.strerror}; "
                "free space there, or set TMPDIR to another directory"
            ) from error

    def _draw_step(self) -> None:
        with self._lock:
            if self._view is not None:
                host_s = time.monotonic() - self._start_s
                self._view.show_step(step_line(*self._step, host_s))

    def _rest(self) -> None:
        """End the current step."""
        self._heartbeat.rest()
        self._lines.rest()

    def _clear(self) -> None:
        if self._view is not None:
            self._view.clear()


def _new_store() -> BinaryIO:
    # Lives as long as the process or its last user.
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(_STORE_BYTES, prefix="freezingtime-"))
