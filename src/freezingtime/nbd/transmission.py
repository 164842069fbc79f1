# SPDX-License-Identifier: GPL-2.0-or-later
"""The transmission phase: bytes to checked requests, and results to replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from freezingtime.nbd.export import Export
from freezingtime.nbd.protocol import (
    NBD_CMD_CACHE,
    NBD_CMD_DISC,
    NBD_CMD_FLAG_FUA,
    NBD_CMD_FLAG_NO_HOLE,
    NBD_CMD_FLUSH,
    NBD_CMD_READ,
    NBD_CMD_TRIM,
    NBD_CMD_WRITE,
    NBD_CMD_WRITE_ZEROES,
    NBD_EINVAL,
    NBD_ENOSPC,
    NBD_EPERM,
    NBD_REQUEST_MAGIC,
    NBD_SIMPLE_REPLY_MAGIC,
    NBD_SUCCESS,
    REQUEST_HEADER,
    SIMPLE_REPLY,
    ProtocolError,
)
from freezingtime.request import Buffer, Operation, Request

_OPERATIONS = {
    NBD_CMD_READ: Operation.READ,
    NBD_CMD_WRITE: Operation.WRITE,
    NBD_CMD_FLUSH: Operation.FLUSH,
    NBD_CMD_TRIM: Operation.DISCARD,
    NBD_CMD_CACHE: Operation.READ,
    NBD_CMD_WRITE_ZEROES: Operation.WRITE_ZEROES,
}
# The protocol has servers accept FUA on every command, also where it means nothing.
# NO_HOLE asks to keep the space; it is a matter of thrift, which a medium decides itself.
_ALLOWED_FLAGS = {
    NBD_CMD_READ: NBD_CMD_FLAG_FUA,
    NBD_CMD_WRITE: NBD_CMD_FLAG_FUA,
    NBD_CMD_FLUSH: NBD_CMD_FLAG_FUA,
    NBD_CMD_TRIM: NBD_CMD_FLAG_FUA,
    NBD_CMD_CACHE: NBD_CMD_FLAG_FUA,
    NBD_CMD_WRITE_ZEROES: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE,
}
_MODIFYING = frozenset({NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES})
_WITH_DATA = frozenset({NBD_CMD_READ, NBD_CMD_WRITE})
_WRITING = frozenset({NBD_CMD_WRITE, NBD_CMD_WRITE_ZEROES})


@dataclass(frozen=True, slots=True)
class Answered:
    """A request with nothing to do for a device: reply with ``error`` (0, if all is well).

    Nearly always one that cannot be served, for ``reason``.
    """

    cookie: int
    error: int
    reason: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client is done: finish what is in flight, then close. Nothing comes after it."""


Message: TypeAlias = Request | Answered | Disconnect


class RequestDecoder:
    """Turns what one client of ``export`` sends into requests, all of them checked."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._header = bytearray()  # the part of a header that has come
        self._awaiting_payload: Request | Answered | None = None
        self._payload = memoryview(b"")  # the part of its payload yet to be filled
        self._dropped_bytes = 0  # how much of its payload is yet to be thrown away
        self._disconnected = False

    @property
    def held_bytes(self) -> int:
        """Return the bytes taken for a payload that is not complete yet."""
        message = self._awaiting_payload
        if not isinstance(message, Request) or message.data is None:
            return 0
        return len(message.data)

    def receive(self, data: Buffer) -> list[Message]:
        """Take in what the client sent, in pieces of any size; return what is now complete.

        ``data`` may be reused afterwards. Raises :class:`ProtocolError` when the
        connection must be dropped.
        """
        messages: list[Message] = []
        rest = memoryview(data)
        while rest and not self._disconnected:
            if self._awaiting_payload is None:
                rest = self._take_header(rest, messages)
            else:
                rest = self._take_payload(rest, self._awaiting_payload, messages)
        return messages

    def _take_header(self, data: memoryview, messages: list[Message]) -> memoryview:
        missing_bytes = REQUEST_HEADER.size - len(self._header)
        if len(data) < missing_bytes:
            self._header += data
            return data[len(data) :]
        if self._header:
            fields = REQUEST_HEADER.unpack(self._header + data[:missing_bytes])
            self._header.clear()
        else:
            fields = REQUEST_HEADER.unpack_from(data)
        self._begin_message(fields, messages)
        return data[missing_bytes:]

    def _take_payload(
        self, data: memoryview, message: Request | Answered, messages: list[Message]
    ) -> memoryview:
        if self._dropped_bytes:
            taken_bytes = min(len(data), self._dropped_bytes)
            self._dropped_bytes -= taken_bytes
        else:
            taken_bytes = min(len(data), len(self._payload))
            self._payload[:taken_bytes] = data[:taken_bytes]
            self._payload = self._payload[taken_bytes:]
        if not (self._dropped_bytes or self._payload):
            messages.append(message)
            self._awaiting_payload = None
        return data[taken_bytes:]

    def _begin_message(self, fields: tuple[int, ...], messages: list[Message]) -> None:
        """Act on a complete header: its message is complete too, unless a payload follows."""
        magic, flags, command, cookie, offset_bytes, length_bytes = fields
        if magic != NBD_REQUEST_MAGIC:
            raise ProtocolError(f"client sent a request with bad magic {magic:#010x}")
        if command == NBD_CMD_DISC:
            self._disconnected = True
            messages.append(Disconnect())
            return
        fault = _find_fault(self._export, command, flags, offset_bytes, length_bytes)
        message: Request | Answered
        if fault is None:
            fua = command in _MODIFYING and bool(flags & NBD_CMD_FLAG_FUA)
            message = Request(
                _OPERATIONS[command], offset_bytes, length_bytes, fua=fua, cookie=cookie
            )
        else:
            message = Answered(cookie, *fault)
        if command == NBD_CMD_CACHE and fault is None:
            # Advice to read ahead; where it is not needed it is done as soon as given.
            message = Answered(cookie, NBD_SUCCESS, "nothing to do")
        if command == NBD_CMD_WRITE and length_bytes > 0:
            self._await_payload(message, length_bytes)
        else:
            messages.append(message)

    def _await_payload(self, message: Request | Answered, length_bytes: int) -> None:
        """Make ready to fill in a write's data, or to throw it away if the write is rejected."""
        self._awaiting_payload = message
        if isinstance(message, Request):
            message.data = bytearray(length_bytes)
            self._payload = memoryview(message.data)
        else:
            self._dropped_bytes = length_bytes


def encode_reply(cookie: int, error: int) -> bytes:
    """Pack a simple reply: ``error`` is 0 or an NBD error number.

    The data of a successful read follows it and is sent apart.
    """
    return SIMPLE_REPLY.pack(NBD_SIMPLE_REPLY_MAGIC, error, cookie)


def _find_fault(
    export: Export, command: int, flags: int, offset_bytes: int, length_bytes: int
) -> tuple[int, str] | None:
    """Check a request; return the NBD error number and the reason if it cannot be served.

    Nothing behind this function checks a request again.
    """
    if command not in _OPERATIONS:
        return NBD_EINVAL, f"unknown command {command}"
    if flags & ~_ALLOWED_FLAGS[command]:
        return NBD_EINVAL, f"flags {flags:#x} are not valid for command {command}"
    if command == NBD_CMD_FLUSH:
        if offset_bytes or length_bytes:
            return NBD_EINVAL, "a flush must have offset 0 and length 0"
        return None
    if export.read_only and command in _MODIFYING:
        return NBD_EPERM, "the export is read-only"
    if length_bytes == 0:
        return NBD_EINVAL, "the length is 0"
    if offset_bytes % export.min_block_bytes or length_bytes % export.min_block_bytes:
        return NBD_EINVAL, (
            f"offset {offset_bytes} and length {length_bytes} are not both multiples "
            f"of {export.min_block_bytes}"
        )
    if command in _WITH_DATA and length_bytes > export.max_block_bytes:
        return NBD_EINVAL, f"length {length_bytes} is more than {export.max_block_bytes}"
    if offset_bytes + length_bytes > export.size_bytes:
        error = NBD_ENOSPC if command in _WRITING else NBD_EINVAL
        return error, (
            f"offset {offset_bytes} and length {length_bytes} go beyond the end "
            f"at {export.size_bytes}"
        )
    return None
