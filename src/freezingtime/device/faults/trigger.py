# SPDX-License-Identifier: GPL-2.0-or-later
"""Span and chance of a rule of faults. Times are from the job's start."""

from __future__ import annotations

import numpy as np

from freezingtime.device.faults.rule import FaultRule
from freezingtime.device.kept.state import State, entry, integer


class Trigger:
    """The state of a rule's *when*: of the requests that fit, it says which are hit."""

    def __init__(self, rule: FaultRule, generator: np.random.Generator) -> None:
        self._rule = rule
        self._generator = generator
        self._fitting_count = self._flush_count = 0
        # When what the span waits for came about, if it waits for something.
        self._triggered_ns: int | None = None
        self._waits = rule.nth is not None or rule.after_flush is not None
        self._hit_count = 0

    def state(self) -> State:
        """Return what it has counted, and when its span began."""
        return {
            "fitting": self._fitting_count,
            "flushes": self._flush_count,
            "hits": self._hit_count,
            "triggered_ns": self._triggered_ns,
        }

    def load_state(self, state: object) -> None:
        """Go on from a state. Raises StateError."""
        self._fitting_count = integer(entry(state, "fitting"), "a count")
        self._flush_count = integer(entry(state, "flushes"), "a count")
        self._hit_count = integer(entry(state, "hits"), "a count")
        triggered_ns = entry(state, "triggered_ns")
        self._triggered_ns = None if triggered_ns is None else integer(triggered_ns, "a time")

    def note_flush(self, time_ns: int) -> None:
        """A flush has completed."""
        self._flush_count += 1
        if self._flush_count == self._rule.after_flush:
            self._triggered_ns = time_ns

    def note_arrival(self, time_ns: int) -> bool:
        """A request that fits arrives; return whether it is hit."""
        rule = self._rule
        if rule.nth is not None and self._is_allowed(time_ns):
            self._fitting_count += 1
            if self._fitting_count == rule.nth:
                self._triggered_ns = time_ns
                if rule.for_ns is None:
                    self._hit_count += 1
                    return True
        if not self.is_open(time_ns) or (rule.count is not None and self._hit_count >= rule.count):
            return False
        if rule.probability < 1.0 and self._generator.random() >= rule.probability:
            return False
        self._hit_count += 1
        return True

    def is_open(self, time_ns: int) -> bool:
        """Return whether the span has begun, and not ended."""
        return self._begin_ns(time_ns) is not None

    def end_ns(self, time_ns: int) -> int | None:
        """Return when the span ends that is open at a time; None: none is, or it never ends."""
        begin_ns, rule = self._begin_ns(time_ns), self._rule
        if begin_ns is None:
            return None
        if rule.for_ns is None:
            return rule.until_ns
        end_ns = begin_ns + rule.for_ns
        return end_ns if rule.until_ns is None else min(end_ns, rule.until_ns)

    def _is_allowed(self, time_ns: int) -> bool:
        until_ns = self._rule.until_ns
        return self._rule.from_ns <= time_ns and (until_ns is None or time_ns < until_ns)

    def _begin_ns(self, time_ns: int) -> int | None:
        """When the span began that is open at a time; None: none is."""
        rule = self._rule
        begin_ns = rule.from_ns
        if self._waits:
            if self._triggered_ns is None or (rule.nth is not None and rule.for_ns is None):
                return None
            begin_ns = max(begin_ns, self._triggered_ns)
        if time_ns < begin_ns or not self._is_allowed(time_ns):
            return None
        if rule.for_ns is None:
            return begin_ns
        if rule.every_ns is not None:
            begin_ns += (time_ns - begin_ns) // rule.every_ns * rule.every_ns
        return begin_ns if time_ns < begin_ns + rule.for_ns else None
