"""What a person sees while a run goes on: preparation, a live line, the job's output."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from freezingtime.emulator import Totals
from freezingtime.experiment.progress_text import running_line, step_line
from freezingtime.experiment.run import RunObserver

#: How often the line is renewed on a terminal, and a line printed elsewhere.
_TERMINAL_PERIOD_S = 0.2
_PLAIN_PERIOD_S = 10.0


class RunProgress(RunObserver):
    """The run's observer. A context manager, so that the terminal is left clean."""

    def __init__(self, *, quiet: bool, forward_output: bool) -> None:
        """``forward_output``: pass the job's output on at once, else keep it."""
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._quiet = quiet
        self._forward = forward_output
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self._start_s = time.monotonic()
        self._shown_s = self._start_s
        self._step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clear()

    def preparing(self, step: str, done: int, total: int) -> None:
        """Show a step of the preparation; off a terminal, each step once."""
        if self._console.is_terminal:
            self._show(step_line(step, done, total, time.monotonic() - self._start_s))
        elif step != self._step and not self._quiet:
            print(f"freezingtime: {step} ...", file=sys.stderr)
        self._step = step

    def running(self, totals: Totals) -> None:
        """Renew the live line."""
        now_s = time.monotonic()
        period_s = _TERMINAL_PERIOD_S if self._console.is_terminal else _PLAIN_PERIOD_S
        if now_s - self._shown_s < period_s:
            return
        self._shown_s = now_s
        line = running_line(totals, now_s - self._start_s)
        if self._console.is_terminal:
            self._show(line)
        elif not self._quiet:
            print(f"freezingtime: {line}", file=sys.stderr)

    def output(self, stdout: bytes, stderr: bytes) -> None:
        """Pass the job's output on, or keep it."""
        if not self._forward:
            self.stdout += stdout
            self.stderr += stderr
            return
        if stdout or stderr:
            self._clear()
        for data, stream in ((stdout, sys.stdout), (stderr, sys.stderr)):
            if data:
                stream.flush()
                stream.buffer.write(data)
                stream.buffer.flush()

    def _show(self, text: str) -> None:
        if self._quiet:
            return
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)

    def _clear(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
