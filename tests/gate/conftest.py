# SPDX-License-Identifier: GPL-2.0-or-later
"""A repository with something to gate."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TRACE = "timestamp,operation,offset,length\n0,read,0,4096\n100,read,4096,4096\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a trace in it, and a second commit that changes another file."""
    top = tmp_path / "repository"
    top.mkdir()
    monkeypatch.chdir(top)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (top / "trace.csv").write_text(TRACE)
    git("init", "--quiet")
    commit("trace")
    (top / "README").write_text("documentation\n")
    commit("docs")
    return top


def git(*arguments: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *who, *arguments], check=True)


def commit(subject: str) -> None:
    git("add", ".")
    git("commit", "--quiet", "--message", subject)
