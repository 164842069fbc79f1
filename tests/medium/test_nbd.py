# SPDX-License-Identifier: GPL-2.0-or-later
"""The NBD wire, byte by byte: no socket is opened here.

Expected bytes are spelled out from the protocol document, not made with the code's own
structures, so that both would have to be wrong in the same way.
"""

from __future__ import annotations

import errno
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.nbd.export import Export
from freezingtime.nbd.handshake import ServerHandshake
from freezingtime.nbd.protocol import ProtocolError, wire_error
from freezingtime.nbd.transmission import (
    Answered,
    Disconnect,
    Message,
    RequestDecoder,
    encode_reply,
)
from freezingtime.request import Operation, Request

MIB = 2**20
DISK = Export("disk", 64 * MIB)
NATIVE = Export("native", 64 * MIB, min_block_bytes=4096)
READ_ONLY_DISK = Export("fixed", 64 * MIB, read_only=True)

# HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN
DISK_FLAGS = 0b101_0110_1101
# HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, CAN_MULTI_CONN, SEND_CACHE
READ_ONLY_FLAGS = 0b101_0000_1111

FIXED_NEWSTYLE_NO_ZEROES = pack(">I", 3)
EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY = 1, 2, 3, 5, 6, 7, 8
ACK, SERVER, REP_INFO = 1, 2, 3
ERR_UNSUP, ERR_INVALID, ERR_UNKNOWN = 2**31 + 1, 2**31 + 3, 2**31 + 6

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EPERM, EINVAL, ENOSPC = 1, 22, 28


def option(code: int, data: bytes = b"") -> bytes:
    return b"IHAVEOPT" + pack(">II", code, len(data)) + data


def option_reply(code: int, reply_type: int, data: bytes = b"") -> bytes:
    return bytes.fromhex("0003e889045565a9") + pack(">III", code, reply_type, len(data)) + data


def info_query(name: bytes, *info_types: int) -> bytes:
    count = len(info_types)
    return pack(">I", len(name)) + name + pack(f">H{count}H", count, *info_types)


def begun_handshake(*exports: Export) -> ServerHandshake:
    """A handshake whose client has sent its flags."""
    handshake = ServerHandshake({export.name: export for export in exports})
    assert handshake.receive(FIXED_NEWSTYLE_NO_ZEROES) == b""
    return handshake


def request(
    command: int, offset: int, length: int, *, flags: int = 0, cookie: int = 7, data: bytes = b""
) -> bytes:
    return pack(">IHHQQI", 0x25609513, flags, command, cookie, offset, length) + data


def comparable(message: Message) -> object:
    if isinstance(message, Request):
        data = None if message.data is None else bytes(message.data)
        return (
            message.operation,
            message.offset_bytes,
            message.length_bytes,
            data,
            message.fua,
            message.cookie,
        )
    return message


# --- Handshake ---


def test_the_greeting_offers_fixed_newstyle_without_zeroes() -> None:
    assert ServerHandshake({}).greeting() == b"NBDMAGICIHAVEOPT\x00\x03"


@pytest.mark.parametrize(
    ("export", "flags"), [(DISK, DISK_FLAGS), (READ_ONLY_DISK, READ_ONLY_FLAGS)]
)
def test_go_describes_the_export_and_enters_transmission(export: Export, flags: int) -> None:
    handshake = begun_handshake(DISK, READ_ONLY_DISK)
    query = info_query(export.name.encode(), 3)
    assert handshake.receive(option(GO, query) + b"later") == (
        option_reply(GO, REP_INFO, pack(">HQH", 0, 64 * MIB, flags))
        + option_reply(GO, REP_INFO, pack(">HIII", 3, 512, 4096, 32 * MIB))
        + option_reply(GO, ACK)
    )
    assert handshake.finished
    assert not handshake.aborted
    assert handshake.export is export
    assert handshake.leftover == b"later"


def test_info_describes_only_and_names_the_default_export() -> None:
    handshake = begun_handshake(DISK)
    assert handshake.receive(option(INFO, info_query(b"", 1))) == (
        option_reply(INFO, REP_INFO, pack(">HQH", 0, 64 * MIB, DISK_FLAGS))
        + option_reply(INFO, REP_INFO, pack(">HIII", 3, 512, 4096, 32 * MIB))
        + option_reply(INFO, REP_INFO, pack(">H", 1) + b"disk")
        + option_reply(INFO, ACK)
    )
    assert not handshake.finished


def test_an_unknown_export_is_refused_by_name_and_can_be_asked_for_again() -> None:
    handshake = begun_handshake(DISK, READ_ONLY_DISK)
    for name in (b"nothing", b""):
        assert handshake.receive(option(GO, info_query(name))) == option_reply(
            GO,
            ERR_UNKNOWN,
            f"unknown export {name.decode()!r}; available: 'disk', 'fixed'".encode(),
        )
    assert not handshake.finished
    handshake.receive(option(GO, info_query(b"fixed")))
    assert handshake.export is READ_ONLY_DISK


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        pack(">I", 100) + b"disk" + pack(">H", 0),
        pack(">I", 4) + b"disk",
        pack(">I", 4) + b"disk" + pack(">HH", 2, 3),
        info_query(b"disk") + b"x",
        info_query(b"\xff\xfe"),
    ],
)
def test_malformed_go_is_refused_and_the_handshake_goes_on(data: bytes) -> None:
    handshake = begun_handshake(DISK)
    reply = handshake.receive(option(GO, data))
    assert reply[8:16] == pack(">II", GO, ERR_INVALID)
    assert reply[20:].startswith(b"malformed request: ")
    assert not handshake.finished
    assert handshake.receive(option(LIST)).endswith(option_reply(LIST, ACK))


def test_list_names_every_export() -> None:
    handshake = begun_handshake(DISK, READ_ONLY_DISK)
    assert handshake.receive(option(LIST)) == (
        option_reply(LIST, SERVER, pack(">I", 4) + b"disk")
        + option_reply(LIST, SERVER, pack(">I", 5) + b"fixed")
        + option_reply(LIST, ACK)
    )
    assert handshake.receive(option(LIST, b"x")) == option_reply(
        LIST, ERR_INVALID, b"a list request must carry no data"
    )


@pytest.mark.parametrize("code", [STARTTLS, STRUCTURED_REPLY, 10, 99])
def test_an_unsupported_option_is_refused_politely(code: int) -> None:
    assert begun_handshake(DISK).receive(option(code, b"data")) == option_reply(
        code, ERR_UNSUP, f"option {code} is not supported".encode()
    )


def test_abort_is_acknowledged() -> None:
    handshake = begun_handshake(DISK)
    assert handshake.receive(option(ABORT)) == option_reply(ABORT, ACK)
    assert handshake.aborted
    assert not handshake.finished


@pytest.mark.parametrize(
    ("client_flags", "padding"), [(0, bytes(124)), (1, bytes(124)), (2, b""), (3, b"")]
)
def test_export_name_answers_the_old_way(client_flags: int, padding: bytes) -> None:
    handshake = ServerHandshake({"disk": DISK})
    answer = handshake.receive(pack(">I", client_flags) + option(EXPORT_NAME, b"disk"))
    assert answer == pack(">QH", 64 * MIB, DISK_FLAGS) + padding
    assert handshake.export is DISK


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (pack(">I", 4), "unknown handshake flags: 0x4"),
        (FIXED_NEWSTYLE_NO_ZEROES + bytes(16), "an option with bad magic 0x0000000000000000"),
        (
            FIXED_NEWSTYLE_NO_ZEROES + b"IHAVEOPT" + pack(">II", LIST, 2**32 - 1),
            "option 3 with 4294967295 bytes of data; at most 65536 are allowed",
        ),
        (
            FIXED_NEWSTYLE_NO_ZEROES + option(EXPORT_NAME, b"nothing"),
            "asked for unknown export 'nothing'; available: 'disk'",
        ),
        (FIXED_NEWSTYLE_NO_ZEROES + option(LIST) * 257, "more than 256 options"),
    ],
)
def test_a_hopeless_client_is_dropped_with_the_reason(sent: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        ServerHandshake({"disk": DISK}).receive(sent)


@given(st.data())
def test_the_handshake_does_not_depend_on_how_bytes_are_cut(data: st.DataObject) -> None:
    stream = (
        FIXED_NEWSTYLE_NO_ZEROES
        + option(STRUCTURED_REPLY)
        + option(LIST)
        + option(INFO, info_query(b"disk", 1, 3))
        + option(GO, info_query(b"disk"))
        + b"leftover"
    )
    whole = ServerHandshake({"disk": DISK})
    expected = whole.receive(stream)
    pieces = ServerHandshake({"disk": DISK})
    answers = b"".join(pieces.receive(piece) for piece in cut(data, stream))
    assert answers == expected
    assert pieces.export is whole.export is DISK
    assert pieces.leftover == whole.leftover == b"leftover"


@given(st.binary(max_size=200), st.booleans())
def test_no_garbage_breaks_the_handshake(garbage: bytes, as_option: bool) -> None:
    handshake = begun_handshake(DISK)
    if as_option and garbage:
        garbage = option(garbage[0] % 12, garbage[1:])
    try:
        handshake.receive(garbage)
    except ProtocolError as error:
        assert str(error).startswith("client ")  # noqa: PT017 -- either outcome is right


# --- Transmission ---


@pytest.mark.parametrize(
    ("sent", "operation", "fua"),
    [
        (request(READ, 512, 4096), Operation.READ, False),
        (request(READ, 512, 4096, flags=FUA), Operation.READ, False),
        (request(TRIM, 512, 4096), Operation.DISCARD, False),
        (request(TRIM, 512, 4096, flags=FUA), Operation.DISCARD, True),
        (request(WRITE_ZEROES, 512, 4096), Operation.WRITE_ZEROES, False),
        (request(WRITE_ZEROES, 512, 4096, flags=FUA | NO_HOLE), Operation.WRITE_ZEROES, True),
    ],
)
def test_requests_without_data(sent: bytes, operation: Operation, fua: bool) -> None:
    (message,) = RequestDecoder(DISK).receive(sent)
    assert comparable(message) == (operation, 512, 4096, None, fua, 7)


@pytest.mark.parametrize("flags", [0, FUA])
def test_a_write_carries_its_data(flags: int) -> None:
    data = bytes(range(256)) * 4
    received = bytearray(request(WRITE, 1024, 1024, flags=flags, cookie=2**64 - 1, data=data))
    (message,) = RequestDecoder(DISK).receive(received)
    received[:] = bytes(len(received))
    assert comparable(message) == (Operation.WRITE, 1024, 1024, data, flags == FUA, 2**64 - 1)


def test_a_flush_has_no_range() -> None:
    (message,) = RequestDecoder(DISK).receive(request(FLUSH, 0, 0))
    assert comparable(message) == (Operation.FLUSH, 0, 0, None, False, 7)


@pytest.mark.parametrize(
    ("command", "offset", "length"),
    [
        (READ, 64 * MIB - 512, 512),
        (READ, 0, 32 * MIB),
        (TRIM, 0, 64 * MIB),
        (WRITE_ZEROES, 0, 64 * MIB),
    ],
)
def test_the_largest_and_the_last_request_are_served(
    command: int, offset: int, length: int
) -> None:
    (message,) = RequestDecoder(DISK).receive(request(command, offset, length))
    assert isinstance(message, Request)


@pytest.mark.parametrize(
    ("export", "sent", "error", "reason"),
    [
        (DISK, request(READ, 64 * MIB, 512), EINVAL, "go beyond the end at 67108864"),
        (DISK, request(READ, 2**64 - 512, 512), EINVAL, "go beyond the end at 67108864"),
        (DISK, request(TRIM, 512, 64 * MIB), EINVAL, "go beyond the end at 67108864"),
        (DISK, request(WRITE_ZEROES, 512, 64 * MIB), ENOSPC, "go beyond the end at 67108864"),
        (DISK, request(READ, 0, 1000), EINVAL, "are not both multiples of 512"),
        (DISK, request(READ, 100, 512), EINVAL, "are not both multiples of 512"),
        (NATIVE, request(READ, 4096, 512), EINVAL, "are not both multiples of 4096"),
        (NATIVE, request(TRIM, 512, 4096), EINVAL, "are not both multiples of 4096"),
        (DISK, request(READ, 0, 0), EINVAL, "the length is 0"),
        (DISK, request(WRITE, 0, 0), EINVAL, "the length is 0"),
        (DISK, request(READ, 0, 32 * MIB + 512), EINVAL, "length 33554944 is more than 33554432"),
        (DISK, request(FLUSH, 0, 512), EINVAL, "a flush must have offset 0 and length 0"),
        (DISK, request(FLUSH, 512, 0), EINVAL, "a flush must have offset 0 and length 0"),
        (DISK, request(CACHE, 64 * MIB, 512), EINVAL, "go beyond the end at 67108864"),
        (DISK, request(BLOCK_STATUS, 0, 512), EINVAL, "unknown command 7"),
        (DISK, request(99, 0, 512), EINVAL, "unknown command 99"),
        (DISK, request(READ, 0, 512, flags=DF), EINVAL, "flags 0x4 are not valid for command 0"),
        (
            DISK,
            request(TRIM, 0, 512, flags=NO_HOLE),
            EINVAL,
            "flags 0x2 are not valid for command 4",
        ),
        (DISK, request(WRITE_ZEROES, 0, 512, flags=FAST_ZERO), EINVAL, "flags 0x10 are not valid"),
        (READ_ONLY_DISK, request(TRIM, 0, 512), EPERM, "the export is read-only"),
        (READ_ONLY_DISK, request(WRITE_ZEROES, 0, 512), EPERM, "the export is read-only"),
    ],
)
def test_a_bad_request_is_rejected_with_the_reason(
    export: Export, sent: bytes, error: int, reason: str
) -> None:
    fine = request(READ, 0, export.min_block_bytes)
    rejected, good = RequestDecoder(export).receive(sent + fine)
    assert isinstance(rejected, Answered)
    assert (rejected.cookie, rejected.error) == (7, error)
    assert rejected.reason.endswith(reason) or rejected.reason.startswith(reason)
    assert isinstance(good, Request)


def test_advice_to_cache_is_done_at_once() -> None:
    (answered,) = RequestDecoder(DISK).receive(request(CACHE, 0, 4096))
    assert isinstance(answered, Answered)
    assert (answered.cookie, answered.error) == (7, 0)


@pytest.mark.parametrize(
    ("export", "offset", "length", "flags", "error"),
    [
        (DISK, 64 * MIB, 512, 0, ENOSPC),
        (DISK, 0, 1000, 0, EINVAL),
        (DISK, 0, 32 * MIB + 512, 0, EINVAL),
        (DISK, 0, 512, NO_HOLE, EINVAL),
        (READ_ONLY_DISK, 0, 512, 0, EPERM),
    ],
)
def test_the_data_of_a_rejected_write_is_not_taken_for_requests(
    export: Export, offset: int, length: int, flags: int, error: int
) -> None:
    bad_write = request(WRITE, offset, length, flags=flags, data=b"%" * length)
    rejected, good = RequestDecoder(export).receive(bad_write + request(READ, 0, 512))
    assert isinstance(rejected, Answered)
    assert rejected.error == error
    assert isinstance(good, Request)


def test_nothing_comes_after_a_disconnect() -> None:
    decoder = RequestDecoder(DISK)
    sent = request(FLUSH, 0, 0) + request(DISC, 0, 0) + b"anything"
    flush, disconnect = decoder.receive(sent)
    assert isinstance(flush, Request)
    assert disconnect == Disconnect()
    assert decoder.receive(b"more") == []


def test_bad_magic_drops_the_connection() -> None:
    with pytest.raises(ProtocolError, match=r"^client sent a request with bad magic 0x00000000$"):
        RequestDecoder(DISK).receive(bytes(28))


def test_replies_are_packed_as_the_protocol_says() -> None:
    assert encode_reply(0x0102030405060708, 0) == bytes.fromhex("67446698000000000102030405060708")
    assert encode_reply(1, ENOSPC) == bytes.fromhex("674466980000001c0000000000000001")


@pytest.mark.parametrize(
    ("host_errno", "error"),
    [
        (errno.EIO, 5),
        (errno.ENOSPC, 28),
        (errno.EDQUOT, 28),
        (errno.EFBIG, 28),
        (errno.EROFS, 1),
        (errno.EOPNOTSUPP, 95),
        (errno.EBADF, 5),
    ],
)
def test_failures_of_a_medium_have_a_number_on_the_wire(host_errno: int, error: int) -> None:
    assert wire_error(OSError(host_errno, "text")) == error


def test_a_failure_without_a_number_is_an_io_error() -> None:
    assert wire_error(OSError("text")) == 5


def cut(data: st.DataObject, stream: bytes) -> list[bytes]:
    """Cut the stream into pieces at places that Hypothesis picks."""
    places = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=20)))
    return [
        stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)
    ]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, good or bad, with its data if it is a write."""
    command = draw(st.sampled_from([READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, 50]))
    offset = draw(st.sampled_from([0, 1, 512, 4096, 64 * MIB - 512, 64 * MIB]))
    length = draw(st.sampled_from([0, 100, 512, 1024]))
    flags = draw(st.sampled_from([0, FUA, NO_HOLE]))
    data = draw(st.binary(min_size=length, max_size=length)) if command == WRITE else b""
    cookie = draw(st.integers(0, 2**64 - 1))
    return request(command, offset, length, flags=flags, cookie=cookie, data=data)


@given(st.lists(requests(), min_size=1, max_size=8), st.data())
def test_requests_do_not_depend_on_how_bytes_are_cut(
    sent: list[bytes], data: st.DataObject
) -> None:
    one_by_one = [RequestDecoder(DISK).receive(one) for one in sent]
    assert all(len(messages) == 1 for messages in one_by_one)
    expected = [comparable(messages[0]) for messages in one_by_one]
    decoder = RequestDecoder(DISK)
    pieces = cut(data, b"".join(sent))
    found = [comparable(message) for piece in pieces for message in decoder.receive(piece)]
    assert found == expected


@given(
    st.sampled_from([READ, TRIM, WRITE_ZEROES]),
    st.integers(0, 64 * MIB // 512 - 1),
    st.integers(1, 64),
    st.booleans(),
    st.integers(0, 2**64 - 1),
)
def test_every_good_request_comes_through_unchanged(
    command: int, sector: int, sectors: int, fua: bool, cookie: int
) -> None:
    offset, length = sector * 512, min(sectors * 512, 64 * MIB - sector * 512)
    sent = request(command, offset, length, flags=FUA * fua, cookie=cookie)
    (message,) = RequestDecoder(DISK).receive(sent)
    expected_fua = fua and command != READ
    assert comparable(message) == (Operation(command), offset, length, None, expected_fua, cookie)


@given(st.lists(st.binary(max_size=100), max_size=10), st.booleans())
def test_no_garbage_breaks_the_decoder(pieces: list[bytes], with_magic: bool) -> None:
    """Whatever comes is a request within the disk, or rejected, or drops the connection."""
    decoder = RequestDecoder(DISK)
    for piece in pieces:
        try:
            messages = decoder.receive(pack(">I", 0x25609513) + piece if with_magic else piece)
        except ProtocolError:
            return
        for message in messages:
            if isinstance(message, Request):
                assert message.end_bytes <= DISK.size_bytes


# --- Exports ---


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "x", "size_bytes": 1000}, "size of 1000 bytes is not a positive multiple of 512"),
        ({"name": "x", "size_bytes": 0}, "size of 0 bytes is not a positive multiple of 512"),
        ({"name": "x" * 4097, "size_bytes": 512}, "name is longer than 4096 bytes"),
        (
            {"name": "x", "size_bytes": 512, "max_block_bytes": 512},
            "block sizes are not in ascending order",
        ),
    ],
)
def test_an_impossible_export_is_refused(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Export(**arguments)  # type: ignore[arg-type]
