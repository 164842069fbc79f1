"""The agent by itself: when it refuses to work, when it leaves others alone, what it parses.

No guest is needed: QEMU's machine is built and never runs.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from freezingtime.clock import protocol
from freezingtime.clock.agent import agent_path
from freezingtime.clock.virtual import VirtualClock
from tests.conftest import require_tool

AGENT_DIRECTORY = agent_path().parent
AGENT_SOURCES = sorted(AGENT_DIRECTORY.glob("*.c"))
HARNESS = Path(__file__).parent / "agent" / "nbd_stream_harness.c"

STRICT = [
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow"),
    *("-Wconversion", "-Wno-sign-conversion", "-Werror"),
]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

EXIT_REFUSED = 64
EXIT_EMULATOR_LOST = 70

STOPPED = "-S"
MACHINE = [
    *("-nodefaults", "-no-user-config", STOPPED),
    *("-display", "none", "-machine", "pc", "-m", "16M"),
]
ICOUNT = ["-icount", "shift=0,sleep=off"]

END_DEADLINE_S = 60.0


def environment(socket_name: str, **changes: str) -> dict[str, str]:
    """What the virtual clock sets for QEMU, changed; an empty value unsets."""
    settings = VirtualClock.environment(
        socket_name=socket_name, nbd_prefix="nobody-", start_ns=0, rate_hz=1_000_000_000
    )
    merged = {**os.environ, **settings, **changes}
    return {name: value for name, value in merged.items() if value}


def run(command: Sequence[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=END_DEADLINE_S,
        check=False,
    )


@dataclass
class FakeEmulator:
    """The emulator's end of the control socket, played by the test."""

    name: str = field(default_factory=lambda: f"freezingtime-test-{uuid.uuid4().hex}")

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(f"\0{self.name}")
        self._listener.listen(1)
        self._listener.settimeout(END_DEADLINE_S)

    def accept(self) -> socket.socket:
        agent, _ = self._listener.accept()
        agent.settimeout(END_DEADLINE_S)
        return agent

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def emulator() -> Iterator[FakeEmulator]:
    emulator = FakeEmulator()
    yield emulator
    emulator.close()


@pytest.fixture
def qemu() -> str:
    return require_tool("qemu-system-x86_64")


@pytest.fixture
def started(qemu: str, emulator: FakeEmulator) -> Iterator[subprocess.Popen[str]]:
    """A QEMU that has everything that the agent wants."""
    process = subprocess.Popen(
        [qemu, *MACHINE, *ICOUNT],
        env=environment(emulator.name),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


class TestRefusals:
    def assert_refused(
        self, result: subprocess.CompletedProcess[str], *words: str, status: int = EXIT_REFUSED
    ) -> None:
        assert result.returncode == status, result.stderr
        line = result.stderr.splitlines()[-1]
        assert line.startswith("freezingtime agent: ")
        for word in words:
            assert word in line

    def test_program_that_is_no_qemu(self, emulator: FakeEmulator) -> None:
        result = run(["/bin/true"], environment(emulator.name))
        self.assert_refused(result, "does not export icount_get", "Debian 12's qemu-system-x86_64")

    def test_emulator_absent(self, qemu: str) -> None:
        result = run([qemu, "--version"], environment("nobody-is-there"))
        self.assert_refused(
            result, "@nobody-is-there", "Connection refused", status=EXIT_EMULATOR_LOST
        )

    def test_socket_name_too_long(self, qemu: str) -> None:
        result = run([qemu, "--version"], environment("x" * 108))
        self.assert_refused(result, "name is too long")

    @pytest.mark.parametrize(
        "rate", ["0", "999999", "16000000001", "fast", "4G", "1e9", "-1", "99999999999999999999"]
    )
    def test_bad_rate(self, qemu: str, emulator: FakeEmulator, rate: str) -> None:
        settings = environment(emulator.name, FREEZINGTIME_RATE_HZ=rate)
        result = run([qemu, "--version"], settings)
        self.assert_refused(result, f"FREEZINGTIME_RATE_HZ={rate}:", "from 1000000 to 16000000000")

    @pytest.mark.parametrize("setting", ["RATE_HZ", "START_NS", "NBD_PREFIX"])
    def test_setting_missing(self, qemu: str, emulator: FakeEmulator, setting: str) -> None:
        settings = environment(emulator.name, **{f"FREEZINGTIME_{setting}": ""})
        result = run([qemu, "--version"], settings)
        self.assert_refused(result, f"FREEZINGTIME_{setting} is not set")

    @pytest.mark.parametrize("icount", [[], ["-icount", "shift=auto"]])
    def test_without_exact_icount(
        self, qemu: str, emulator: FakeEmulator, icount: list[str]
    ) -> None:
        result = run([qemu, *MACHINE, *icount], environment(emulator.name))
        self.assert_refused(result, "does not count instructions", "-icount")

    def test_machine_that_runs(self, qemu: str, emulator: FakeEmulator) -> None:
        running = [argument for argument in MACHINE if argument != STOPPED]
        result = run([qemu, *running, *ICOUNT], environment(emulator.name))
        self.assert_refused(result, "already runs", "-S")


class TestExchange:
    """The first exchange with an emulator that then fails in one way or another."""

    def hello(self, emulator: FakeEmulator) -> socket.socket:
        agent = emulator.accept()
        report = protocol.decode_report(agent.recv(protocol.MAX_REPORT_BYTES))
        assert report.flags == protocol.ReportFlag.HELLO
        assert (report.now_ns, report.warped_ns, report.stamps) == (0, 0, [])
        return agent

    def last_words(self, process: subprocess.Popen[str], status: int) -> str:
        _, stderr = process.communicate(timeout=END_DEADLINE_S)
        assert process.returncode == status
        return stderr.splitlines()[-1]

    def test_emulator_leaves_without_an_answer(
        self, emulator: FakeEmulator, started: subprocess.Popen[str]
    ) -> None:
        self.hello(emulator).close()
        assert "the emulator is gone" in self.last_words(started, EXIT_EMULATOR_LOST)

    def test_emulator_leaves_an_idle_qemu(
        self, emulator: FakeEmulator, started: subprocess.Popen[str]
    ) -> None:
        agent = self.hello(emulator)
        agent.send(protocol.encode_order(None, 0))
        assert started.poll() is None
        agent.close()
        assert "the emulator is gone" in self.last_words(started, EXIT_EMULATOR_LOST)

    def test_emulator_leaves_before_it_accepts(
        self, emulator: FakeEmulator, started: subprocess.Popen[str]
    ) -> None:
        emulator.close()
        line = self.last_words(started, EXIT_EMULATOR_LOST)
        assert "the emulator is gone" in line or "cannot reach the emulator" in line

    @pytest.mark.parametrize(
        "order",
        [
            protocol.ORDER.pack(protocol.MAGIC, protocol.VERSION + 1, 0, 0, 0, 0, 0),
            protocol.ORDER.pack(protocol.MAGIC + 1, protocol.VERSION, 0, 0, 0, 0, 0),
            protocol.encode_order(None, 0)[:-1],
        ],
        ids=["version", "magic", "short"],
    )
    def test_emulator_of_another_version(
        self, emulator: FakeEmulator, started: subprocess.Popen[str], order: bytes
    ) -> None:
        agent = self.hello(emulator)
        agent.send(order)
        assert "another version" in self.last_words(started, EXIT_REFUSED)


class TestInert:
    def test_program_without_a_control_socket(self) -> None:
        result = run(["/bin/true"], environment("", FREEZINGTIME_RATE_HZ="nonsense"))
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    def test_qemu_without_a_control_socket(self, qemu: str) -> None:
        settings = environment("")
        assert "FREEZINGTIME_CONTROL" not in settings
        result = run([qemu, "--version"], settings)
        assert result.returncode == 0
        assert result.stdout.startswith("QEMU emulator version")
        assert result.stderr == ""

    def test_sockets_of_a_program_without_a_control_socket(self, tmp_path: Path) -> None:
        """The interposed calls pass bytes through unchanged, whatever they look like."""
        program = tmp_path / "talk.py"
        program.write_text(
            "import socket\n"
            "name = '\\0nobody-0-' + __import__('uuid').uuid4().hex\n"
            "listener = socket.socket(socket.AF_UNIX)\n"
            "listener.bind(name); listener.listen()\n"
            "client = socket.socket(socket.AF_UNIX); client.connect(name)\n"
            "server, _ = listener.accept()\n"
            "client.sendmsg([b'no ', b'NBD']); print(server.recvmsg(100)[0])\n"
        )
        result = run(["python3", str(program)], environment(""))
        assert (result.returncode, result.stdout) == (0, "b'no NBD'\n"), result.stderr

    def test_children_of_qemu(self, qemu: str, emulator: FakeEmulator, tmp_path: Path) -> None:
        output, whole = tmp_path / "part", tmp_path / "environment"
        process = subprocess.Popen(
            [qemu, *MACHINE, *ICOUNT, "-incoming", f"exec:env >{output} && mv {output} {whole}"],
            env=environment(emulator.name, OTHER="kept"),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        agent = emulator.accept()
        agent.recv(protocol.MAX_REPORT_BYTES)
        agent.send(protocol.encode_order(None, 0))
        deadline_s = time.monotonic() + END_DEADLINE_S
        while not whole.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        agent.close()
        process.wait(END_DEADLINE_S)
        names = {line.partition("=")[0] for line in whole.read_text().splitlines()}
        assert "OTHER" in names
        assert not {"LD_PRELOAD", "FREEZINGTIME_CONTROL"} & names


class TestSources:
    @pytest.mark.parametrize("compiler", ["gcc", "clang"])
    def test_no_warnings(self, compiler: str, tmp_path: Path) -> None:
        command = [require_tool(compiler), *STRICT, "-fPIC", "-shared", "-fvisibility=hidden"]
        libraries = ["-ldl", "-lpthread"]
        result = run(
            [*command, "-o", str(tmp_path / "agent.so"), *map(str, AGENT_SOURCES), *libraries],
            dict(os.environ),
        )
        assert (result.returncode, result.stderr) == (0, "")

    def test_protocol_is_the_same_in_both_languages(self, tmp_path: Path) -> None:
        """Every size, offset and constant of protocol.h, as the compiler sees it."""
        expected = dict(CONSTANTS)
        for name, (layout, members) in STRUCTS.items():
            expected[f"sizeof(struct {name})"] = layout.size
            for member, offset in zip(members, member_offsets(layout), strict=True):
                expected[f"offsetof(struct {name}, {member})"] = offset
        assert compiled_values(expected, tmp_path) == expected

    def test_nothing_in_the_header_is_missing_here(self) -> None:
        header = (AGENT_DIRECTORY / "protocol.h").read_text()
        code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
        assert set(re.findall(r"\bFT_\w+", code)) == set(CONSTANTS)
        for name, body in re.findall(r"struct (\w+) \{(.*?)\}", code, flags=re.DOTALL):
            assert re.findall(r"(\w+);", body) == STRUCTS[name][1]


CONSTANTS = {
    "FT_MAGIC": protocol.MAGIC,
    "FT_VERSION": protocol.VERSION,
    "FT_MAX_STAMPS": protocol.MAX_STAMPS,
    "FT_NEVER": protocol.NEVER_NS,
    **{f"FT_REPORT_{flag.name}": int(flag) for flag in protocol.ReportFlag},
    **{f"FT_STAMP_{flag.name}": int(flag) for flag in protocol.StampFlag},
    **{f"FT_ORDER_{flag.name}": int(flag) for flag in protocol.OrderFlag},
}

_HEAD = ["magic", "version", "flags"]
STRUCTS = {
    "ft_report": (
        protocol.REPORT,
        [*_HEAD, "now_ns", "warped_ns", "stamp_count", "reserved"],
    ),
    "ft_stamp": (protocol.STAMP, ["disk", "flags", "cookie", "time_ns"]),
    "ft_order": (
        protocol.ORDER,
        [*_HEAD, "next_event_ns", "rate_hz", "reply_count", "reserved"],
    ),
}


def member_offsets(layout: struct.Struct) -> list[int]:
    """Where each member of a packed layout begins."""
    order, members = layout.format[0], layout.format[1:]
    sizes = [struct.calcsize(order + member) for member in members]
    return list(itertools.accumulate(sizes, initial=0))[:-1]


def compiled_values(expressions: dict[str, int], directory: Path) -> dict[str, int]:
    """What the compiler makes of C expressions over protocol.h."""
    prints = "".join(
        f'    printf("%lld\\n", (long long)({expression}));\n' for expression in expressions
    )
    source = directory / "values.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "protocol.h"\n'
        f"int main(void)\n{{\n{prints}    return 0;\n}}\n"
    )
    program = directory / "values"
    command = [require_tool("gcc"), "-std=c11", f"-I{AGENT_DIRECTORY}", "-o", str(program)]
    subprocess.run([*command, str(source)], check=True, timeout=END_DEADLINE_S)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict(zip(expressions, map(int, output.split()), strict=True))


# The NBD stream reader, against a model that knows where each message ends.

READ, WRITE, DISCONNECT, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)
CLIENT_FLAGS = struct.pack(">I", 3)


def option(number: int, data: bytes) -> bytes:
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def option_reply(number: int, kind: int, data: bytes) -> bytes:
    return struct.pack(">QIII", 0x0003E889045565A9, number, kind, len(data)) + data


def request(command: int, cookie: int, length_bytes: int, data: bytes = b"") -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, 0, command, cookie, 1 << 40, length_bytes) + data


def reply(cookie: int, error: int = 0, data: bytes = b"") -> bytes:
    return struct.pack(">IIQ", 0x67446698, error, cookie) + data


@dataclass
class Conversation:
    """An NBD conversation cut into random chunks, and which messages end in which chunk."""

    numbers: random.Random
    chunks: list[tuple[str, bytes]] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    _unsent: dict[str, bytes] = field(default_factory=lambda: {"s": b"", "r": b""})
    _ends: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {"s": [], "r": []})
    _passed: dict[str, int] = field(default_factory=lambda: {"s": 0, "r": 0})

    def add(self, direction: str, data: bytes, cookie: int | None = None) -> None:
        """Append a message; one with a cookie must be reported where its last byte passes."""
        self._unsent[direction] += data
        if cookie is not None:
            end = self._passed[direction] + len(self._unsent[direction])
            self._ends[direction].append((end, cookie))

    def flush(self, direction: str, keep_bytes: int = 0) -> None:
        """Let pass what was added, in random pieces, but for the last ``keep_bytes``."""
        while len(self._unsent[direction]) > keep_bytes:
            rest_bytes = len(self._unsent[direction]) - keep_bytes
            limit_bytes = self.numbers.choice([1, 4, 28, 100, 5000])
            self._pass(direction, self.numbers.randint(1, min(rest_bytes, limit_bytes)))

    def _pass(self, direction: str, count: int) -> None:
        data = self._unsent[direction]
        chunk, self._unsent[direction] = data[:count], data[count:]
        self._passed[direction] += count
        while self._ends[direction] and self._ends[direction][0][0] <= self._passed[direction]:
            _, cookie = self._ends[direction].pop(0)
            self.expected.append(f"{len(self.chunks)} {direction} {cookie}")
        self.chunks.append((direction, chunk))

    def handshake(self) -> None:
        self.add("r", GREETING)
        self.flush("r")
        self.add("s", CLIENT_FLAGS)
        for number in (8, 7, 6):
            self.add("s", option(number, self.numbers.randbytes(self.numbers.randrange(30))))
            self.flush("s", self.numbers.randrange(4))
        self.flush("s")
        self.add("r", option_reply(7, 3, self.numbers.randbytes(self.numbers.randrange(30))))
        self.add("r", option_reply(7, 1, b""))
        self.flush("r")

    def transmission(self, request_count: int) -> None:
        waiting: dict[int, tuple[int, int]] = {}
        cookies = [self.numbers.getrandbits(64) for _ in range(request_count)]
        while cookies or waiting:
            if cookies and len(waiting) < 16 and self.numbers.random() < 0.6:
                cookie = cookies.pop()
                waiting[cookie] = self._ask(cookie)
            elif waiting:
                cookie = self.numbers.choice(sorted(waiting))
                self.flush("s")  # nobody answers what has not been asked
                self._answer(cookie, *waiting.pop(cookie))
        self.flush("s")
        self.flush("r")

    def _ask(self, cookie: int) -> tuple[int, int]:
        command = self.numbers.choice([READ, WRITE, FLUSH, TRIM, WRITE_ZEROES])
        length_bytes = 0 if command == FLUSH else self.numbers.choice([1, 512, 4096, 70_000])
        data = self.numbers.randbytes(length_bytes) if command == WRITE else b""
        self.add("s", request(command, cookie, length_bytes, data), cookie)
        self.flush("s", self.numbers.randrange(40))
        return command, length_bytes

    def _answer(self, cookie: int, command: int, length_bytes: int) -> None:
        error = self.numbers.choice([0, 0, 0, 5])
        data = self.numbers.randbytes(length_bytes) if command == READ and not error else b""
        self.add("r", reply(cookie, error, data), cookie)
        self.flush("r", self.numbers.randrange(40))

    def recording(self) -> bytes:
        return b"".join(
            direction.encode() + struct.pack("=I", len(chunk)) + chunk
            for direction, chunk in self.chunks
        )


@pytest.fixture(scope="module", params=["plain", "sanitized"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stream reader as a program of its own."""
    program = tmp_path_factory.mktemp("reader") / f"reader-{request.param}"
    flags = [*STRICT, *(SANITIZE if request.param == "sanitized" else [])]
    sources = [str(HARNESS), str(AGENT_DIRECTORY / "nbd_stream.c")]
    command = [require_tool("gcc"), *flags, f"-I{AGENT_DIRECTORY}", "-o", str(program)]
    subprocess.run([*command, *sources], check=True, timeout=END_DEADLINE_S)
    return program


def read_stream(reader: Path, recording: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [reader], input=recording, capture_output=True, check=False, timeout=END_DEADLINE_S
    )


class TestNbdStream:
    @pytest.mark.parametrize("seed", range(20))
    def test_messages_end_where_they_end(self, reader: Path, seed: int) -> None:
        conversation = Conversation(random.Random(seed))
        conversation.handshake()
        conversation.transmission(60)
        result = read_stream(reader, conversation.recording())
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.decode().splitlines() == conversation.expected
        assert len(conversation.expected) == 2 * 60

    def test_disconnection_waits_for_no_reply(self, reader: Path) -> None:
        conversation = Conversation(random.Random(1))
        conversation.handshake()
        conversation.transmission(3)
        conversation.add("s", request(DISCONNECT, 0, 0))
        conversation.flush("s")
        result = read_stream(reader, conversation.recording())
        assert result.returncode == 0
        assert result.stdout.decode().splitlines() == conversation.expected
        assert len(conversation.expected) == 2 * 3

    @pytest.mark.parametrize(
        ("direction", "data", "words"),
        [
            ("s", b"GET / HTTP/1.1\r\n\r\n", "unknown bytes"),
            ("r", b"\0" * 16, "unknown bytes"),
            ("r", reply(5), "reply to a request that was never sent"),
            ("s", b"".join(request(READ, i, 512) for i in range(257)), "more than 256 requests"),
        ],
    )
    def test_what_is_not_nbd_is_refused(
        self, reader: Path, direction: str, data: bytes, words: str
    ) -> None:
        conversation = Conversation(random.Random(1))
        conversation.handshake()
        conversation.add(direction, data)
        conversation.flush(direction)
        result = read_stream(reader, conversation.recording())
        assert result.returncode == EXIT_REFUSED
        assert words in result.stderr.decode()
        assert "disk 7" in result.stderr.decode()

    def test_as_many_requests_as_are_allowed(self, reader: Path) -> None:
        conversation = Conversation(random.Random(1))
        conversation.handshake()
        for cookie in range(256):
            conversation.add("s", request(READ, cookie, 512), cookie)
        conversation.flush("s")
        for cookie in range(256):
            conversation.add("r", reply(cookie, 0, bytes(512)), cookie)
        conversation.flush("r")
        result = read_stream(reader, conversation.recording())
        assert result.returncode == 0
        assert result.stdout.decode().splitlines() == conversation.expected
