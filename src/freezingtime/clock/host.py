# SPDX-License-Identifier: GPL-2.0-or-later
"""The host clock: no guest, real time. For any NBD client.

Time does not stand still, so a device can only be emulated that is slower than the
medium and this program together; the emulator replies when both the device and the
medium are done.
"""

from __future__ import annotations

import contextlib
import os
import time

from freezingtime.clock.base import Arrival, Clock, Moment, Verdict, Wire
from freezingtime.host.poller import Poller

#: The kernel wakes sleepers this much late; the rest is spent polling.
_WAKEUP_SLACK_NS = 150_000


class HostClock(Clock):
    """Host time, in nanoseconds since an arbitrary point."""

    stands_still = False
    reports_deliveries = False

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._next_event_ns: int | None = None
        self._ended = False
        self._nudged = False
        self._nudge_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        poller.register(self._nudge_fd, self._on_nudge)

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wait(self, wire: Wire) -> Moment | None:
        """Wait for a request, the next event, or a nudge."""
        while not self._ended:
            requests = wire.take_requests()
            now_ns = self.now_ns()
            due = self._next_event_ns is not None and now_ns >= self._next_event_ns
            if requests or due or self._nudged:
                self._nudged = False
                arrivals = [Arrival(request, channel, now_ns) for request, channel in requests]
                return Moment(now_ns, arrivals)
            self._sleep(now_ns)
        return None

    def resume(self, verdict: Verdict) -> None:
        self._next_event_ns = verdict.next_event_ns

    def nudge(self) -> None:
        """Give the emulator a turn: a medium is done. Any thread."""
        os.eventfd_write(self._nudge_fd, 1)

    def end(self) -> None:
        """End :meth:`wait`. Any thread, signal handlers too."""
        self._ended = True
        self.nudge()

    def close(self) -> None:
        self._poller.unregister(self._nudge_fd)
        os.close(self._nudge_fd)

    def _sleep(self, now_ns: int) -> None:
        if self._next_event_ns is None:
            self._poller.poll(None)
            return
        rest_ns = self._next_event_ns - now_ns - _WAKEUP_SLACK_NS
        self._poller.poll(max(rest_ns, 0) / 1e9)

    def _on_nudge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._nudge_fd)
        self._nudged = True
