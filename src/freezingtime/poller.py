"""Waiting for several descriptors at once, and who is at the other end of one."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable


class Poller:
    """Calls back whoever's descriptor has become ready. One thread only."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

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

    def poll(self, timeout_s: float | None) -> bool:
        """Wait up to ``timeout_s`` (None: without limit); whether anything was ready."""
        if timeout_s:
            # epoll counts in milliseconds; select sleeps to the microsecond.
            select.select([self._epoll], [], [], timeout_s)
            timeout_s = 0.0
        ready = self._epoll.poll(timeout_s)
        for fd, _ in ready:
            # An earlier callback of this round may have closed a later descriptor.
            if callback := self._callbacks.get(fd):
                callback()
        return bool(ready)

    def close(self) -> None:
        self._epoll.close()


def same_user(peer: socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket runs under our own user.

    Abstract sockets have no permissions; this stands in for them.
    """
    credentials = struct.Struct("iII")  # pid, uid, gid: struct ucred of unix(7)
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    _, uid, _ = credentials.unpack(raw)
    return bool(uid == os.geteuid())
