"""The tables of docs/accuracy.md are what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import RunProgram

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"


@pytest.mark.slow
def test_the_tables_are_what_the_command_prints(freezingtime: RunProgram) -> None:
    block = PAGE.read_text().split("```console\n$ freezingtime accuracy\n")[1].split("```")[0]
    done = freezingtime("accuracy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == block.rstrip("\n")
