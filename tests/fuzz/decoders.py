# SPDX-License-Identifier: GPL-2.0-or-later
"""All that reads bytes of others, each as a function of bytes: it may refuse them, and no more.

A decoder raises nothing but the errors that it documents; what it returns keeps its promises,
however the bytes come.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from freezingtime.application.read import read_figures
from freezingtime.clock.protocol import MAX_STAMPS, STAMP, decode_kvm_account, decode_report
from freezingtime.device.faults.rule import FaultTable
from freezingtime.device.faults.rule_text import parse_rule
from freezingtime.device.registry import describe
from freezingtime.errors import InputError, RunError
from freezingtime.host.foreign_tar import read_members
from freezingtime.images.disk_chain import read_chain
from freezingtime.nbd.export import Export
from freezingtime.nbd.handshake import ServerHandshake
from freezingtime.nbd.protocol import ProtocolError
from freezingtime.nbd.transmission import Disconnect, Message, RequestDecoder
from freezingtime.request import Operation, Request
from freezingtime.trace.readers import NO_HINTS, read_trace

_EXPORT = Export("disk", 1 << 24, min_block_bytes=512)
_REPLY_BYTES_MAX = 1 << 20


def handshake(data: bytes) -> None:
    """A client's options: the same answer in one piece and byte by byte."""
    answers = []
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        shaking = ServerHandshake({"disk": _EXPORT, "other": Export("other", 512)})
        answer, refused = shaking.greeting(), False
        try:
            for piece in pieces:
                answer += shaking.receive(piece)
        except ProtocolError:
            refused = True
        assert len(answer) < _REPLY_BYTES_MAX
        answers.append((None if refused else answer, refused, shaking.export, shaking.aborted))
    assert answers[0] == answers[1]


def requests(data: bytes) -> None:
    """A client's requests: each within the disk, and the same however they come."""
    seen = []
    for step in (len(data) or 1, 7):
        decoder = RequestDecoder(_EXPORT)
        messages: list[Message] = []
        with contextlib.suppress(ProtocolError):
            for at in range(0, len(data), step):
                messages += decoder.receive(data[at : at + step])
        for message in messages:
            if isinstance(message, Request):
                _check_request(message)
        seen.append([_comparable(message) for message in messages])
    # Of a piece with a bad request, nothing is said of those before it.
    shorter, longer = sorted(seen, key=len)
    assert longer[: len(shorter)] == shorter


def _check_request(request: Request) -> None:
    assert 0 <= request.offset_bytes <= request.end_bytes <= _EXPORT.size_bytes
    assert request.offset_bytes % 512 == request.length_bytes % 512 == 0
    assert (request.length_bytes > 0) == (request.operation is not Operation.FLUSH)
    assert (request.data is not None) == (request.operation is Operation.WRITE)
    assert request.data is None or len(request.data) == request.length_bytes


def _comparable(message: Message) -> tuple[object, ...]:
    if isinstance(message, Request):
        data = None if message.data is None else bytes(message.data)
        return (message.operation, message.offset_bytes, message.length_bytes, data, message.cookie)
    return ("end",) if isinstance(message, Disconnect) else (message.cookie, message.error)


def report(data: bytes) -> None:
    """What the agent reports."""
    try:
        decoded = decode_report(data)
    except RunError:
        return
    decode_kvm_account(decoded.kvm)
    assert len(data) >= len(decoded.stamps) * STAMP.size
    assert len(decoded.stamps) <= max(MAX_STAMPS, len(data) // STAMP.size)


def archive(data: bytes) -> None:
    """A tar archive that a guest hands over."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            for member in read_members(file):
                assert member.size >= 0
                assert not member.isreg() or member.offset_data + member.size <= len(data)
        except tarfile.ReadError:
            pass


def image(data: bytes) -> None:
    """A disk image: raw, qcow2 or another format; its files are all in its own directory."""
    with _file(data, "disk.img") as path:
        try:
            layers = read_chain(path, "image")
        except InputError:
            return
        for layer in layers:
            for found in (layer.path, layer.data_file):
                assert found is None or found.parent == path.parent.resolve()


def trace(data: bytes) -> None:
    """A trace of any format."""
    with _file(data, "trace") as path:
        try:
            found = read_trace(
                path,
                format_name=None,
                disk=None,
                hints=NO_HINTS,
                progress=lambda done, total: None,
                notify=lambda notice: None,
            )
        except InputError:
            return
        assert (found.length_bytes >= 0).all()
        assert (found.offset_bytes >= 0).all()


def device(data: bytes) -> None:
    """A description of a device; it is not built, which takes the time that it says."""
    with _file(data, "device.toml") as path, contextlib.suppress(InputError):
        describe(str(path)).traits()


def rule(data: bytes) -> None:
    """A rule of faults, as text."""
    with contextlib.suppress(InputError):
        FaultTable(parse_rule(data.decode(errors="replace")), "--fault").given()


def figures(data: bytes) -> None:
    """What a job prints of itself."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        said = read_figures("auto", [file], Path("/nonexistent"), [])
    assert len(said.notes) < 100


#: By the name of its corpus.
DECODERS: Mapping[str, Callable[[bytes], None]] = {
    decoder.__name__: decoder
    for decoder in (handshake, requests, report, archive, image, trace, device, rule, figures)
}


@contextlib.contextmanager
def _file(data: bytes, name: str) -> Iterator[Path]:
    """A file in a directory of its own; in memory where there is such a file system."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        path = Path(directory, name)
        path.write_bytes(data)
        yield path
