# SPDX-License-Identifier: GPL-2.0-or-later
"""The script of a job, made of a command, a line of the shell or a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from freezingtime.errors import InputError

#: A file or pipe without end is not read into memory.
_SCRIPT_BYTES_MAX = 1 << 20


def command_script(command: Sequence[str]) -> bytes:
    """The script that runs one command with its arguments."""
    return shell_script(f"exec {shlex.join(command)}")


def shell_script(line: str) -> bytes:
    """The script that a line of the shell makes."""
    return f"#!/bin/sh\n{line}\n".encode()


def file_script(path: Path) -> bytes:
    """The script in a file.

    Raises:
        InputError: it cannot be read, is no script, or is longer than any script is.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_SCRIPT_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"--script {path}: {error.strerror}; name a readable file") from error
    if len(content) > _SCRIPT_BYTES_MAX:
        raise InputError(f"--script {path}: is longer than 1 MiB; hand large files over with --job")
    if not content.startswith(b"#!"):
        raise InputError(f"--script {path}: must begin with '#!', such as #!/bin/sh")
    return content
