"""The wire's sockets: listens, and hands requests over from all connections in order of receipt.

One thread, driven by a :class:`~freezingtime.poller.Poller`. The protocol itself is in
the modules beside this one and knows no sockets.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from freezingtime.errors import RunError
from freezingtime.nbd.connection import Connection
from freezingtime.nbd.export import Export
from freezingtime.poller import Poller, same_user
from freezingtime.request import Buffer, Request

#: How many clients are served at once; more wait in the kernel, as for any busy server.
CONNECTIONS_MAX = 128

#: How long :meth:`NbdServer.flush` bears a client that does not read its replies.
_FLUSH_DEADLINE_S = 60.0


class _Channel(Protocol):
    @property
    def disk_index(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Listener:
    listening: socket.socket
    address: str
    exports: Mapping[str, tuple[int, Export]]
    inode: int
    """Tells our socket from one that another server has made there since."""

    @property
    def is_abstract(self) -> bool:
        return self.address.startswith("\0")


class NbdServer:
    """All listening sockets and connections of an emulator."""

    def __init__(
        self,
        poller: Poller,
        *,
        waits_for_readers: bool = True,
        on_disconnected: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        """``on_disconnected`` is told why a connection ended: None means in order.

        ``waits_for_readers``: whether :meth:`flush` returns only when every reply is sent;
        if not, the poller sends the rest, and no client can hold up another; and what a client
        can make the server hold in memory is bounded.
        """
        self._poller = poller
        self._waits_for_readers = waits_for_readers
        self._on_disconnected = on_disconnected
        self._listeners: list[_Listener] = []
        self._connections: list[Connection] = []
        self._arrived: deque[Connection] = deque()  # one entry per received request

    def listen(self, address: str, exports: Mapping[str, tuple[int, Export]]) -> None:
        """Serve ``exports`` (name to disk index and export) at a Unix socket.

        ``address`` is a path, whose permissions decide who may connect, or, behind a NUL,
        an abstract name, where only our own user may.

        Raises:
            OSError: the socket cannot be made there.
        """
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(address)
            listening.listen(CONNECTIONS_MAX)
        except OSError:
            listening.close()
            raise
        inode = 0 if address.startswith("\0") else Path(address).stat().st_ino
        listener = _Listener(listening, address, exports, inode)
        self._listeners.append(listener)
        self._watch_listeners()

    def take_request(self, disk_index: int) -> tuple[Request, Connection] | None:
        """The next request of a disk in order of receipt, or None."""
        for position, connection in enumerate(self._arrived):
            if connection.disk_index == disk_index:
                del self._arrived[position]
                return connection.take(), connection
        return None

    def take_requests(self) -> list[tuple[Request, Connection]]:
        """All requests received so far, in order of receipt; later ones of greedy clients wait."""
        taken = []
        waiting: deque[Connection] = deque()
        for connection in self._arrived:
            if connection.may_take:
                taken.append((connection.take(), connection))
            else:
                waiting.append(connection)
        self._arrived = waiting
        return taken

    def reply(self, channel: _Channel, request: Request, data: Buffer) -> None:
        """Send a successful reply, as much as fits without waiting."""
        _own(channel).reply(request, data)

    def reply_error(self, channel: _Channel, request: Request, error: OSError) -> None:
        """Send a reply that tells of a failure."""
        _own(channel).reply_error(request, error)

    def flush(self) -> None:
        """Send the rest of all replies, reading on meanwhile so that no peer blocks.

        Raises:
            RunError: a client does not read its replies.
        """
        if not self._waits_for_readers:
            return
        unsent_bytes = self._unsent_bytes()
        deadline_s = time.monotonic() + _FLUSH_DEADLINE_S
        while unsent_bytes:
            self._poller.poll(_FLUSH_DEADLINE_S)
            before_bytes, unsent_bytes = unsent_bytes, self._unsent_bytes()
            if unsent_bytes < before_bytes:
                deadline_s = time.monotonic() + _FLUSH_DEADLINE_S
            elif time.monotonic() > deadline_s:
                raise RunError(f"a client has not read its replies for {_FLUSH_DEADLINE_S:.0f} s")

    def close(self) -> None:
        """Drop all connections and remove the sockets."""
        for listener in self._listeners:
            if self._is_accepting:
                self._poller.unregister(listener.listening.fileno())
            listener.listening.close()
            _remove_socket(listener)
        self._listeners.clear()
        for connection in list(self._connections):
            connection.close(None)

    @property
    def _is_accepting(self) -> bool:
        return len(self._connections) < CONNECTIONS_MAX

    def _accept(self, listener: _Listener) -> None:
        client, _ = listener.listening.accept()
        if listener.is_abstract and not same_user(client):
            client.close()
            return
        connection = Connection(
            client,
            listener.exports,
            self._poller,
            is_bounded=not self._waits_for_readers,
            on_received=self._arrived_from,
            on_closed=self._forget,
        )
        self._connections.append(connection)
        if not self._is_accepting:
            self._ignore_listeners()
        connection.begin()

    def _watch_listeners(self) -> None:
        for listener in self._listeners:
            self._poller.register(listener.listening.fileno(), partial(self._accept, listener))

    def _ignore_listeners(self) -> None:
        for listener in self._listeners:
            self._poller.unregister(listener.listening.fileno())

    def _arrived_from(self, connection: Connection) -> None:
        self._arrived.append(connection)

    def _forget(self, connection: Connection, reason: str | None) -> None:
        was_accepting = self._is_accepting
        self._connections.remove(connection)
        self._arrived = deque(other for other in self._arrived if other is not connection)
        if not was_accepting:
            self._watch_listeners()
        self._on_disconnected(reason)

    def _unsent_bytes(self) -> int:
        return sum(connection.unsent_bytes for connection in self._connections)


def _own(channel: _Channel) -> Connection:
    if not isinstance(channel, Connection):
        raise TypeError(f"not a connection of this server: {channel!r}")
    return channel


def _remove_socket(listener: _Listener) -> None:
    if listener.is_abstract:
        return
    path = Path(listener.address)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == listener.inode:
            path.unlink()
