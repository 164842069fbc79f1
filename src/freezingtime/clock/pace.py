# SPDX-License-Identifier: GPL-2.0-or-later
"""Real time as a limit: an interactive guest must not run ahead of its user."""

from __future__ import annotations

import time


class RealTimePace:
    """Keeps guest time from running ahead of the host's, by waiting.

    A guest that is slower than real time is not made to catch up.
    """

    def __init__(self) -> None:
        self._least_lead_ns: int | None = None

    def throttle(self, now_ns: int) -> None:
        """Wait until the host's time is not behind the guest's, which is ``now_ns``."""
        lead_ns = time.monotonic_ns() - now_ns
        if self._least_lead_ns is None or lead_ns > self._least_lead_ns:
            self._least_lead_ns = lead_ns
        else:
            time.sleep((self._least_lead_ns - lead_ns) / 1e9)
