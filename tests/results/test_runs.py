# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime runs`: every run below a directory, the damaged ones too."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from freezingtime.results.catalogue import find_runs
from tests.conftest import PROGRAM, RunProgram
from tests.results.test_cli_errors import complaint
from tests.results.test_compare import a_run, reads


def test_text(freezingtime: RunProgram, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    a_run(tmp_path / "deep" / "one", reads(10_000, 10_000, 30_000))
    a_run(tmp_path / "two", [], audit={"valid": False})
    (a_run(tmp_path / "worse", reads(10)) / "run.json").write_text("[]")
    header, one, two, worse = freezingtime("runs", cwd=tmp_path).stdout.splitlines()
    assert header.split() == [
        "run",
        "valid",
        "guest",
        "time",
        "requests",
        "p50,",
        "p99",
        "disks",
        "job",
    ]
    assert one.startswith("deep/one  yes      1ms         3         data:read 10us, 30us  ")
    assert one.endswith("fio")
    assert two.split()[:5] == ["two", "NO", "1ms", "0", "-"]
    assert worse.startswith("worse     DAMAGED")
    assert worse.endswith("; repeat the run")
    assert "worse/run.json: is damaged" in worse


def test_on_a_terminal_the_table_fits_its_width(freezingtime: RunProgram, tmp_path: Path) -> None:
    a_run(tmp_path / "one", reads(10_000, 30_000))
    width = 75
    header, one = on_terminal(tmp_path, columns=width)
    assert header.split()[0] == "run"
    assert len(one) <= width
    assert one.startswith("one  yes    1ms         2")
    assert "\N{HORIZONTAL ELLIPSIS}" in one
    assert len(freezingtime("runs", cwd=tmp_path).stdout.splitlines()[1]) > width


def on_terminal(directory: Path, columns: int) -> list[str]:
    """Run `freezingtime runs` on a terminal of so many columns; return the lines on it."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "xterm"}
    subprocess.run([PROGRAM, "runs"], cwd=directory, stdout=theirs, env=environment, check=True)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # so a terminal ends that nobody writes to any more
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    return [line.rstrip() for line in shown.decode().splitlines()]


def test_json(freezingtime: RunProgram, tmp_path: Path) -> None:
    run = a_run(tmp_path / "one", reads(10_000, 30_000))
    missing = a_run(tmp_path / "two", [])
    (missing / "requests.parquet").unlink()
    one, two = json.loads(freezingtime("runs", "--json", tmp_path).stdout)
    assert (one["path"], one["requests"], one["valid"]) == (str(run), 2, True)
    (figures,) = one["figures"]
    assert (figures["operation"], figures["p99_ns"]) == ("read", 30_000)
    assert two["damage"].startswith(f"{missing}: is not a run")


def test_a_directory_that_is_removed_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path / "one", reads(10_000))
    (tmp_path / "gone").mkdir()
    scandir = os.scandir

    def scandir_after_removal(path: Path) -> Any:
        if Path(path).name == "gone":
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_after_removal)
    assert find_runs(tmp_path) == [run]
    assert not (tmp_path / "gone").exists()


def test_nothing_there(freezingtime: RunProgram, tmp_path: Path) -> None:
    ended = freezingtime("runs", tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "no runs in" in ended.stderr
    assert "no such directory" in complaint(freezingtime, "runs", tmp_path / "none")


def test_a_directory_of_runs_is_no_run_but_names_one(
    freezingtime: RunProgram, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("b", "a"):
        a_run(tmp_path / "runs" / name, [])
    ended = freezingtime("report", tmp_path / "runs", "-o", tmp_path / "page.html")
    assert ended.returncode == 2
    assert ended.stderr == (
        f"freezingtime: {tmp_path / 'runs'}: is not a run, but contains 2; "
        f"name one of them, such as {tmp_path / 'runs' / 'a'}\n"
    )
