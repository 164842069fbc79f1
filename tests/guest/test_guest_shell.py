# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime shell`: typed into a terminal, as a person does."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from freezingtime.store.saved_machine import remove_saved
from tests.conftest import PROGRAM, RunProgram
from tests.support.guestlib import run_guest

pytestmark = pytest.mark.guest

_DEADLINE_S = 240.0


class Typist:
    """A terminal of 100 columns with `freezingtime shell` on it."""

    def __init__(self, *arguments: str) -> None:
        self._terminal, self._theirs = pty.openpty()
        self.screen = b""
        self._program = subprocess.Popen(
            [str(PROGRAM), "shell", *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": "vt100", "COLUMNS": "100", "LINES": "30"},
            start_new_session=True,
        )

    def expect(self, text: str) -> bytes:
        """Wait until the screen shows ``text``; return what it showed up to there."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while text.encode() not in self.screen:
            self._read()
            assert time.monotonic() < deadline_s, self.screen
        before, _, self.screen = self.screen.partition(text.encode())
        return before

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as it does unless it is raw."""
        return bool(termios.tcgetattr(self._terminal)[3] & termios.ECHO)

    def status(self) -> int:
        """Wait for the program's end; return its status."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while self._program.poll() is None:
            self._read()
            assert time.monotonic() < deadline_s, self.screen
        return self._program.returncode

    def close(self) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._terminal)
        os.close(self._theirs)

    def _read(self) -> None:
        ready, _, _ = select.select([self._terminal], [], [], 0.1)
        if ready:
            self.screen += os.read(self._terminal, 4096)


@pytest.fixture
def new_typist() -> Iterator[Callable[..., Typist]]:
    with contextlib.ExitStack() as cleanup:

        def new(*arguments: str) -> Typist:
            typist = Typist(*arguments)
            cleanup.callback(typist.close)
            return typist

        yield new


def test_what_is_typed_is_done(new_typist: Callable[..., Typist]) -> None:
    typist = new_typist("--disk", "constant:1ms,size=8MiB,name=data")
    typist.expect("# ")
    typist.type("echo $((6 * 7)); stty size; ls /dev/disk/by-id/virtio*\r")
    typist.expect("\r\n42\r\n30 100\r\n/dev/disk/by-id/virtio-data\r\n")
    typist.type("sleep 1000\r")
    typist.expect("sleep 1000\r\n")
    time.sleep(1.0)
    typist.type("\x03")  # the guest's: it ends the command, not the machine
    typist.expect("# ")
    typist.type("exit 5\r")
    assert typist.status() == 5


def test_an_idle_guest_keeps_to_real_time(new_typist: Callable[..., Typist]) -> None:
    typist = new_typist()
    typist.expect("# ")
    start_s = time.monotonic()
    typist.type("sleep 2; echo do''ne\r")
    typist.expect("done\r\n")
    assert time.monotonic() - start_s > 1.9


def test_the_end_key_ends_it_and_the_terminal_is_as_before(
    new_typist: Callable[..., Typist],
) -> None:
    typist = new_typist()
    typist.expect("# ")
    assert typist.echoes() is False
    typist.type("\x1d")
    assert typist.status() == 0
    assert typist.echoes() is True


def test_a_machine_that_was_typed_on_can_be_saved(new_typist: Callable[..., Typist]) -> None:
    name = f"test-{os.getpid()}-shell"
    disk = "constant:1ms,size=8MiB"
    typist = new_typist("--disk", disk, "--save", name)
    typist.expect("# ")
    typist.type("mkfs.ext2 -q /dev/vda; mount /dev/vda /mnt; echo typed >/mnt/note; exit\r")
    assert typist.status() == 0
    try:
        assert run_guest("cat /mnt/note", disk, start_from=name).stdout == b"typed\n"
        again = new_typist("--disk", disk, "--from", name)
        again.expect("# ")
        again.type("cat /mnt/note\r")
        again.expect("\r\ntyped\r\n")
        again.type("exit\r")  # a machine that is in use is not removed
        assert again.status() == 0
    finally:
        remove_saved(name)


def test_bad_input_leaves_the_terminal_alone(new_typist: Callable[..., Typist]) -> None:
    typist = new_typist("--from", "nosuch")
    typist.expect("there is no snapshot 'nosuch'")
    assert typist.status() == 2
    assert typist.echoes() is True


def test_without_a_terminal_it_refuses(freezingtime: RunProgram) -> None:
    refused = freezingtime("shell")
    assert refused.returncode == 2
    assert refused.stderr == (
        "freezingtime: shell: stdin and stdout must be a terminal; 'run' takes a script\n"
    )
