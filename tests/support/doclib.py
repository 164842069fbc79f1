# SPDX-License-Identifier: GPL-2.0-or-later
"""The code blocks of the documentation: what each is, and running them as they stand.

A page's blocks are run in their order, in one directory, as a reader would:

* ``console``: commands for sh behind ``$ ``, each going on behind a backslash. What stands below
  a command is what it prints, on stdout and stderr, to the letter; ``...`` stands for any text, or
  as a line of its own for any lines. A command with nothing below it only has to succeed.
* ``text``: what the block before it prints.
* ``python``, ``sh``: programs. One that has a title (``sh title="job/run"``), or begins with a
  comment that names a file (``# tape.py``), is written to that file instead; so is any other kind.

A block that cannot be run says why in a comment above it: ``<!-- not run: the reason -->``. In one
whose figures depend a little on the guest's kernel and tools, which Debian updates, numbers may be
off: ``<!-- within 5 %: the reason -->``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.conftest import PROGRAM

ROOT = Path(__file__).parents[2]
_DOCS = ROOT / "docs"
_PROMPT = "$ "
_DEADLINE_S = 900.0
_NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*", re.DOTALL)
_WITHIN = re.compile(r"<!-- within (\d+) %: \S.*? -->\s*", re.DOTALL)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_TITLE = re.compile(r'title="([^"]+)"')
_FILE_COMMENT = re.compile(r"# ([\w./-]+\.(?:toml|py|fio|csv))\n")
#: Ends what one command of a session prints.
_END = "\0\n"
#: Progress, which depends on the host: the guest is built and booted by the first run, say.
_PROGRESS = re.compile(
    r"^freezingtime: (?:.* \.\.\.|waiting for .*|guest [\d.]+ m?s, real [\d.]+ s\b.*|\S+: \d+%"
    r"|\d+ of \d+ points?, .*|(?:building|reading|compiling) .*|drawing|fitting)\n",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    line: int
    kind: str
    text: str
    file: str | None
    """Where its text goes; None if it is to be run."""
    reason_not_run: str | None
    within: float
    """By how much a number that is printed may differ, as a share of it."""

    @property
    def is_covered(self) -> bool:
        """Whether :func:`run_examples` can do something with it, or it says why not."""
        runs = self.kind in ("console", "text", "python", "sh")
        return runs or self.file is not None or self.reason_not_run is not None


def page_names() -> list[str]:
    """All pages: of docs/ by their path there, without the suffix; of the root by their names."""
    pages = [path.relative_to(_DOCS).with_suffix("") for path in _DOCS.rglob("*.md")]
    return sorted([*map(str, pages), *(path.stem for path in ROOT.glob("*.md"))])


def page_path(name: str) -> Path:
    """The file of a page."""
    path = _DOCS / f"{name}.md"
    return path if path.exists() else ROOT / f"{name}.md"


def read_page(name: str) -> str:
    """The text of a page."""
    return page_path(name).read_text()


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page's text, fenced or indented."""
    tokens = MarkdownIt("commonmark").parse(page)
    blocks = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in ("fence", "code_block"):
            continue
        comment = before.content if before is not None and before.type == "html_block" else ""
        not_run, within = _NOT_RUN.fullmatch(comment), _WITHIN.fullmatch(comment)
        named = _TITLE.search(token.info) or _FILE_COMMENT.match(token.content)
        blocks.append(
            Block(
                line=token.map[0] + 1 if token.map else 0,
                kind=(token.info.split() or [""])[0],
                text=token.content,
                file=named[1] if named else None,
                reason_not_run=not_run[1] if not_run else None,
                within=int(within[1]) / 100 if within else 0.0,
            )
        )
    return blocks


def run_examples(page: str, directory: Path) -> Iterator[tuple[str, str]]:
    """Run a page's blocks in their order, in one directory; yield each one's kind and output."""
    printed = ""
    for block in blocks_of(page):
        assert block.is_covered, f"line {block.line}: nobody knows how to run this block"
        if block.reason_not_run is not None:
            continue
        if block.file is not None:
            _write(directory / block.file, block.text)
        elif block.kind == "text":
            assert agrees(printed, block.text, block.within), f"{printed}is not\n{block.text}"
        else:
            printed = _printed_by(block, directory)
            yield block.kind, printed


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755 if text.startswith("#!") else 0o644)


def _printed_by(block: Block, directory: Path) -> str:
    if block.kind == "python":
        return _run([sys.executable, "-c", block.text], directory)
    if block.kind == "sh":
        return _run(["sh", "-ec", block.text], directory)
    session = session_of(block.text)
    script = "exec 2>&1\n" + "\n".join(f"{command}\nprintf '\\0\\n'" for command, _ in session)
    parts = _run(["sh", "-ec", script], directory).split(_END)
    printed = [_PROGRESS.sub("", part) for part in parts]
    for (command, expected), part in zip(session, printed, strict=False):
        assert not expected or agrees(part, expected, block.within), (
            f"line {block.line}: {command}\nprints\n{part}and not\n{expected}"
        )
    return "".join(printed)


def session_of(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what stands below it."""
    session: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_PROMPT):
            session.append((line.removeprefix(_PROMPT).rstrip("\n"), ""))
            continue
        assert session, f"no prompt in front of {line!r}"
        command, expected = session[-1]
        if command.endswith("\\") and not expected:
            session[-1] = (f"{command}\n{line.rstrip()}", "")
        else:
            session[-1] = (command, expected + line)
    return session


def agrees(printed: str, expected: str, within: float) -> bool:
    """Whether this was printed. ``...`` is any text, or alone any lines.

    ``within``: numbers may differ by this share, and columns are as wide as they are.
    """
    patterns = []
    for line in expected.rstrip("\n").splitlines():
        if line == "...":
            patterns.append(r"(?:.*\n)*?")
            continue
        parts = [re.escape(part).replace(r"\.\.\.", ".*") for part in _NUMBER.split(line)]
        numbers = [re.escape(number) for number in _NUMBER.findall(line)]
        if within:
            parts = [re.sub(r"(?:\\ )+", " +", part) for part in parts]
            numbers = [f"({_NUMBER.pattern})"] * len(numbers)
        numbers.append("")
        text = "".join(part + number for part, number in zip(parts, numbers, strict=True))
        patterns.append(text + (r" *\n" if within else r"\n"))
    match = re.fullmatch("".join(patterns), printed.rstrip("\n") + "\n")
    if match is None:
        return False
    pairs = zip(match.groups(), _NUMBER.findall(expected), strict=bool(within))
    return all(
        abs(_value(found) - _value(shown)) <= within * _value(shown) for found, shown in pairs
    )


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _run(command: Sequence[str], directory: Path) -> str:
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
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
