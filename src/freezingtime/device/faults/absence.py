# SPDX-License-Identifier: GPL-2.0-or-later
"""A rule by which a device disappears, and comes back. Times are from the job's start."""

from __future__ import annotations

from enum import Enum, auto

from freezingtime.device.faults.rule import FaultRule
from freezingtime.device.kept.state import State, entry, integer


class Presence(Enum):
    """Presence of a device that disappears once."""

    THERE = auto()
    GONE = auto()
    BACK = auto()


class Absence:
    """The state of such a rule: when the device disappears, and when it comes back."""

    def __init__(self, rule: FaultRule) -> None:
        self._rule = rule
        self._fitting_count = self._flush_count = 0
        waits = rule.nth is not None or rule.after_flush is not None
        # When it disappears, as far as that is known.
        self._leaves_ns: int | None = None if waits else rule.from_ns
        self.presence = Presence.THERE

    def state(self) -> State:
        """Return what it has counted, of a device that is there as ever."""
        return {
            "fitting": self._fitting_count,
            "flushes": self._flush_count,
            "leaves_ns": self._leaves_ns,
        }

    def load_state(self, state: object) -> None:
        """Go on from a state. Raises StateError."""
        self._fitting_count = integer(entry(state, "fitting"), "a count")
        self._flush_count = integer(entry(state, "flushes"), "a count")
        leaves_ns = entry(state, "leaves_ns")
        self._leaves_ns = None if leaves_ns is None else integer(leaves_ns, "a time")

    def note_arrival(self, time_ns: int) -> None:
        """A request arrives that the rule fits."""
        rule = self._rule
        if rule.nth is None or self._leaves_ns is not None or time_ns < rule.from_ns:
            return
        self._fitting_count += 1
        if self._fitting_count == rule.nth:
            self._leaves_ns = time_ns

    def note_flush(self, time_ns: int) -> None:
        """A flush has completed."""
        self._flush_count += 1
        if self._flush_count == self._rule.after_flush:
            self._leaves_ns = max(time_ns, self._rule.from_ns)

    def next_event_ns(self) -> int | None:
        """Return when it disappears or comes back next; None: it does not, or that is open."""
        leaves_ns, rule = self._leaves_ns, self._rule
        if leaves_ns is None or self.presence is Presence.BACK:
            return None
        returns_ns = rule.until_ns if rule.for_ns is None else leaves_ns + rule.for_ns
        if self.presence is Presence.GONE:
            return returns_ns
        # What it waits for may come about only when it would be back.
        return leaves_ns if returns_ns is None or leaves_ns < returns_ns else None

    def pass_event(self) -> None:
        """Let it disappear, or come back."""
        gone = self.presence is Presence.THERE
        self.presence = Presence.GONE if gone else Presence.BACK
