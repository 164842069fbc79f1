# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent by itself: when it refuses to work, and when it leaves others alone.

No guest is needed: QEMU's machine is built and never runs.
"""

from __future__ import annotations

import itertools
import os
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
from freezingtime.clock.virtual import VirtualClock
from freezingtime.units import NEVER_NS
from tests.conftest import require_tool
from tests.support.agentlib import (
    AGENT_DIRECTORY,
    AGENT_SOURCES,
    CURE,
    END_DEADLINE_S,
    EXIT_EMULATOR_LOST,
    EXIT_REFUSED,
    STRICT,
)

STOPPED = "-S"
MACHINE = [
    *("-nodefaults", "-no-user-config", STOPPED),
    *("-display", "none", "-machine", "pc", "-m", "16M"),
]
ICOUNT = ["-icount", "shift=0,sleep=off"]


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
        self.assert_refused(result, "does not export icount_get", CURE)

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

    @pytest.mark.parametrize("setting", ["RATE_HZ", "START_NS", "TSC_KHZ", "NBD_PREFIX"])
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

    def test_qemu_with_another_nbd_driver(
        self, qemu: str, emulator: FakeEmulator, tmp_path: Path
    ) -> None:
        """The driver is known by its content: here, its name is another."""
        changed = tmp_path / "qemu"
        changed.write_bytes(Path(qemu).read_bytes().replace(b"nbd\0", b"nbx\0"))
        changed.chmod(0o755)
        result = run([str(changed), "--version"], environment(emulator.name))
        self.assert_refused(result, "NBD driver is not one that the agent knows", CURE)

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
        agent.send(protocol.encode_order(None, []))
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
            protocol.ORDER.pack(protocol.MAGIC, protocol.VERSION + 1, 0, 0, 0, 0, 0, 0, 0),
            protocol.ORDER.pack(protocol.MAGIC + 1, protocol.VERSION, 0, 0, 0, 0, 0, 0, 0),
            protocol.encode_order(None, [])[:-1],
            protocol.encode_order(None, [], commands=["{}"])[:-1] + b"}",
        ],
        ids=["version", "magic", "short", "a command without end"],
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
        agent.send(protocol.encode_order(None, []))
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
        header = (AGENT_DIRECTORY / "ours/emulator/protocol.h").read_text()
        code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
        assert set(re.findall(r"\bFT_\w+", code)) == set(CONSTANTS)
        for name, body in re.findall(r"struct (\w+) \{(.*?)\}", code, flags=re.DOTALL):
            assert re.findall(r"(\w+);", body) == STRUCTS[name][1]


CONSTANTS = {
    "FT_MAGIC": protocol.MAGIC,
    "FT_VERSION": protocol.VERSION,
    "FT_MAX_STAMPS": protocol.MAX_STAMPS,
    "FT_MAX_REPLIES": protocol.MAX_REPLIES,
    "FT_MAX_SCHEDULED": protocol.MAX_SCHEDULED,
    "FT_MAX_COMMAND_BYTES": protocol.MAX_COMMAND_BYTES,
    "FT_NEVER": NEVER_NS,
    **{f"FT_REPORT_{flag.name}": int(flag) for flag in protocol.ReportFlag},
    **{f"FT_STAMP_{flag.name}": int(flag) for flag in protocol.StampFlag},
    **{f"FT_ORDER_{flag.name}": int(flag) for flag in protocol.OrderFlag},
}

_HEAD = ["magic", "version", "flags"]
STRUCTS = {
    "ft_report": (
        protocol.REPORT,
        [*_HEAD, "now_ns", "warped_ns", "stamp_count", "reserved", "kvm"],
    ),
    "ft_kvm_account": (protocol.KVM_ACCOUNT, list(protocol.KvmAccount._fields)),
    "ft_stamp": (protocol.STAMP, ["disk", "flags", "cookie", "time_ns", "warped_ns"]),
    "ft_order": (
        protocol.ORDER,
        [
            *(*_HEAD, "next_event_ns", "rate_hz", "reply_count", "scheduled_count"),
            *("command_bytes", "reserved"),
        ],
    ),
    "ft_reply": (protocol.REPLY, ["disk", "cookie"]),
    "ft_scheduled_reply": (protocol.SCHEDULED_REPLY, ["disk", "cookie", "time_ns"]),
}


def member_offsets(layout: struct.Struct) -> list[int]:
    """Where each member of a packed layout begins."""
    order, members = layout.format[0], re.findall(r"\d*\w", layout.format[1:])
    sizes = [struct.calcsize(order + member) for member in members]
    return list(itertools.accumulate(sizes, initial=0))[:-1]


def compiled_values(expressions: dict[str, int], directory: Path) -> dict[str, int]:
    """What the compiler makes of C expressions over protocol.h."""
    prints = "".join(
        f'    printf("%lld\\n", (long long)({expression}));\n' for expression in expressions
    )
    source = directory / "values.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "ours/emulator/protocol.h"\n'
        f"int main(void)\n{{\n{prints}    return 0;\n}}\n"
    )
    program = directory / "values"
    command = [require_tool("gcc"), "-std=c11", f"-I{AGENT_DIRECTORY}", "-o", str(program)]
    subprocess.run([*command, str(source)], check=True, timeout=END_DEADLINE_S)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict(zip(expressions, map(int, output.split()), strict=True))
