# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of a replay: one line on stderr with the share that is done."""

from __future__ import annotations

import threading
import time
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from freezingtime.cli.guest.progress import is_drawn_on
from freezingtime.host.foreign_text import printable, say
from freezingtime.runs.progress.heartbeat import Heartbeat
from freezingtime.runs.progress.step_lines import SILENCE_S
from freezingtime.runs.progress.text import share_line
from freezingtime.trace.readers import Reading

#: How often the line is renewed on a terminal, and a line printed elsewhere.
_TERMINAL_PERIOD_S = 0.2
_PLAIN_PERIOD_S = SILENCE_S


class ReplayProgress:
    """The replay's observer. A context manager, so that the terminal is left clean."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self._printed_s = time.monotonic()
        self._line = ""
        self._lock = threading.Lock()
        self._is_drawn = is_drawn_on(self._console)
        self._heartbeat = Heartbeat(self._show, SILENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._heartbeat.rest()
        if self._status is not None:
            self._status.stop()

    def notify(self, notice: str) -> None:
        """Print a line that stays, also if no progress is wanted."""
        self._console.print(
            f"freezingtime: {printable(notice)}", markup=False, highlight=False, soft_wrap=True
        )

    def on_reading(self, reading: Reading) -> None:
        """Print how a file was read; surprises even if quiet."""
        for line in reading.note_lines if self._quiet else reading.lines:
            self.notify(line)

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show what is being done, and the share if ``total`` is not 0."""
        if self._quiet:
            return
        self._line = share_line(step, done, total)
        period_s = _TERMINAL_PERIOD_S if self._is_drawn else _PLAIN_PERIOD_S
        if time.monotonic() - self._printed_s >= period_s:
            self._show()
        if not self._is_drawn:  # the display animates itself
            self._heartbeat.start()

    def _show(self) -> None:
        with self._lock:
            self._printed_s = time.monotonic()
            if not self._is_drawn:
                say(self._line)
            elif self._status is None:
                self._status = self._console.status(escape(printable(self._line)))
                self._status.start()
            else:
                self._status.update(escape(printable(self._line)))
