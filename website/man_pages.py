# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual pages: what ``--help`` says of each command, one page a command, in section 1."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from freezingtime._version import __version__
from website.command_page import commands_page

_COMMAND = re.compile(r"^## `(freezingtime(?: [\w-]+)?)`$", re.MULTILINE)
_SUBCOMMAND = re.compile(r"^### `(.+)`$", re.MULTILINE)
_BOLD_HEADING = re.compile(r"^\*\*(\w+)\*\*:$", re.MULTILINE)
_FENCE = re.compile(r"^```console\n((?:.*\n)*?)```$", re.MULTILINE)


def man_pages() -> dict[str, str]:
    """Return the Markdown of each page by its name, such as ``freezingtime-run``."""
    _, *parts = _COMMAND.split(commands_page())
    return {
        command.replace(" ", "-"): _page(command, text.strip())
        for command, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _page(command: str, text: str) -> str:
    name = command.replace(" ", "-")
    summary, _, description = text.partition("\n\n")
    body = _SUBCOMMAND.sub(r"# \1", _BOLD_HEADING.sub(r"## \1", description))
    body = _FENCE.sub(lambda match: _indented(match[1]), body)
    return (
        f"title: {name}\nsection: 1\nsource: freezingtime {__version__}\n\n"
        f"# NAME\n\n{name} - {' '.join(summary.split()).rstrip('.')}\n\n"
        f"# DESCRIPTION\n\n{body}\n"
    )


def _indented(text: str) -> str:
    return "".join(f"    {line.removeprefix('$ ')}\n" for line in text.splitlines())


def write_man_pages(directory: Path) -> None:
    """Render the pages with lowdown (a Debian package) into ``directory``/man1."""
    out = directory / "man1"
    out.mkdir(parents=True, exist_ok=True)
    for name, markdown in man_pages().items():
        command = ["lowdown", "-s", "-Tman", "-o", str(out / f"{name}.1"), "-"]
        subprocess.run(command, input=markdown, text=True, check=True)


if __name__ == "__main__":
    write_man_pages(Path(__file__).parent.parent / "build" / "man")
