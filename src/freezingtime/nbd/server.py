# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire's sockets: listens, and hands requests over from all connections in order of receipt.

One thread, driven by a :class:`~freezingtime.host.poller.Poller`. The protocol itself is in
the modules beside this one and knows no sockets.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from freezingtime.errors import RunError
from freezingtime.host.poller import Poller, same_user
from freezingtime.nbd.budget import Budget
from freezingtime.nbd.connection import Connection
from freezingtime.nbd.export import Export
from freezingtime.request import Buffer, Request

#: How many clients are served at once; more wait in the kernel, as for any busy server.
CONNECTIONS_MAX = 128

#: So many of the process' descriptors are for all else: media, libraries, the record's end.
_OTHER_DESCRIPTORS = 32

#: How much memory bounded clients may make the server hold, all together.
HELD_BYTES_MAX = 1024 * 1024 * 1024

#: How long a bounded client may take for its handshake.
HANDSHAKE_DEADLINE_S = 10.0

#: How long a bounded client may read nothing of what it is owed, or send nothing of what it has
#: begun; and how long when others have to wait for the memory.
_STALL_DEADLINE_S = 30.0
_CROWDED_STALL_DEADLINE_S = 5.0

_WATCH_PERIOD_S = 1.0
#: A longer time between two looks was a stop of this process (Ctrl-Z): none of the clients' doing.
_GAP_MAX_S = 5.0

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
    """Distinguishes our socket from one that another server has made there since."""

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
        if not, the poller sends the rest, and no client can hold up another: what they can make
        the server hold in memory is bounded, and whoever stops reading or sending is dropped.
        """
        self._poller = poller
        self._waits_for_readers = waits_for_readers
        self._on_disconnected = on_disconnected
        self._listeners: list[_Listener] = []
        self._connections: dict[Connection, float] = {}  # since when, by the monotonic clock
        self._budget = None if waits_for_readers else Budget(HELD_BYTES_MAX, self._settle_all)
        self._connections_max = _connections_max()
        self._is_listening = False
        self._is_watching = False
        self._watched_s = self._watched_since_s = time.monotonic()
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
        self._listeners.append(_Listener(listening, address, exports, inode))
        if self._is_listening:
            self._watch_listener(self._listeners[-1])
        self._settle_listeners()

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
        """Send an error reply."""
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
            if self._is_listening:
                self._poller.unregister(listener.listening.fileno())
            listener.listening.close()
            _remove_socket(listener)
        self._listeners.clear()
        for connection in list(self._connections):
            connection.close(None)

    def _accept(self, listener: _Listener) -> None:
        client, _ = listener.listening.accept()
        if listener.is_abstract and not same_user(client):
            client.close()
            return
        if len(self._connections) >= self._connections_max:
            self._make_room()
        connection = Connection(
            client,
            listener.exports,
            self._poller,
            budget=self._budget,
            on_received=self._arrived_from,
            on_greeted=self._settle_listeners,
            on_closed=self._forget,
        )
        self._connections[connection] = time.monotonic()
        self._settle_listeners()
        self._watch_clients()
        connection.begin()

    def _make_room(self) -> None:
        """Drop the client that has been shaking hands for the longest."""
        for connection in self._connections:
            if connection.is_handshaking:
                connection.close(
                    "it had not finished its handshake when other clients needed its place"
                )
                return

    def _settle_listeners(self) -> None:
        """Listen as long as there is room, or may be made."""
        wanted = len(self._connections) < self._connections_max or any(
            connection.is_handshaking for connection in self._connections
        )
        if wanted == self._is_listening:
            return
        self._is_listening = wanted
        for listener in self._listeners:
            if wanted:
                self._watch_listener(listener)
            else:
                self._poller.unregister(listener.listening.fileno())

    def _watch_listener(self, listener: _Listener) -> None:
        self._poller.register(listener.listening.fileno(), partial(self._accept, listener))

    def _watch_clients(self) -> None:
        """From now on look for bounded clients that stall, as long as there are any."""
        if self._budget is not None and not self._is_watching:
            self._is_watching = True
            self._poller.call_later(_WATCH_PERIOD_S, self._drop_stalled)

    def _drop_stalled(self) -> None:
        self._is_watching = False
        if self._budget is None:
            return
        now_s = time.monotonic()
        if now_s - self._watched_s > _GAP_MAX_S:
            self._watched_since_s = now_s
        self._watched_s = now_s
        watched_s = now_s - self._watched_since_s
        stall_s = _CROWDED_STALL_DEADLINE_S if self._budget.is_crowded else _STALL_DEADLINE_S
        for connection, since_s in list(self._connections.items()):
            waited_s = min(now_s - since_s, watched_s)
            if connection.is_handshaking and waited_s > HANDSHAKE_DEADLINE_S:
                connection.close(f"no handshake within {HANDSHAKE_DEADLINE_S:g} s")
            elif min(connection.stalled_s, watched_s) > stall_s:
                connection.close(f"it made no progress for {stall_s:g} s")
        if self._connections:
            self._watch_clients()

    def _settle_all(self) -> None:
        for connection in list(self._connections):
            connection.settle()

    def _arrived_from(self, connection: Connection) -> None:
        self._arrived.append(connection)

    def _forget(self, connection: Connection, reason: str | None) -> None:
        del self._connections[connection]
        self._arrived = deque(other for other in self._arrived if other is not connection)
        self._settle_listeners()
        self._on_disconnected(reason)

    def _unsent_bytes(self) -> int:
        return sum(connection.unsent_bytes for connection in self._connections)


def _connections_max() -> int:
    """Return the number of clients to serve at once: fewer under a low ulimit -n."""
    descriptors_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors_max == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, descriptors_max - _OTHER_DESCRIPTORS))


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
