# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's programs that images are built with: their ends, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from freezingtime.errors import RunError
from freezingtime.images.debian.tools import run_tool
from freezingtime.store.cache import exclusive_lock, unfinished_directory

#: Starts a program that starts another; neither ends, and both write into their directory.
WRITERS = "(while :; do mkdir -p x/y; : >x/y/$$; rm -r x; done) & while :; do mkdir -p a/b; done"

#: A build that goes on until it is killed.
BUILD = """
import sys
from pathlib import Path
from freezingtime.store.cache import exclusive_lock, unfinished_directory
from freezingtime.images.debian.tools import run_tool
root, script = Path(sys.argv[1]), sys.argv[2]
with exclusive_lock(root / "lock"), unfinished_directory(root / "images") as building:
    run_tool(["sh", "-c", script], environment={"MARK": sys.argv[3]}, directory=building)
"""
_DEADLINE_S = 30.0


class InterruptionError(Exception):
    """What a signal's handler raises."""


def marked(mark: str) -> list[int]:
    """The processes, zombies aside, in whose environment there is ``MARK=mark``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def await_count(mark: str, at_least: int, at_most: int) -> None:
    deadline_s = time.monotonic() + _DEADLINE_S
    while not at_least <= len(marked(mark)) <= at_most:
        assert time.monotonic() < deadline_s, f"{marked(mark)} are there"
        time.sleep(0.02)


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


class TestKilledBuild:
    @pytest.mark.parametrize("number", range(3))
    def test_leaves_no_process_and_the_next_removes_the_rest(
        self, tmp_path: Path, mark: str, number: int
    ) -> None:
        command = [sys.executable, "-c", BUILD, str(tmp_path), WRITERS, mark]
        with subprocess.Popen(command) as build:
            await_count(mark, 2, 99)
            build.send_signal((signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)[number])
            # At once, while what it has started is still about to die.
            with (
                exclusive_lock(tmp_path / "lock", lambda holder: None),
                unfinished_directory(tmp_path / "images") as building,
            ):
                assert list((tmp_path / "images").iterdir()) == [building]
        await_count(mark, 0, 0)
        assert list((tmp_path / "images").iterdir()) == []


class TestRunTool:
    def test_returns_what_was_printed(self, tmp_path: Path) -> None:
        result = run_tool(
            ["sh", "-c", 'pwd; echo "$MARK" >&2; printf "\\377"'], {"MARK": "x"}, tmp_path
        )
        assert (result.stdout, result.stderr) == (f"{tmp_path}\n�", "x\n")

    def test_ends_what_its_program_leaves_behind(self, mark: str) -> None:
        run_tool(["sh", "-c", "sleep 600 >/dev/null 2>&1 &"], {"MARK": mark})
        await_count(mark, 0, 0)

    def test_deadline_ends_all(self, mark: str) -> None:
        command = ["sh", "-c", "sleep 600 & sleep 600"]
        with pytest.raises(RunError, match=r"^a tool did not end within 0\.2 s: try again$"):
            run_tool(command, {"MARK": mark}, timeout_s=0.2, name="a tool")
        await_count(mark, 0, 0)

    def test_exception_ends_all(self, mark: str) -> None:
        def interrupt(_number: int, _frame: object) -> None:
            raise InterruptionError

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with pytest.raises(InterruptionError):
                run_tool(["sh", "-c", "sleep 600 & sleep 600"], {"MARK": mark})
        finally:
            signal.signal(signal.SIGALRM, before)
        await_count(mark, 0, 0)

    def test_failure_has_the_last_words(self) -> None:
        with pytest.raises(RunError, match=r"^sh -c failed \(no such thing\): check its output"):
            run_tool(["sh", "-c", "echo first >&2; echo no such thing >&2; exit 3"])
        result = run_tool(["sh", "-c", "exit 3"], check=False)
        assert result.returncode == 3

    def test_is_in_a_group_of_its_own(self) -> None:
        group = int(run_tool(["sh", "-c", "cut -d' ' -f5 /proc/self/stat"]).stdout)
        assert group != os.getpgid(0)
