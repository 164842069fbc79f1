"""Pages of the documentation whose examples are run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import PROGRAM

_DOCS = Path(__file__).parent.parent / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "
_DEADLINE_S = 300.0


def read_page(name: str) -> str:
    """The text of ``docs/NAME.md``."""
    return (_DOCS / f"{name}.md").read_text()


def run_examples(page: str, directory: Path) -> Iterator[tuple[str, str]]:
    """Run a page's blocks in their order, in one directory; yield each one's kind and output.

    A console block is commands for sh behind prompts; a text block is what the block before
    it prints.
    """
    printed = ""
    for kind, text in _BLOCK.findall(page):
        if kind == "text":
            assert printed == text, f"{printed}is not\n{text}"
            continue
        if kind == "console":
            lines = text.splitlines()
            assert all(line.startswith((_PROMPT, "  ")) for line in lines), text
            command = ["sh", "-ec", "\n".join(line.removeprefix(_PROMPT) for line in lines)]
        else:
            command = {"python": [sys.executable, "-c", text], "sh": ["sh", "-ec", text]}[kind]
        printed = _printed(command, directory)
        yield kind, printed


def _printed(command: Sequence[str], directory: Path) -> str:
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    ended = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
        cwd=directory,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
