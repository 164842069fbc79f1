"""The wire's sockets: listens, shakes hands, hands requests over and sends replies.

One thread, driven by a :class:`~freezingtime.poller.Poller`. The protocol itself is in
the modules beside this one and knows no sockets.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from freezingtime.errors import RunError
from freezingtime.nbd.export import Export
from freezingtime.nbd.handshake import ServerHandshake
from freezingtime.nbd.protocol import ProtocolError, wire_error
from freezingtime.nbd.transmission import Disconnect, Rejected, RequestDecoder, encode_reply
from freezingtime.poller import Poller, same_user
from freezingtime.request import Request

_RECEIVE_BYTES = 256 * 1024

#: Room in the kernel for replies, so that most are sent without waiting for the reader.
_SEND_BUFFER_BYTES = 4 * 1024 * 1024

#: How long a client may leave its replies unread before its connection is given up.
_SEND_DEADLINE_S = 60.0


class Connection:
    """One client's connection, from handshake to disconnection."""

    def __init__(
        self, server: NbdServer, client: socket.socket, exports: Mapping[str, tuple[int, Export]]
    ) -> None:
        self.disk_index = -1
        self.received: deque[Request] = deque()
        self.closed = False
        self._server = server
        self._client = client
        self._exports = exports
        self._handshake: ServerHandshake | None = ServerHandshake(
            {name: export for name, (_, export) in exports.items()}
        )
        self._decoder: RequestDecoder | None = None
        self._outbox: deque[memoryview] = deque()
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.send(self._handshake.greeting())

    def fileno(self) -> int:
        return self._client.fileno()

    def send(self, *parts: bytes | bytearray | memoryview) -> None:
        """Send what fits without waiting; :meth:`flush` sends the rest."""
        if self.closed:
            return
        sent_bytes = 0
        if not self._outbox:
            try:
                sent_bytes = self._client.sendmsg(parts)
            except BlockingIOError:
                pass
            except OSError as error:
                self.close(f"the client is gone: {error}")
                return
        for part in parts:
            if sent_bytes >= len(part):
                sent_bytes -= len(part)
            else:
                self._outbox.append(memoryview(part)[sent_bytes:])
                sent_bytes = 0

    @property
    def has_unsent(self) -> bool:
        return bool(self._outbox)

    def flush_some(self) -> bool:
        """Send more of what did not fit; whether any of it went out."""
        progress = False
        while self._outbox and not self.closed:
            part = self._outbox[0]
            try:
                sent_bytes = self._client.send(part)
            except BlockingIOError:
                break
            except OSError as error:
                self.close(f"the client is gone: {error}")
                break
            progress = True
            if sent_bytes == len(part):
                self._outbox.popleft()
            else:
                self._outbox[0] = part[sent_bytes:]
        return progress

    def receive(self) -> None:
        """Read what the client has sent, as far as one call brings it."""
        try:
            received_bytes = self._client.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"the client is gone: {error}")
            return
        if received_bytes == 0:
            self.close(None)
            return
        try:
            self._take(self._view[:received_bytes])
        except ProtocolError as error:
            self.close(str(error))

    def close(self, reason: str | None) -> None:
        """Drop the connection; ``reason`` is None for a client that has left in order."""
        if self.closed:
            return
        self.closed = True
        self._outbox.clear()
        self._server.forget(self, reason)
        self._client.close()

    def _take(self, data: memoryview | bytes) -> None:
        if self._handshake is not None:
            data = self._shake_hands(self._handshake, data)
        if self._decoder is None:
            return
        for message in self._decoder.receive(data):
            if isinstance(message, Request):
                self.received.append(message)
                self._server.note_received(self)
            elif isinstance(message, Rejected):
                self.send(encode_reply(message.cookie, message.error))
            elif isinstance(message, Disconnect):
                self.close(None)

    def _shake_hands(self, handshake: ServerHandshake, data: memoryview | bytes) -> bytes:
        self.send(handshake.receive(data))
        if handshake.aborted:
            self.close(None)
            return b""
        if handshake.export is None:
            return b""
        self.disk_index = self._exports[handshake.export.name][0]
        self._decoder = RequestDecoder(handshake.export)
        self._handshake = None
        return handshake.leftover


class _Channel(Protocol):
    @property
    def disk_index(self) -> int: ...


class NbdServer:
    """All listening sockets and connections of an emulator."""

    def __init__(
        self, poller: Poller, on_disconnected: Callable[[str | None], None] | None = None
    ) -> None:
        """``on_disconnected`` is told why a connection ended: None means in order."""
        self._poller = poller
        self._on_disconnected = on_disconnected
        self._listeners: list[tuple[socket.socket, str]] = []
        self._connections: list[Connection] = []
        self._arrived: deque[Connection] = deque()  # one entry per received request
        self._unsent: list[Connection] = []

    def listen(self, address: str, exports: Mapping[str, tuple[int, Export]]) -> None:
        """Serve ``exports`` (name to disk index and export) at a Unix socket.

        ``address`` is a path, whose permissions decide who may connect, or, behind a NUL,
        an abstract name, where only our own user may.

        Raises:
            OSError: the socket cannot be made there.
        """
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(address)
            listener.listen(16)
        except OSError:
            listener.close()
            raise
        self._listeners.append((listener, address))

        def accept() -> None:
            client, _ = listener.accept()
            if address.startswith("\0") and not same_user(client):
                client.close()
                return
            connection = Connection(self, client, exports)
            self._connections.append(connection)
            self._poller.register(client.fileno(), connection.receive)

        self._poller.register(listener.fileno(), accept)

    def take_request(self, disk_index: int) -> tuple[Request, Connection] | None:
        """The next request of a disk in order of receipt, or None."""
        for position, connection in enumerate(self._arrived):
            if connection.disk_index == disk_index:
                del self._arrived[position]
                return connection.received.popleft(), connection
        return None

    def take_requests(self) -> list[tuple[Request, Connection]]:
        """All requests received so far, in order of receipt."""
        taken = [(connection.received.popleft(), connection) for connection in self._arrived]
        self._arrived.clear()
        return taken

    def reply(
        self, channel: _Channel, request: Request, data: bytes | bytearray | memoryview
    ) -> None:
        """Send a successful reply, as much as fits without waiting."""
        self._send(channel, encode_reply(request.cookie, 0), data)

    def reply_error(self, channel: _Channel, request: Request, error: OSError) -> None:
        """Send a reply that tells of a failure."""
        self._send(channel, encode_reply(request.cookie, wire_error(error)), b"")

    def flush(self) -> None:
        """Send the rest of all replies, reading on meanwhile so that no peer blocks.

        Raises:
            RunError: a client does not read its replies.
        """
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, []
        deadline_s = time.monotonic() + _SEND_DEADLINE_S
        while any(connection.has_unsent for connection in unsent):
            progress = [connection.flush_some() for connection in unsent]
            if any(progress):
                deadline_s = time.monotonic() + _SEND_DEADLINE_S
            elif time.monotonic() > deadline_s:
                raise RunError(f"a client has not read its replies for {_SEND_DEADLINE_S:.0f} s")
            else:
                self._poller.poll(0.001)

    def note_received(self, connection: Connection) -> None:
        """Called by a connection for each request that it has received."""
        self._arrived.append(connection)

    def forget(self, connection: Connection, reason: str | None) -> None:
        """Called by a connection that ends."""
        self._poller.unregister(connection.fileno())
        self._connections.remove(connection)
        while connection in self._arrived:
            self._arrived.remove(connection)
        if self._on_disconnected is not None:
            self._on_disconnected(reason)

    def close(self) -> None:
        """Drop all connections and remove the sockets."""
        for connection in list(self._connections):
            connection.close(None)
        for listener, address in self._listeners:
            self._poller.unregister(listener.fileno())
            listener.close()
            if not address.startswith("\0"):
                Path(address).unlink(missing_ok=True)
        self._listeners.clear()

    def _send(self, channel: _Channel, *parts: bytes | bytearray | memoryview) -> None:
        if not isinstance(channel, Connection):
            raise TypeError(f"not a connection of this server: {channel!r}")
        channel.send(*parts)
        if channel.has_unsent:
            self._unsent.append(channel)
