# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's NBD client by itself: what it sends, and where it puts what it receives."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import require_tool
from tests.support.agentlib import (
    AGENT_DIRECTORY,
    END_DEADLINE_S,
    EXIT_EMULATOR_LOST,
    EXIT_REFUSED,
    SANITIZE,
    STRICT,
)

HARNESS = Path(__file__).parent / "nbd_client_harness.c"
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
READ, WRITE, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 3, 4, 6
UNDER_WAY_MAX = 16384


class Asked(NamedTuple):
    command: int
    flags: int
    offset: int
    length: int
    parts: int


def data_at(offset: int, length: int) -> bytes:
    return bytes((offset + index) % 251 for index in range(length))


@pytest.fixture(scope="module", params=["plain", "sanitized"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client as a program of its own."""
    program = tmp_path_factory.mktemp("client") / f"client-{request.param}"
    flags = [*STRICT, *(SANITIZE if request.param == "sanitized" else [])]
    agent = [
        str(AGENT_DIRECTORY / "ours/emulator" / name) for name in ("nbd_client.c", "patience.c")
    ]
    command = [require_tool("gcc"), *flags, "-o", str(program), str(HARNESS), *agent]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    return program


class Client:
    """The client's process, and the other end of its socket."""

    def __init__(self, process: subprocess.Popen[str], server: socket.socket) -> None:
        self.process, self.server = process, server

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def ask(self, asked: Asked) -> tuple[int, bytes]:
        """Have a request sent; return its cookie, as sent and as said, and its data."""
        self.tell("ask " + " ".join(map(str, asked)))
        fields = REQUEST.unpack(self._receive(REQUEST.size))
        magic, flags, command, cookie, offset, length = fields
        assert (magic, flags, command) == (REQUEST_MAGIC, asked.flags, asked.command)
        assert (offset, length) == (asked.offset, asked.length)
        data = self._receive(length) if command == WRITE else b""
        assert self.hear() == ["sent", str(cookie)]
        return cookie, data

    def answer(self, cookie: int, message: bytes, numbers: random.Random) -> list[str]:
        """Send a reply in random pieces; return what the client made of it.

        At random, the client receives it before it is due.
        """
        sender = threading.Thread(target=self._send_in_pieces, args=(message, numbers))
        sender.start()
        self.tell(f"receive {cookie} {numbers.randrange(2)}")
        heard = self.hear()
        sender.join()
        return heard

    def _send_in_pieces(self, message: bytes, numbers: random.Random) -> None:
        while message:
            count = numbers.choice([1, 15, 16, 17, 4096, 100_000])
            self.server.sendall(message[:count])
            message = message[count:]

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self.server.recv(count - len(data))
        return data

    def last_words(self, status: int) -> str:
        _, stderr = self.process.communicate(timeout=END_DEADLINE_S)
        assert self.process.returncode == status
        return stderr


@contextmanager
def running(program: Path) -> Iterator[Client]:
    server, theirs = socket.socketpair()
    server.settimeout(END_DEADLINE_S)
    theirs.setblocking(False)
    process = subprocess.Popen(
        [program, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    theirs.close()
    try:
        yield Client(process, server)
    finally:
        process.kill()
        process.communicate()
        server.close()


def reply(cookie: int, error: int = 0, data: bytes = b"") -> bytes:
    return REPLY.pack(REPLY_MAGIC, error, cookie) + data


def random_request(numbers: random.Random) -> Asked:
    command = numbers.choice([READ, WRITE, FLUSH, TRIM, WRITE_ZEROES])
    offset = numbers.randrange(1 << 40)
    length = numbers.choice([1, 512, 4096, 70_000, 600_000])
    parts = numbers.choice([1, 2, 100, 1024]) if command in (READ, WRITE) else 0
    if command == FLUSH:
        offset = length = 0
    return Asked(command, numbers.choice([0, 1, 2, 3]), offset, length, parts)


@pytest.mark.parametrize("seed", range(5))
def test_requests_and_replies_in_any_order_and_pieces(program: Path, seed: int) -> None:
    numbers = random.Random(seed)
    waiting: dict[int, Asked] = {}
    asked_count = 0
    with running(program) as client:
        while asked_count < 60 or waiting:
            if asked_count < 60 and numbers.random() < 0.6:
                asked = random_request(numbers)
                cookie, data = client.ask(asked)
                assert cookie not in waiting
                if asked.command == WRITE:
                    assert data == data_at(asked.offset, asked.length)
                waiting[cookie] = asked
                asked_count += 1
            elif waiting:
                cookie = numbers.choice(sorted(waiting))
                asked = waiting.pop(cookie)
                error = numbers.choice([0, 0, 0, 5])
                is_data = asked.command == READ and not error
                data = numbers.randbytes(asked.length) if is_data else b""
                heard = client.answer(cookie, reply(cookie, error, data), numbers)
                assert heard[:3] == ["received", str(cookie), str(error)]
                if is_data:
                    assert heard[3] == data.hex()


def test_as_many_requests_as_are_allowed_and_one_more(program: Path) -> None:
    flush = Asked(FLUSH, 0, 0, 0, 0)
    with running(program) as client:
        cookies = [client.ask(flush)[0] for _ in range(UNDER_WAY_MAX)]
        assert len(set(cookies)) == UNDER_WAY_MAX
        assert client.answer(cookies[77], reply(cookies[77]), random.Random(1))[1] == str(
            cookies[77]
        )
        assert client.ask(flush)[0] == cookies[77]
        client.tell("ask 3 0 0 0 0")
        assert f"disk 7 has more than {UNDER_WAY_MAX}" in client.last_words(EXIT_REFUSED)


@pytest.mark.parametrize(
    ("announced", "message", "words"),
    [
        (0, bytes(16), "disk 7: unknown bytes"),
        (0, reply(5), "disk 7 got a reply to another request than was announced"),
        (0, reply(1 << 63), "disk 7 got a reply to another request than was announced"),
        (5, reply(5), "disk 7 got a reply to a request that was never sent"),
        (1 << 63, reply(1 << 63), "disk 7 got a reply to a request that was never sent"),
    ],
)
def test_what_is_not_a_reply_is_refused(
    program: Path, announced: int, message: bytes, words: str
) -> None:
    with running(program) as client:
        client.ask(Asked(READ, 0, 0, 512, 1))
        client.server.sendall(message)
        client.tell(f"receive {announced} 0")
        assert words in client.last_words(EXIT_REFUSED)


@pytest.mark.parametrize("sent_bytes", [0, 7, 16, 100])
def test_an_emulator_that_leaves_within_a_reply(program: Path, sent_bytes: int) -> None:
    with running(program) as client:
        cookie, _ = client.ask(Asked(READ, 0, 0, 512, 1))
        client.server.sendall(reply(cookie, 0, bytes(512))[:sent_bytes])
        client.server.close()
        client.tell(f"receive {cookie} 0")
        assert "the emulator closed disk 7" in client.last_words(EXIT_EMULATOR_LOST)


def test_an_emulator_that_leaves_before_a_request(program: Path) -> None:
    with running(program) as client:
        client.server.close()
        client.tell("ask 1 0 0 4096 1")
        assert "the emulator closed disk 7" in client.last_words(EXIT_EMULATOR_LOST)


def test_a_request_in_too_many_parts(program: Path) -> None:
    with running(program) as client:
        client.tell("ask 0 0 0 4096 1025")
        assert "disk 7: a request in more than 1024 parts" in client.last_words(EXIT_REFUSED)
