# SPDX-License-Identifier: GPL-2.0-or-later
"""Host-time deadlines of waits, which do not run while this process is stopped.

A user may stop a run (Ctrl-Z, ``kill -STOP``) and let it go on an hour later: nothing that was
waited for is then an hour late, since it has been stopped as well.
"""

from __future__ import annotations

import threading
import time

#: Waiters check the clock far more often than this; a longer gap was a stop.
_GAP_MAX_S = 2.0
_SLICE_S = 1.0


class Patience:
    """Deadline in host time that stops with the process; ask at least once a second."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waited_s = 0.0
        self._checked_s = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Return whether ``limit_s`` has been waited, stops not counted."""
        now_s = time.monotonic()
        self._waited_s += min(now_s - self._checked_s, _GAP_MAX_S)
        self._checked_s = now_s
        return self._waited_s > self._limit_s

    def renew(self) -> None:
        """Begin anew: there was a sign of life."""
        self._waited_s = 0.0
        self._checked_s = time.monotonic()


def wait_patiently(event: threading.Event, limit_s: float) -> bool:
    """Wait for ``event``; return whether it was set within ``limit_s``."""
    patience = Patience(limit_s)
    while not event.wait(min(_SLICE_S, limit_s)):
        if patience.is_over:
            return event.is_set()
    return True
