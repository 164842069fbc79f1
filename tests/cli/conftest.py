# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line in the tests' own process, which has imported already what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import pytest

from freezingtime.cli.main import _run


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


RunHere: TypeAlias = Callable[..., Ended]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run a command as `freezingtime` would."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["freezingtime", *map(str, arguments)])
        status = _run()
        return Ended(status, *capsys.readouterr())

    return run
