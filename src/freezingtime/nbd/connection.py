# SPDX-License-Identifier: GPL-2.0-or-later
"""One client's connection: bytes in to requests, replies out to bytes, and an orderly end.

Driven by a :class:`~freezingtime.host.poller.Poller`; no call waits. What one client can make
the server hold in memory is bounded, and so is what all can (:mod:`.budget`): a client that does
not read its replies, or sends faster than the disk is, is not read from until it has caught up.
But a guest's queues are its own bound, and all that a doorbell sends must come in at once: time
stands still.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Mapping

from freezingtime.host.poller import Poller
from freezingtime.nbd.budget import Budget
from freezingtime.nbd.export import Export
from freezingtime.nbd.handshake import ServerHandshake
from freezingtime.nbd.protocol import ProtocolError, wire_error
from freezingtime.nbd.transmission import Answered, Disconnect, RequestDecoder, encode_reply
from freezingtime.request import Buffer, Operation, Request

_RECEIVE_BYTES = 256 * 1024

#: Room in the kernel for replies, so that most are sent without waiting for the reader.
_SEND_BUFFER_BYTES = 4 * 1024 * 1024

# How much may be received and not taken, or unsent, before no more is read of a bounded client.
_BACKLOG_REQUESTS_MAX = 1024
_BACKLOG_BYTES_MAX = 128 * 1024 * 1024
_OUTBOX_PARTS_MAX = 4096

# Bytes in flight or unsent above which no more requests are read.
_UNDER_WAY_REQUESTS_MAX = 1024
_UNDER_WAY_BYTES_MAX = 128 * 1024 * 1024


class Connection:
    """One client's connection, from handshake to disconnection."""

    def __init__(
        self,
        client: socket.socket,
        exports: Mapping[str, tuple[int, Export]],
        poller: Poller,
        *,
        budget: Budget | None,
        on_received: Callable[[Connection], None],
        on_greeted: Callable[[], None],
        on_closed: Callable[[Connection, str | None], None],
    ) -> None:
        """Own ``client`` from now on; :meth:`begin` starts the talk.

        ``budget``: what all clients share; None: this one's memory is not bounded.
        ``on_received`` is called for each request that :meth:`take` may now return,
        ``on_greeted`` when the handshake is over,
        ``on_closed`` once, with the reason, or None if the client has left in order.
        """
        self.disk_index = -1
        self.closed = False
        self._client = client
        self._exports = exports
        self._to_agent = False
        self._poller = poller
        self._budget = budget
        self._held_bytes = 0
        self._sent_s = self._received_s = time.monotonic()
        self._on_received = on_received
        self._on_greeted = on_greeted
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
        self.settle()

    @property
    def unsent_bytes(self) -> int:
        """Return the bytes of replies that the client has yet to make room for."""
        return self._unsent_bytes

    @property
    def is_handshaking(self) -> bool:
        """Return whether the client has yet to choose an export."""
        return self._handshake is not None

    @property
    def stalled_s(self) -> float:
        """For how long the client has neither read what it is owed nor sent what it has begun."""
        now_s = time.monotonic()
        unread_s = now_s - self._sent_s if self._outbox else 0.0
        is_awaited = self._is_within_payload and self._watched[0]
        return max(unread_s, now_s - self._received_s if is_awaited else 0.0)

    @property
    def may_take(self) -> bool:
        """Return whether the client is owed little enough to begin another of its requests."""
        return (
            self._under_way_count < _UNDER_WAY_REQUESTS_MAX
            and self._under_way_bytes + self._unsent_bytes < _UNDER_WAY_BYTES_MAX
            and self._has_room_for(self._received[0])
        )

    def take(self) -> Request:
        """Hand over the oldest request; it is under way until it is replied to."""
        request = self._received.popleft()
        self._received_bytes -= _sent_bytes(request)
        self._under_way_bytes += _data_bytes(request)
        self._under_way_count += 1
        self._count_held()
        if not self._watched[0]:
            self.settle()
        return request

    def reply(self, request: Request, data: Buffer) -> None:
        """Answer a request that was taken: it succeeded. Sends what fits."""
        self._answer(request, encode_reply(request.cookie, 0), data)

    def reply_error(self, request: Request, error: OSError) -> None:
        """Answer a request that was taken: it failed. Sends what fits."""
        self._answer(
            request, encode_reply(request.cookie, wire_error(error, to_agent=self._to_agent))
        )

    def close(self, reason: str | None) -> None:
        """Drop the connection, and all that was received or is unsent. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._watch(readable=False, writable=False)
        self._client.close()
        self._received.clear()
        self._outbox.clear()
        self._unsent_bytes = self._received_bytes = 0
        self._decoder = None
        self._count_held()
        self._on_closed(self, reason)

    def _answer(self, request: Request, *parts: Buffer) -> None:
        self._under_way_count -= 1
        self._under_way_bytes -= _data_bytes(request)
        self._send(*parts)
        self._count_held()
        if self._outbox or self._leaving:
            self.settle()

    def _send(self, *parts: Buffer) -> None:
        if self.closed:
            return
        sent_bytes = 0
        if not self._outbox:
            self._sent_s = time.monotonic()
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
        self._count_held()
        self.settle()

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
            self._sent_s = time.monotonic()
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
        self._received_s = time.monotonic()
        try:
            self._take_in(self._buffer[:received_bytes])
        except ProtocolError as error:
            self.close(str(error))

    def _take_in(self, data: Buffer) -> None:
        if self._handshake is not None:
            data = self._take_handshake(self._handshake, data)
        if self._decoder is None:
            return
        for message in self._decoder.receive(data):
            if self.closed:
                return
            if isinstance(message, Request):
                self._received.append(message)
                self._received_bytes += _sent_bytes(message)
                self._on_received(self)
            elif isinstance(message, Answered):
                self._send(encode_reply(message.cookie, message.error))
            elif isinstance(message, Disconnect):
                self._leaving = True

    def _take_handshake(self, handshake: ServerHandshake, data: Buffer) -> bytes:
        answer = handshake.receive(memoryview(data))
        self._leaving = handshake.aborted
        self._send(answer)
        if handshake.export is None:
            return b""
        self.disk_index = self._exports[handshake.export.name][0]
        self._to_agent = handshake.export.to_agent
        self._decoder = RequestDecoder(handshake.export)
        self._handshake = None
        self._on_greeted()
        return handshake.leftover

    def _lost(self, error: OSError) -> None:
        # A client that only probes the listener may leave before the handshake is over.
        curious = self._handshake is not None
        self.close(None if curious else f"the client disconnected: {error.strerror}")

    def settle(self) -> None:
        """After any change: leave if all is done, or watch for what can happen next."""
        if self.closed:
            return
        if self._leaving and not (self._received or self._under_way_count or self._outbox):
            self.close(None)
            return
        self._watch(readable=not (self._leaving or self._is_behind), writable=bool(self._outbox))

    def _has_room_for(self, request: Request) -> bool:
        more_bytes = _data_bytes(request) - _sent_bytes(request)
        return self._budget is None or self._budget.has_room(more_bytes)

    @property
    def _is_behind(self) -> bool:
        if self._budget is None:
            return False
        return (
            len(self._received) >= _BACKLOG_REQUESTS_MAX
            or self._received_bytes >= _BACKLOG_BYTES_MAX
            or len(self._outbox) >= _OUTBOX_PARTS_MAX
            # What has been begun has its room already, and gives none back before it is whole.
            or (self._budget.is_full and not self._is_within_payload)
        )

    @property
    def _is_within_payload(self) -> bool:
        return self._decoder is not None and self._decoder.held_bytes > 0

    def _count_held(self) -> None:
        """Report to the budget how much is held for this client."""
        if self._budget is None:
            return
        before_bytes = self._held_bytes
        self._held_bytes = self._received_bytes + self._under_way_bytes + self._unsent_bytes
        if self._decoder is not None:
            self._held_bytes += self._decoder.held_bytes
        self._budget.change(self._held_bytes - before_bytes)

    def _watch(self, *, readable: bool, writable: bool) -> None:
        if (readable, writable) == self._watched:
            return
        if readable and not self._watched[0]:
            self._received_s = time.monotonic()  # missing data until now is not the client's fault
        fd = self._client.fileno()
        if readable or writable:
            self._poller.register(fd, self._on_ready, readable=readable, writable=writable)
        else:
            # Not merely muted: poll reports a hang-up over and over.
            self._poller.unregister(fd)
        self._watched = (readable, writable)


def _data_bytes(request: Request) -> int:
    """Return the memory that a request takes while it is in flight."""
    has_data = request.operation in (Operation.READ, Operation.WRITE)
    return request.length_bytes if has_data else 0


def _sent_bytes(request: Request) -> int:
    """Return the memory that a request takes until then: the data that came with it."""
    return 0 if request.data is None else len(request.data)
