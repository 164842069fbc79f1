# SPDX-License-Identifier: GPL-2.0-or-later
"""Description of the process that holds a lock file, for those who wait."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from freezingtime.host.foreign_text import printable

_COMMAND_LENGTH_MAX = 80
_PID_DIGITS_MAX = 10


def describe_holder(fd: int) -> str:
    """Name the process whose id is in the lock file ``fd``: its command, and if it is stopped.

    A holder on another machine or in another container has an id that means nothing here.
    """
    text = os.pread(fd, _PID_DIGITS_MAX, 0).decode(errors="replace")
    if not (text.isascii() and text.isdigit()):
        return "another process"
    process = Path("/proc", text)
    try:
        words = [part.decode(errors="replace") for part in _arguments(process)]
        state = (process / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return f"process {text} of another machine or container"
    stopped = ", stopped" if state in (b"T", b"t") else ""
    return f"process {text} ({_command(words)}{stopped})"


def _arguments(process: Path) -> Sequence[bytes]:
    return (process / "cmdline").read_bytes().removesuffix(b"\0").split(b"\0")


def _command(words: Sequence[str]) -> str:
    """A command as its user wrote it, about: no interpreter, no directory of the program."""
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[1:]
    line = printable(shlex.join([Path(words[0]).name, *words[1:]]))
    cut = len(line) > _COMMAND_LENGTH_MAX
    return line[: _COMMAND_LENGTH_MAX - 3] + "..." if cut else line
