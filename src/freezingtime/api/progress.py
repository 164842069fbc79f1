# SPDX-License-Identifier: GPL-2.0-or-later
"""One line of progress on a terminal or in a notebook."""

from __future__ import annotations

import html
import importlib
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol, Self

from freezingtime.emulator.loop import Totals
from freezingtime.errors import RunError
from freezingtime.host.foreign_text import printable, say
from freezingtime.runs.progress.heartbeat import Heartbeat
from freezingtime.runs.progress.meter import DiskMeter
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.progress.step_lines import SILENCE_S
from freezingtime.runs.progress.text import JobTimes, running_line, share_line, step_line

#: A notebook keeps and forwards all output.
_PERIOD_S = 0.5
_BEAT_S = 1.0


class _Surface(Protocol):
    """Output on which the line is shown."""

    period_s: float
    """How long a line of the same step stays at least."""

    def write(self, text: str) -> None:
        """Put a text in the place of the one before."""

    def clear(self) -> None:
        """Take it away."""


class _TerminalLine:
    """The last line of a terminal, written over and over."""

    period_s = _PERIOD_S

    def __init__(self) -> None:
        self._width = 0

    def write(self, text: str) -> None:
        self._draw(f"{printable(text):<{self._width}}")
        self._width = len(text)

    def clear(self) -> None:
        if self._width:
            self._draw(f"{' ' * self._width}\r")
            self._width = 0

    @staticmethod
    def _draw(text: str) -> None:
        sys.stderr.write(f"\r{text}")
        sys.stderr.flush()


class _NotebookLine:
    """One output of a notebook's cell, which is replaced; a notebook keeps a ``\\r`` as it is."""

    period_s = _PERIOD_S

    def __init__(self) -> None:
        self._handle: Any = importlib.import_module("IPython.display").DisplayHandle()
        # Now, as this is the cell's thread, which the run's may not be.
        self._handle.display(self._content(""), raw=True)

    def write(self, text: str) -> None:
        self._handle.update(self._content(text), raw=True)

    def clear(self) -> None:
        self.write("")

    @staticmethod
    def _content(text: str) -> dict[str, str]:
        shown = f"<pre>{html.escape(text)}</pre>" if text else ""
        return {"text/plain": text, "text/html": shown}


class _PlainLines:
    """Lines that stay, each behind the others: for pipes and logs."""

    period_s = SILENCE_S

    def write(self, text: str) -> None:
        say(text)

    def clear(self) -> None:
        """Leave them."""


class _Nowhere:
    """No output."""

    period_s = 0.0

    def write(self, text: str) -> None:
        """Show nothing."""

    def clear(self) -> None:
        """Leave nothing."""


class ProgressLine:
    """A line updated in place and cleared at the end of the block; on a pipe, permanent lines.

    Threads may share one.
    """

    def __init__(self, wanted: bool | None) -> None:
        """``wanted``: None for a terminal or a notebook only."""
        self._wanted = wanted
        self._surface: _Surface = _Nowhere()
        self._lock = threading.Lock()
        self._step = ""
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        if self._wanted is not False:
            self._surface = _surface(self._wanted)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._surface.clear()
            self._surface = _Nowhere()

    def show(self, step: str, text: str) -> None:
        """Show how far ``step`` is, if it is time to; on a pipe, a new step at once."""
        with self._lock:
            now_s = time.monotonic()
            is_new = step != self._step and isinstance(self._surface, _PlainLines)
            if not is_new and now_s - self._shown_s < self._surface.period_s:
                return
            self._step, self._shown_s = step, now_s
            self._surface.write(text)


class LineObserver(RunObserver):
    """Shows a run's progress and keeps what the job prints on stderr. A context manager."""

    def __init__(self, line: ProgressLine, expected_ns: int | None = None) -> None:
        """``expected_ns``: how much guest time the job will take, if that is known."""
        self.stderr = bytearray()
        self.cancelled = threading.Event()
        """Set by whoever no longer wants the run."""
        self._line = line
        self._expected_ns = expected_ns
        self._start_s = time.monotonic()
        self._job_times = JobTimes()
        self._step = ("", 0, 0)
        self._heartbeat = Heartbeat(self._show_step, _BEAT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._heartbeat.rest()

    def preparing(self, step: str, done: int, total: int) -> None:
        """Show the step, and again while it lasts."""
        self._check()
        self._step = (step, done, total)
        self._show_step()
        self._heartbeat.shown()

    def running(self, totals: Totals, _meters: Sequence[DiskMeter]) -> None:
        """Show how far the run is."""
        self._check()
        self._heartbeat.rest()
        times = self._job_times.since_start(totals.now_ns)
        self._line.show("run", running_line(totals, *times, self._expected_ns))

    def output(self, _stdout: bytes, stderr: bytes) -> None:
        """Keep it; what goes to stdout is in the run's directory."""
        self.stderr += stderr

    def _show_step(self) -> None:
        step, done, total = self._step
        self._line.show(step, step_line(step, done, total, time.monotonic() - self._start_s))

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise RunError("the run was interrupted")


def show_share(line: ProgressLine, step: str, done: int, total: int) -> None:
    """Show how far a replay is."""
    line.show(step, share_line(step, done, total))


def _surface(wanted: bool | None) -> _Surface:
    if _is_notebook():
        return _NotebookLine()
    if sys.stderr.isatty():
        return _TerminalLine()
    return _PlainLines() if wanted else _Nowhere()


def _is_notebook() -> bool:
    """Whether a Jupyter kernel runs this; IPython on a terminal is none, nor is its mere import."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
