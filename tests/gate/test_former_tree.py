# SPDX-License-Identifier: GPL-2.0-or-later
"""Baselines by commit: devices, own models and media are those of the commit, as the job is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freezingtime.errors import InputError
from freezingtime.explore.gate.commit import find_commit
from freezingtime.explore.gate.former_tree import CommandFiles, FormerTree, command_files
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.runs.options import RunOptions
from tests.gate.conftest import commit
from tests.gate.test_gate import command

IF = ("--fail-if", "p99 > +1%")
WORKLOAD = ("--workload", "randread,bs=4k,qd=1,count=20")
COMPOSED = 'model = "mirror"\ncapacity = "1GiB"\n' + 2 * (
    '[[parameters.member]]\ndevice = "part.toml"\n'
)
PART = 'model = "constant"\ncapacity = "1GiB"\n[parameters]\nread = "{}us"\n'
MODEL = """
import heapq

class Mine:
    def __init__(self, seed):
        self.waiting = []

    def submit(self, request, now_ns):
        heapq.heappush(self.waiting, (now_ns + {}_000, id(request), request))

    def next_event_ns(self):
        return self.waiting[0][0] if self.waiting else None

    def advance(self, now_ns):
        done = []
        while self.waiting and self.waiting[0][0] <= now_ns:
            done.append(heapq.heappop(self.waiting)[2])
        return done
"""


@pytest.fixture
def gate(tmp_path: Path) -> Any:
    def gated(*arguments: object, status: int = 0) -> str:
        return command("--store", tmp_path / "store", *arguments, status=status)

    return gated


def test_devices_and_what_they_name_are_those_of_the_commit(
    gate: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = repository / "devices"
    place.mkdir()
    for name, text in (("ssd.toml", COMPOSED), ("part.toml", PART), ("mine.py", MODEL)):
        (place / name).write_text(text.format(100))
    commit("devices")
    for name, text in (("part.toml", PART), ("mine.py", MODEL)):
        (place / name).write_text(text.format(103))
    there = (*IF, *WORKLOAD, "--baseline-commit", "HEAD")
    for disk in ("devices/ssd.toml", "devices/mine.py:Mine"):
        slower = gate(*there, "--disk", disk, status=1)
        assert f"FAILED p99 > +1%: {disk}:all.p99 100us -> 103us, +3us (+3.000%)" in slower
    # From a directory below, and from outside of the repository, the same files are meant.
    monkeypatch.chdir(place)
    assert "+3.000%" in gate(*there, "--disk", "mine.py:Mine", status=1)
    (place / "mine.py").write_text(MODEL.format(100))
    (place / "part.toml").write_text(PART.format(100))
    assert "identical: 20 requests" in gate(*there, "--disk", "mine.py:Mine")
    monkeypatch.chdir(repository.parent)
    trace = (*IF, "--trace", "repository/trace.csv", "--baseline-commit", "HEAD")
    (place / "part.toml").write_text(PART.format(103))
    assert "+3.000%" in gate(*trace, "--disk", "repository/devices/ssd.toml", status=1)
    # What lies elsewhere is as it is given, whatever else it names there.
    for name, text in (("ssd.toml", COMPOSED), ("part.toml", PART)):
        Path(name).write_text(text.format(7))
    assert "identical: 2 requests" in gate(*trace, "--disk", "ssd.toml")


def test_what_git_cannot_tell_is_named(
    gate: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "helper.py").write_text("x = 1\n")
    (repository / "imports.py").write_text(MODEL.format(100).replace("heapq\n", "heapq, helper\n"))
    (repository / "wrong.toml").write_text('model = "constant"\n[parameters]\nraed = "1us"\n')
    commit("models")
    (repository / "wrong.toml").write_text(PART.format(1))
    (repository / "new.toml").write_text(PART.format(1))
    there = (*IF, *WORKLOAD, "--baseline-commit", "HEAD")
    monkeypatch.syspath_prepend(str(repository))
    for disk, problem in (
        ("new.toml", "git does not track new.toml, so it cannot tell what it was"),
        (repository / "wrong.toml", "wrong.toml is in the repository; name it by a path from the"),
        ("imports.py:Mine", "helper.py was imported as it is today, by PYTHONPATH"),
        ("wrong.toml", r"--baseline-commit HEAD \(\w+\): --disk wrong.toml: wrong.toml: .*raed"),
    ):
        with pytest.raises(InputError, match=problem):
            gate(*there, "--disk", disk)
    assert Path.cwd() == repository


def test_media_are_the_commits_and_the_machine_is_todays(repository: Path, tmp_path: Path) -> None:
    for name in ("medium", "lock"):
        (repository / name).write_bytes(b"former")
    commit("medium")
    for name in ("medium", "lock", "kernel"):
        (repository / name).write_bytes(b"today")
    (tmp_path / "outside").write_bytes(b"outside")
    disks = ["constant:1us,medium=file:medium", "constant:2us,medium=file:../outside"]
    options = RunOptions(disks=disks, locked="lock", kernel="kernel", allow_backing=["."])
    files = command_files(RunRequest(options, b""))
    assert files == CommandFiles(
        [], [Path("medium"), Path("../outside")], [Path("kernel"), Path("lock"), Path()]
    )
    tree = FormerTree(find_commit("HEAD", repository), tmp_path / "tree")
    assert tree.lay_out(None, files)
    with tree.entered():
        assert Path("medium").read_bytes() == b"former"
        assert Path("lock").read_bytes() == Path("kernel").read_bytes() == b"today"
        assert Path("../outside").read_bytes() == b"outside"
    assert (repository / "lock").read_bytes() == b"today"
