"""docs/record.md: its columns are the record's, and every example runs as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from freezingtime.trace.record_schema import COLUMNS
from tests.conftest import RunProgram, require_tool

PAGE = (Path(__file__).parent.parent / "docs" / "record.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ", re.MULTILINE)


def test_the_table_has_the_columns_of_the_record() -> None:
    words = {"dictionary<values=string, indices=int16, ordered=0>": "word"}
    columns = [(field.name, words.get(str(field.type), str(field.type))) for field in COLUMNS]
    assert ROW.findall(PAGE) == columns


@pytest.mark.guest
def test_every_example_runs(
    freezingtime: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, in one directory; a text block is what the block before it prints."""
    monkeypatch.chdir(tmp_path)
    require_tool("btt")
    assert {kind for kind, _ in BLOCKS} == {"console", "python", "text", "sh"}
    printed = ""
    for kind, text in BLOCKS:
        if kind == "console":
            for line in text.splitlines():
                prompt, program, *arguments = shlex.split(line)
                assert (prompt, program) == ("$", "freezingtime")
                ended = freezingtime(*arguments)
                assert ended.returncode == 0, ended.stderr
        elif kind == "python":
            printed = _printed([sys.executable, "-c", text])
        elif kind == "sh":
            assert re.search(r"^D2C ", _printed(["sh", "-ec", text]), re.MULTILINE)
        else:
            assert printed == text


def _printed(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
