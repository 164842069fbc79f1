# SPDX-License-Identifier: GPL-2.0-or-later
"""The handshake phase: fixed newstyle negotiation, from greeting to chosen export."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from freezingtime.nbd.export import Export
from freezingtime.nbd.protocol import (
    CLIENT_FLAGS,
    EXPORT_NAME_REPLY,
    GREETING,
    IHAVEOPT,
    INFO_BLOCK_SIZE,
    INFO_EXPORT,
    NBD_FLAG_C_FIXED_NEWSTYLE,
    NBD_FLAG_C_NO_ZEROES,
    NBD_FLAG_FIXED_NEWSTYLE,
    NBD_FLAG_NO_ZEROES,
    NBD_INFO_BLOCK_SIZE,
    NBD_INFO_EXPORT,
    NBD_INFO_NAME,
    NBD_OPT_ABORT,
    NBD_OPT_EXPORT_NAME,
    NBD_OPT_GO,
    NBD_OPT_INFO,
    NBD_OPT_LIST,
    NBD_REP_ACK,
    NBD_REP_ERR_INVALID,
    NBD_REP_ERR_UNKNOWN,
    NBD_REP_ERR_UNSUP,
    NBD_REP_INFO,
    NBD_REP_MAGIC,
    NBD_REP_SERVER,
    NBDMAGIC,
    OPTION_HEADER,
    OPTION_REPLY_HEADER,
    ProtocolError,
)

# Longer than any option that makes sense; a client that sends more is broken or hostile.
_OPTION_DATA_BYTES_MAX = 64 * 1024
_OPTIONS_MAX = 256
_KNOWN_CLIENT_FLAGS = NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES
# What follows the answer to NBD_OPT_EXPORT_NAME, unless both sides agreed on NO_ZEROES.
_EXPORT_NAME_PADDING = bytes(124)


class ServerHandshake:
    """One connection's handshake. Send :meth:`greeting`, then what :meth:`receive` returns.

    It is over when ``finished`` is true: the client has chosen ``export``, and
    ``leftover`` holds what it has sent since, which belongs to the transmission phase. Or
    when ``aborted`` is true: the client has taken its leave; close the connection.
    """

    def __init__(self, exports: Mapping[str, Export]) -> None:
        self._exports = exports
        self._received = bytearray()
        self._has_client_flags = False
        self._without_padding = False
        self._options_count = 0
        self.export: Export | None = None
        self.aborted = False

    @property
    def finished(self) -> bool:
        """Return whether the client has chosen an export."""
        return self.export is not None

    @property
    def leftover(self) -> bytes:
        """Return the bytes that have been received and not used."""
        return bytes(self._received)

    def greeting(self) -> bytes:
        """Return the server's greeting."""
        return GREETING.pack(NBDMAGIC, IHAVEOPT, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)

    def receive(self, data: bytes | memoryview) -> bytes:
        """Process the client's data, in pieces of any size; return the answer.

        Raises :class:`ProtocolError` when the connection must be dropped.
        """
        self._received += data
        if not (self._has_client_flags or self._take_client_flags()):
            return b""
        replies = bytearray()
        while not (self.finished or self.aborted):
            option = self._take_option()
            if option is None:
                break
            replies += self._answer(option)
        return bytes(replies)

    def _take(self, size_bytes: int) -> bytes:
        taken = bytes(self._received[:size_bytes])
        del self._received[:size_bytes]
        return taken

    def _take_client_flags(self) -> bool:
        """Take the client's flags from what was received; False until they are complete."""
        if len(self._received) < CLIENT_FLAGS.size:
            return False
        (flags,) = CLIENT_FLAGS.unpack(self._take(CLIENT_FLAGS.size))
        if flags & ~_KNOWN_CLIENT_FLAGS:
            raise ProtocolError(f"client sent unknown handshake flags: {flags:#x}")
        self._has_client_flags = True
        self._without_padding = bool(flags & NBD_FLAG_C_NO_ZEROES)
        return True

    def _take_option(self) -> _Option | None:
        """Take the next option from what was received; None until it is complete."""
        if len(self._received) < OPTION_HEADER.size:
            return None
        magic, code, length_bytes = OPTION_HEADER.unpack_from(self._received)
        if magic != IHAVEOPT:
            raise ProtocolError(f"client sent an option with bad magic {magic:#018x}")
        if length_bytes > _OPTION_DATA_BYTES_MAX:
            raise ProtocolError(
                f"client sent option {code} with {length_bytes} bytes of data; "
                f"at most {_OPTION_DATA_BYTES_MAX} are allowed"
            )
        if len(self._received) < OPTION_HEADER.size + length_bytes:
            return None
        self._options_count += 1
        if self._options_count > _OPTIONS_MAX:
            raise ProtocolError(f"client sent more than {_OPTIONS_MAX} options")
        self._take(OPTION_HEADER.size)
        return _Option(code, self._take(length_bytes))

    def _answer(self, option: _Option) -> bytes:
        """Return the whole answer to one option."""
        if option.code == NBD_OPT_EXPORT_NAME:
            return self._answer_export_name(option)
        if option.code == NBD_OPT_ABORT:
            self.aborted = True
            return _reply(option, NBD_REP_ACK)
        if option.code == NBD_OPT_LIST:
            return self._answer_list(option)
        if option.code in (NBD_OPT_INFO, NBD_OPT_GO):
            return self._answer_info(option)
        # TLS, structured replies and metadata contexts are among these.
        return _reply(option, NBD_REP_ERR_UNSUP, f"option {option.code} is not supported")

    def _answer_export_name(self, option: _Option) -> bytes:
        """Enter the transmission phase; this old option has no way to refuse."""
        name = option.data.decode(errors="replace")
        export = self._find_export(name)
        if export is None:
            raise ProtocolError(f"client asked for {self._unknown_export(name)}")
        self.export = export
        answer = EXPORT_NAME_REPLY.pack(export.size_bytes, export.transmission_flags)
        return answer if self._without_padding else answer + _EXPORT_NAME_PADDING

    def _answer_list(self, option: _Option) -> bytes:
        if option.data:
            return _reply(option, NBD_REP_ERR_INVALID, "a list request must carry no data")
        answers = [
            _reply(option, NBD_REP_SERVER, struct.pack(">I", len(name)) + name)
            for name in (export.name.encode() for export in self._exports.values())
        ]
        return b"".join(answers) + _reply(option, NBD_REP_ACK)

    def _answer_info(self, option: _Option) -> bytes:
        """Describe an export, and choose it if the option is NBD_OPT_GO."""
        try:
            query = _InfoQuery.unpack(option.data)
        except (struct.error, ValueError) as error:
            return _reply(option, NBD_REP_ERR_INVALID, f"malformed request: {error}")
        export = self._find_export(query.export_name)
        if export is None:
            return _reply(option, NBD_REP_ERR_UNKNOWN, self._unknown_export(query.export_name))
        if option.code == NBD_OPT_GO:
            self.export = export
        answers = [_reply(option, NBD_REP_INFO, info) for info in _describe(export, query)]
        return b"".join(answers) + _reply(option, NBD_REP_ACK)

    def _find_export(self, name: str) -> Export | None:
        """Return the export of that name; the empty name means the only one."""
        if name == "" and len(self._exports) == 1:
            return next(iter(self._exports.values()))
        return self._exports.get(name)

    def _unknown_export(self, name: str) -> str:
        known = ", ".join(repr(known) for known in self._exports) or "none"
        return f"unknown export {name[:80]!r}; available: {known}"


class _Option(NamedTuple):
    """One option as the client sent it."""

    code: int
    data: bytes


class _InfoQuery(NamedTuple):
    """The data of NBD_OPT_INFO and NBD_OPT_GO."""

    export_name: str
    info_types: tuple[int, ...]

    @classmethod
    def unpack(cls, data: bytes) -> _InfoQuery:
        """Raises struct.error or ValueError for malformed data."""
        (name_bytes,) = struct.unpack_from(">I", data)
        name_end = 4 + name_bytes
        (info_count,) = struct.unpack_from(">H", data, name_end)
        info_types = struct.unpack(f">{info_count}H", data[name_end + 2 :])
        return cls(data[4:name_end].decode(), info_types)


def _describe(export: Export, query: _InfoQuery) -> list[bytes]:
    """Return the description of ``export``, always with block sizes, since they are enforced."""
    infos = [
        INFO_EXPORT.pack(NBD_INFO_EXPORT, export.size_bytes, export.transmission_flags),
        INFO_BLOCK_SIZE.pack(
            NBD_INFO_BLOCK_SIZE,
            export.min_block_bytes,
            export.preferred_block_bytes,
            export.max_block_bytes,
        ),
    ]
    if NBD_INFO_NAME in query.info_types:
        infos.append(struct.pack(">H", NBD_INFO_NAME) + export.name.encode())
    return infos


def _reply(option: _Option, reply_type: int, data: bytes | str = b"") -> bytes:
    """Pack one option reply; the data of an error is a text for people."""
    payload = data.encode() if isinstance(data, str) else data
    return OPTION_REPLY_HEADER.pack(NBD_REP_MAGIC, option.code, reply_type, len(payload)) + payload
