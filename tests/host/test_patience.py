# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines do not run while whoever waits, or whoever is waited for, is stopped (Ctrl-Z)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from freezingtime.host import patience
from freezingtime.host.patience import Patience, wait_patiently
from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, STRICT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The host's monotonic clock, in one element; nothing moves it but the test."""
    now_s = [1000.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_deadline_passes(clock: list[float]) -> None:
    waiting = Patience(10.0)
    for _ in range(10):
        clock[0] += 1.0
        assert not waiting.is_over
    clock[0] += 1.0
    assert waiting.is_over


def test_a_stop_does_not_count(clock: list[float]) -> None:
    waiting = Patience(10.0)
    for _ in range(4):
        clock[0] += 3600.0
        assert not waiting.is_over


def test_a_sign_of_life_begins_anew(clock: list[float]) -> None:
    waiting = Patience(2.0)
    for _ in range(10):
        clock[0] += 1.5
        assert not waiting.is_over
        waiting.renew()


class StoppedWait(threading.Event):
    """In whose waiting the process is stopped for an hour each time; set at the fourth."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self._clock = clock
        self._left = 4

    def wait(self, timeout: float | None = None) -> bool:
        self._clock[0] += 3600.0
        self._left -= 1
        return self._left == 0


def test_waiting_for_an_event_outlasts_stops(clock: list[float]) -> None:
    assert wait_patiently(StoppedWait(clock), 60.0)
    assert not wait_patiently(StoppedWait(clock), 1.0)


# The agent's side: it waits for the emulator, which is at the other end of its control socket.

EMULATOR = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
connection, _ = listener.accept()
time.sleep(1000)
"""
HARNESS = r"""
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "ours/emulator/patience.h"

int main(int count, char **arguments)
{
    (void)count;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        return 2;
    }
    ft_patience_init(fd);
    return ft_poll_patiently(fd, POLLIN, 2) ? 0 : 1;
}
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", EMULATOR, str(tmp_path / "control")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


@pytest.fixture
def agent(tmp_path: Path, emulator: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends with 1 when the emulator has not said anything for 2 s, stops not counted."""
    source, program = tmp_path / "harness.c", tmp_path / "harness"
    source.write_text(HARNESS)
    subprocess.run(
        [
            *(require_tool("gcc"), *STRICT, f"-I{AGENT_DIRECTORY}", "-o", str(program)),
            *(str(source), str(AGENT_DIRECTORY / "ours/emulator/patience.c")),
        ],
        check=True,
        timeout=60,
    )
    emulator.send_signal(signal.SIGSTOP)
    with subprocess.Popen([program, str(tmp_path / "control")]) as process:
        yield process
        process.kill()


def test_the_agent_waits_as_long_as_the_emulator_is_stopped(
    emulator: subprocess.Popen[bytes], agent: subprocess.Popen[bytes]
) -> None:
    time.sleep(4.5)
    assert agent.poll() is None
    emulator.send_signal(signal.SIGCONT)
    assert agent.wait(60) == 1


def test_the_agent_does_not_count_its_own_stop(
    emulator: subprocess.Popen[bytes], agent: subprocess.Popen[bytes]
) -> None:
    agent.send_signal(signal.SIGSTOP)
    time.sleep(3.5)
    emulator.send_signal(signal.SIGCONT)
    begun_s = time.monotonic()
    agent.send_signal(signal.SIGCONT)
    assert agent.wait(60) == 1
    # Of its 2 s, two waits of 1 s each, at most the one that was under way is over by then.
    assert time.monotonic() - begun_s >= 0.9
