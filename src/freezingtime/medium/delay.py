# SPDX-License-Identifier: GPL-2.0-or-later
"""A medium made slow on purpose: it shows that a slow medium does not disturb guest time."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from freezingtime.medium.base import Medium
from freezingtime.request import Buffer
from freezingtime.units import format_time_ns

_SEED = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """Host time from ``min_ns`` to ``max_ns`` (0 <= min <= max), any of it equally likely."""

    min_ns: int
    max_ns: int

    def __str__(self) -> str:
        """Return the option's text, such as ``3ms`` or ``2.5ms..10ms``."""
        if self.min_ns == self.max_ns:
            return format_time_ns(self.min_ns)
        return f"{format_time_ns(self.min_ns)}..{format_time_ns(self.max_ns)}"


def delayed(medium: Medium, delay: Delay | None) -> Medium:
    """The medium with that delay, if there is one."""
    return medium if delay is None else DelayMedium(medium, delay)


class DelayMedium(Medium):
    """Another medium, each call of which takes a ``delay`` of host time longer.

    Delays are drawn from a generator that is always seeded alike: calls that come one after
    another see the same delays in each run. Closing it closes the inner medium.
    """

    may_block = True

    def __init__(self, inner: Medium, delay: Delay) -> None:
        self._inner = inner
        self._delay = delay
        self._generator = random.Random(_SEED)
        self.size_bytes = inner.size_bytes
        self.writable = inner.writable

    def describe(self) -> str:
        return f"{self._inner.describe()}, delayed by {self._delay}"

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        self._wait()
        return self._inner.read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: Buffer) -> None:
        self._wait()
        self._inner.write(offset_bytes, data)

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        self._wait()
        self._inner.zero(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._wait()
        self._inner.discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self._wait()
        self._inner.flush()

    def displacement(self) -> str | None:
        return self._inner.displacement()

    def close(self) -> None:
        self._inner.close()

    def _wait(self) -> None:
        """In any worker: ``random()`` is one step, which the interpreter's lock protects."""
        span_ns = self._delay.max_ns - self._delay.min_ns
        time.sleep((self._delay.min_ns + span_ns * self._generator.random()) / 1e9)
