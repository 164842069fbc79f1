"""One client's connection: bytes in to requests, replies out to bytes, and an orderly end.

Driven by a :class:`~freezingtime.poller.Poller`; no call waits. What one client can make
the server hold in memory is bounded: a client that does not read its replies, or sends
faster than the disk is, is not read from until it has caught up. But a guest's queues are
its own bound, and all that a doorbell sends must come in at once: time stands still.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping

from freezingtime.nbd.export import Export
from freezingtime.nbd.handshake import ServerHandshake
from freezingtime.nbd.protocol import ProtocolError, wire_error
from freezingtime.nbd.transmission import Answered, Disconnect, RequestDecoder, encode_reply
from freezingtime.poller import Poller
from freezingtime.request import Buffer, Operation, Request

_RECEIVE_BYTES = 256 * 1024

#: Room in the kernel for replies, so that most are sent without waiting for the reader.
_SEND_BUFFER_BYTES = 4 * 1024 * 1024

# How much may be received and not taken, or unsent, before no more is read of a bounded client.
_BACKLOG_REQUESTS_MAX = 1024
_BACKLOG_BYTES_MAX = 512 * 1024 * 1024
_OUTBOX_PARTS_MAX = 4096

# How much may be under way or unsent before no more is to be taken.
_UNDER_WAY_REQUESTS_MAX = 1024
_UNDER_WAY_BYTES_MAX = 256 * 1024 * 1024


class Connection:
    """One client's connection, from handshake to disconnection."""

    def __init__(
        self,
        client: socket.socket,
        exports: Mapping[str, tuple[int, Export]],
        poller: Poller,
        *,
        is_bounded: bool,
        on_received: Callable[[Connection], None],
        on_closed: Callable[[Connection, str | None], None],
    ) -> None:
        """Own ``client`` from now on; :meth:`begin` starts the talk.

        ``on_received`` is called for each request that :meth:`take` may now return,
        ``on_closed`` once, with the reason, or None if the client has left in order.
        """
        self.disk_index = -1
        self.closed = False
        self._client = client
        self._exports = exports
        self._poller = poller
        self._is_bounded = is_bounded
        self._on_received = on_received
        self._on_closed = on_closed
        self._handshake: ServerHandshake | None = ServerHandshake(
            {name: export for name, (_, export) in exports.items()}
        )
        self._decoder: RequestDecoder | None = None
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._received: deque[Request] = deque()
        self._received_bytes = 0
        self._under_way_count = 0
        self._under_way_bytes = 0
        self._outbox: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._leaving = False
        self._watched = (False, False)  # readable, writable

    def begin(self) -> None:
        """Greet the client."""
        self._client.setblocking(False)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if self._handshake is not None:
            self._send(self._handshake.greeting())
        self._settle()

    @property
    def unsent_bytes(self) -> int:
        """How much of the replies the client has yet to make room for."""
        return self._unsent_bytes

    @property
    def may_take(self) -> bool:
        """Whether the client is owed little enough to begin another of its requests."""
        return (
            self._under_way_count < _UNDER_WAY_REQUESTS_MAX
            and self._under_way_bytes + self._unsent_bytes < _UNDER_WAY_BYTES_MAX
        )

    def take(self) -> Request:
        """Hand over the oldest request; it is under way until it is replied to."""
        request = self._received.popleft()
        data_bytes = _data_bytes(request)
        self._received_bytes -= data_bytes
        self._under_way_bytes += data_bytes
        self._under_way_count += 1
        if not self._watched[0]:
            self._settle()
        return request

    def reply(self, request: Request, data: Buffer) -> None:
        """Answer a request that was taken: it succeeded. Sends what fits."""
        self._answer(request, encode_reply(request.cookie, 0), data)

    def reply_error(self, request: Request, error: OSError) -> None:
        """Answer a request that was taken: it failed. Sends what fits."""
        self._answer(request, encode_reply(request.cookie, wire_error(error)))

    def close(self, reason: str | None) -> None:
        """Drop the connection, and all that was received or is unsent. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._watch(readable=False, writable=False)
        self._client.close()
        self._received.clear()
        self._outbox.clear()
        self._unsent_bytes = 0
        self._on_closed(self, reason)

    def _answer(self, request: Request, *parts: Buffer) -> None:
        self._under_way_count -= 1
        self._under_way_bytes -= _data_bytes(request)
        self._send(*parts)
        if self._outbox or self._leaving:
            self._settle()

    def _send(self, *parts: Buffer) -> None:
        if self.closed:
            return
        sent_bytes = 0
        if not self._outbox:
            try:
                sent_bytes = self._client.sendmsg(parts)
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost(error)
                return
        for part in parts:
            if sent_bytes >= len(part):
                sent_bytes -= len(part)
            else:
                rest = memoryview(part)[sent_bytes:]
                self._outbox.append(rest)
                self._unsent_bytes += len(rest)
                sent_bytes = 0

    def _on_ready(self) -> None:
        self._send_more()
        if not (self.closed or self._leaving or self._is_behind):
            self._receive()
        self._settle()

    def _send_more(self) -> None:
        while self._outbox:
            part = self._outbox[0]
            try:
                sent_bytes = self._client.send(part)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(error)
                return
            self._unsent_bytes -= sent_bytes
            if sent_bytes == len(part):
                self._outbox.popleft()
            else:
                self._outbox[0] = part[sent_bytes:]

    def _receive(self) -> None:
        try:
            received_bytes = self._client.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if received_bytes == 0:
            self._leaving = True
            return
        try:
            self._take_in(self._buffer[:received_bytes])
        except ProtocolError as error:
            self.close(str(error))

    def _take_in(self, data: Buffer) -> None:
        if self._handshake is not None:
            data = self._shake_hands(self._handshake, data)
        if self._decoder is None:
            return
        for message in self._decoder.receive(data):
            if self.closed:
                return
            if isinstance(message, Request):
                self._received.append(message)
                self._received_bytes += _data_bytes(message)
                self._on_received(self)
            elif isinstance(message, Answered):
                self._send(encode_reply(message.cookie, message.error))
            elif isinstance(message, Disconnect):
                self._leaving = True

    def _shake_hands(self, handshake: ServerHandshake, data: Buffer) -> bytes:
        answer = handshake.receive(memoryview(data))
        self._leaving = handshake.aborted
        self._send(answer)
        if handshake.export is None:
            return b""
        self.disk_index = self._exports[handshake.export.name][0]
        self._decoder = RequestDecoder(handshake.export)
        self._handshake = None
        return handshake.leftover

    def _lost(self, error: OSError) -> None:
        # Whoever only wanted to know who listens may go before the handshake is over.
        curious = self._handshake is not None
        self.close(None if curious else f"the client is gone: {error.strerror}")

    def _settle(self) -> None:
        """After any change: leave if all is done, or watch for what can happen next."""
        if self.closed:
            return
        if self._leaving and not (self._received or self._under_way_count or self._outbox):
            self.close(None)
            return
        self._watch(readable=not (self._leaving or self._is_behind), writable=bool(self._outbox))

    @property
    def _is_behind(self) -> bool:
        return self._is_bounded and (
            len(self._received) >= _BACKLOG_REQUESTS_MAX
            or self._received_bytes >= _BACKLOG_BYTES_MAX
            or len(self._outbox) >= _OUTBOX_PARTS_MAX
        )

    def _watch(self, *, readable: bool, writable: bool) -> None:
        if (readable, writable) == self._watched:
            return
        fd = self._client.fileno()
        if readable or writable:
            self._poller.register(fd, self._on_ready, readable=readable, writable=writable)
        else:
            # Not merely muted: a hang-up is always told, over and over.
            self._poller.unregister(fd)
        self._watched = (readable, writable)


def _data_bytes(request: Request) -> int:
    """How much memory a request takes up while it is under way."""
    has_data = request.operation in (Operation.READ, Operation.WRITE)
    return request.length_bytes if has_data else 0
