# SPDX-License-Identifier: GPL-2.0-or-later
"""Joining consecutive captures in a file, each with its own clock, into one time."""

from __future__ import annotations


class JoinedTimes:
    """Each capture begins one mean gap between events after the one before has ended.

    The file does not contain the real time between two captures.
    """

    def __init__(self) -> None:
        self.capture_count = 1
        self._shift_ns = 0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._count = 0
        self._restarts = False

    def restart(self) -> None:
        """Begin with the next capture, whose times count from anywhere."""
        self.capture_count += 1
        self._restarts = self._first_ns is not None

    def at(self, time_ns: int) -> int:
        """The time of the present capture's next event, as one of all."""
        if self._restarts and self._first_ns is not None:
            gap_ns = (self._last_ns - self._first_ns) // max(1, self._count - 1)
            self._shift_ns = self._last_ns + gap_ns - time_ns
            self._restarts = False
        at_ns = time_ns + self._shift_ns
        if self._first_ns is None:
            self._first_ns = self._last_ns = at_ns
        elif at_ns > self._last_ns:
            self._last_ns = at_ns
        self._count += 1
        return at_ns
