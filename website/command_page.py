# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of the command line: what ``--help`` says, by Typer's own generator."""

from __future__ import annotations

import re
import subprocess
import sys

_HEADING = "# Command line: all options\n\nWhat `--help` says of each command.\n"
#: What Typer adds that nobody needs: types that a metavar names, a summary cut short, a list of
#: commands whose lines are cut short, too.
_TYPE = re.compile(r"^(\* `[^`]+?) <[^`]*>`", re.MULTILINE)
_COMMANDS = re.compile(r"^\*\*Commands\*\*:\n\n(?:\* .*\n)+", re.MULTILINE)
_COMPLETION = re.compile(r"^\* `--(?:install|show)-completion`.*\n", re.MULTILINE)


def commands_page() -> str:
    """The page's Markdown."""
    command = [sys.executable, "-m", "typer", "freezingtime.cli.main", "utils", "docs"]
    done = subprocess.run(
        [*command, "--name", "freezingtime"], capture_output=True, text=True, check=True
    )
    text = _TYPE.sub(r"\1`", done.stdout)
    head, *sections = re.split(r"^(?=##+ )", text, flags=re.MULTILINE)
    head = _COMMANDS.sub("", head).replace("# `freezingtime`", "## `freezingtime`", 1)
    sections = [_COMPLETION.sub("", _COMMANDS.sub("", section)) for section in sections]
    return "\n".join([_HEADING, head, *sections])
