# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a preparation as plain lines on stderr, for pipes and logs."""

from __future__ import annotations

import threading
import time
from typing import Self

from freezingtime.host.foreign_text import say
from freezingtime.runs.progress.heartbeat import Heartbeat
from freezingtime.runs.progress.text import step_line

#: Never leave the user for 5 s without a sign of life.
SILENCE_S = 4.0


class StepLines:
    """Print each step once, and again if it takes long. A context manager."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._step = ("", 0, 0)
        self._lock = threading.Lock()
        self._heartbeat = Heartbeat(self._print_again, SILENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` parts of ``step`` are done."""
        with self._lock:
            is_new = step != self._step[0]
            self._step = (step, done, total)
            if is_new:
                say(f"{step} ...")
        if is_new:
            self._heartbeat.shown()

    def rest(self) -> None:
        """Print nothing more until the next step."""
        self._heartbeat.rest()
        self._step = ("", 0, 0)

    def _print_again(self) -> None:
        with self._lock:
            line = step_line(*self._step, time.monotonic() - self._start_s)
            say(f"{line} ...")
