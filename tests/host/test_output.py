# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear whole or not at all, whoever else writes them; and one writer at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.host.replaced_file import replaced, require_place
from freezingtime.runs.locked import write_lock
from freezingtime.simulate.replay import TraceSource, check_out, open_new_record
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.run_directory import locked_run_directory
from tests.conftest import PROGRAM, RunProgram
from tests.guest.test_death import await_value
from tests.support.recordlib import HEADER


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    with replaced(target) as first:
        first.write(b"first" * 1000)
        with replaced(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first" * 1000
    assert list(tmp_path.iterdir()) == [target]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    link, target = tmp_path / "latest.html", tmp_path / "runs" / "page.html"
    link.symlink_to("runs/page.html")
    for content in (b"new", b"newer"):  # the link names nothing at first
        with replaced(link) as file:
            file.write(content)
        assert (link.is_symlink(), target.read_bytes()) == (True, content)
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/x", "DIR/no/x: no directory DIR/no; create it first"),
        ("file/x", "DIR/file/x: no directory DIR/file; create it first"),
        ("", "DIR: is not a regular file; name another file"),
        ("dangling", "DIR/dangling: no directory DIR/nowhere; create it first"),
        ("fixed/x", "DIR/fixed/x: DIR/fixed cannot be written to; name another"),
    ],
)
def test_where_no_file_can_be_is_found_before_the_work(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere/x")
    (tmp_path / "fixed").mkdir()
    # Root may write to any directory.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "fixed")
    out = tmp_path / name
    checks: tuple[Callable[[], object], ...] = (
        lambda: require_place("--out", out),
        lambda: check_out(TraceSource(tmp_path / "trace.csv"), out),
        lambda: write_lock(out, None, None, lambda step, done, total: pytest.fail(step)),
    )
    for check in checks:
        with pytest.raises(InputError) as caught:
            check()
        assert str(caught.value).replace(str(tmp_path), "DIR") == f"--out {message}"


def test_a_replay_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "record.parquet"
    target.write_bytes(b"of before")

    source = TraceSource(tmp_path / "trace.csv")

    def fail() -> None:
        with open_new_record(target, ["constant:10us"], source, seed=0) as record:
            record.begin()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert target.read_bytes() == b"of before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_replay_that_is_killed_leaves_nothing_that_looks_finished(
    tmp_path: Path, freezingtime: RunProgram
) -> None:
    target = tmp_path / "record.parquet"
    kill = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from freezingtime.simulate.replay import TraceSource, open_new_record\n"
        "source = TraceSource(Path('trace.csv'))\n"
        "with open_new_record(Path(sys.argv[1]), ['constant:10us'], source, seed=0) as record:\n"
        "    record.begin()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", kill, target], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    ended = freezingtime("report", target, "-o", tmp_path / "page.html")
    assert ended.returncode == 2
    assert f"{target}: no such file" in ended.stderr
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())


def test_a_record_has_one_writer(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "record", HEADER):
        with pytest.raises(OSError, match="another process is still writing to it") as refused:
            RecordFile(tmp_path / "record", HEADER)
        assert refused.value.strerror == "another process is still writing to it"
    with RecordFile(tmp_path / "record", HEADER):
        pass


def test_a_directory_has_one_run(tmp_path: Path) -> None:
    with locked_run_directory(tmp_path):
        again = pytest.raises(InputError, match="another run is still writing there")
        with again, locked_run_directory(tmp_path):
            pass
    with locked_run_directory(tmp_path):
        pass


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_fd: object, _how: int) -> None:
        raise OSError(9, os.strerror(9))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked_run_directory(tmp_path), RecordFile(tmp_path / "record", HEADER):
        pass
    assert (tmp_path / "record").is_file()


@pytest.mark.guest
def test_a_second_run_into_a_directory_is_refused(freezingtime: RunProgram, tmp_path: Path) -> None:
    out = tmp_path / "run"
    endless = ["run", "-q", "--out", str(out), "--", "echo begun; while :; do :; done"]
    with subprocess.Popen([PROGRAM, *endless], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"begun\n"
        files = {path: path.stat().st_ino for path in out.iterdir()}
        second = freezingtime("run", "-q", "--out", out, "--", "true")
        assert second.returncode == 2
        assert second.stderr == (
            f"freezingtime: --out {out}: another run is still writing there; "
            "name another directory\n"
        )
        assert {path: path.stat().st_ino for path in out.iterdir()} == files
        await_value(lambda: (out / "stdout.txt").read_text() or None, 60.0, "stdout.txt")
        first.terminate()
        assert first.wait(60) == 143
    assert (out / "stdout.txt").read_text() == "begun\n"
