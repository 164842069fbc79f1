"""A medium made slow on purpose: it shows that a slow medium does not disturb guest time."""

from __future__ import annotations

import time

from freezingtime.medium.base import Medium
from freezingtime.request import Buffer
from freezingtime.units import format_time_ns


class DelayMedium(Medium):
    """Another medium, each call of which takes ``delay_ns`` (0 or more) of host time longer.

    Closing it closes the inner medium.
    """

    may_block = True

    def __init__(self, inner: Medium, delay_ns: int) -> None:
        self._inner = inner
        self._delay_ns = delay_ns
        self._delay_s = delay_ns / 1e9
        self.size_bytes = inner.size_bytes
        self.writable = inner.writable

    def describe(self) -> str:
        return f"{self._inner.describe()}, delayed by {format_time_ns(self._delay_ns)}"

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        time.sleep(self._delay_s)
        return self._inner.read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: Buffer) -> None:
        time.sleep(self._delay_s)
        self._inner.write(offset_bytes, data)

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        time.sleep(self._delay_s)
        self._inner.zero(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        time.sleep(self._delay_s)
        self._inner.discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        time.sleep(self._delay_s)
        self._inner.flush()

    def close(self) -> None:
        self._inner.close()
