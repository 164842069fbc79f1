# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for several descriptors at once, and identifying their peers."""

from __future__ import annotations

import ctypes
import heapq
import os
import select
import socket
import struct
import time
from collections.abc import Callable


class Poller:
    """Call back when descriptors become ready, or at given times. One thread only."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._alarm = _Alarm()
        self._epoll.register(self._alarm.fd, select.EPOLLIN)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0

    def register(
        self,
        fd: int,
        on_ready: Callable[[], None],
        *,
        readable: bool = True,
        writable: bool = False,
    ) -> None:
        """Watch ``fd``, or watch it for something else from now on; errors always count."""
        events = (select.EPOLLIN if readable else 0) | (select.EPOLLOUT if writable else 0)
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = on_ready

    def unregister(self, fd: int) -> None:
        """Stop watching ``fd``; call before it is closed."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back in a :meth:`poll` after that time, behind what is ready by then."""
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer_count, callback))

    def poll(self, timeout_s: float | None) -> bool:
        """Wait up to ``timeout_s`` (None: without limit); whether any descriptor was ready."""
        if self._timers:
            due_s = max(0.0, self._timers[0][0] - time.monotonic())
            timeout_s = due_s if timeout_s is None else min(due_s, timeout_s)
        self._alarm.set(timeout_s)
        was_ready = False
        for fd, _ in self._epoll.poll(0 if timeout_s == 0 else None):
            # An earlier callback of this round may have closed a later descriptor.
            if callback := self._callbacks.get(fd):
                was_ready = True
                callback()
        self._call_due()
        return was_ready

    def close(self) -> None:
        self._epoll.close()
        self._alarm.close()

    def _call_due(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


class _Alarm:
    """A descriptor that becomes readable after a time, to the microsecond: a timerfd.

    epoll itself counts in milliseconds, and select(2), which does not, knows no descriptor
    beyond 1023.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC
        self.fd = self._checked(self._libc.timerfd_create(time.CLOCK_MONOTONIC, flags))
        self._is_set = False

    def set(self, delay_s: float | None) -> None:
        """Ring after that time and not before; None and 0: do not ring."""
        if not (delay_s or self._is_set):
            return
        self._is_set = bool(delay_s)
        delay_ns = max(1, round(delay_s * 1e9)) if delay_s else 0
        # struct itimerspec: the interval, and the time until then, each in s and ns.
        spec = (ctypes.c_long * 4)(0, 0, *divmod(delay_ns, 1_000_000_000))
        self._checked(self._libc.timerfd_settime(self.fd, 0, spec, None))

    def close(self) -> None:
        os.close(self.fd)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd: {os.strerror(number)}")
        return result


def same_user(peer: socket.socket) -> bool:
    """Return whether the process at the other end of a Unix socket runs under our own user.

    Replaces the permissions that abstract sockets lack.
    """
    credentials = struct.Struct("iII")  # pid, uid, gid: struct ucred of unix(7)
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    _, uid, _ = credentials.unpack(raw)
    return bool(uid == os.geteuid())
