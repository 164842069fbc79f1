# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs of life: a step's line is repeated while nothing else is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self


class Heartbeat:
    """Calls ``beat``, in a thread, whenever nothing has been shown for ``period_s``.

    For steps that do not report by themselves, such as a package being unpacked. The thread is
    there from the first :meth:`shown` or :meth:`start` to :meth:`rest`, so that nothing wakes up
    during a run. A context manager: none is left behind.
    """

    def __init__(self, beat: Callable[[], None], period_s: float) -> None:
        self._beat = beat
        self._period_s = period_s
        self._printed_s = 0.0
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def shown(self) -> None:
        """Note that the current step's line was just shown."""
        self._printed_s = time.monotonic()
        self.start()

    def start(self) -> None:
        """Beat from now on; does nothing the second time."""
        if self._thread is None:
            self._printed_s = time.monotonic()
            self._end.clear()
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def rest(self) -> None:
        """The step is over: beat no more, and have no beat under way. Must not be called by one."""
        if self._thread is not None:
            self._end.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._end.wait(max(0.0, self._printed_s + self._period_s - time.monotonic())):
            if time.monotonic() >= self._printed_s + self._period_s:
                self._printed_s = time.monotonic()
                self._beat()
