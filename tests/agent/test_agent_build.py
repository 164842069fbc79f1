# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent that was made of other sources than those that are there is refused, with the cure."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from freezingtime.clock import agent
from freezingtime.errors import InputError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the agent's directory, in place of it."""
    copy = tmp_path / "agent"
    shutil.copytree(agent.agent_path().parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(agent, "__file__", str(copy / "__init__.py"))
    return copy


def test_the_agent_of_these_sources_is_taken(installed: Path) -> None:
    assert agent.agent_path().parent == installed


@pytest.mark.parametrize("change", ["a changed line", "a new file", "a file less"])
def test_an_agent_of_other_sources_is_refused(installed: Path, change: str) -> None:
    if change == "a changed line":
        (installed / "ours" / "base.h").write_text("\n/* changed */\n")
    elif change == "a new file":
        (installed / "qemu" / "new.c").write_text("int new;\n")
    else:
        (installed / "ours" / "time" / "hold.c").unlink()
    with pytest.raises(InputError, match=r"built from different sources .*'make setup'"):
        agent.agent_path()


def test_an_agent_that_is_not_built_is_named(installed: Path) -> None:
    agent.agent_path().unlink()
    with pytest.raises(InputError, match=r"the agent is not built: no _agent"):
        agent.agent_path()
