# SPDX-License-Identifier: GPL-2.0-or-later
"""The script of a job, made of a command, a line of the shell or a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from freezingtime.errors import InputError

#: A file or pipe without end is not read into memory.
_SCRIPT_BYTES_MAX = 1 << 20


#: What ``vm/guest/start-job`` knows a command by, and runs behind an image's entrypoint.
_IN_CONTAINER = "#!/run/freezingtime/command"


def command_script(command: Sequence[str], *, in_container: bool = False) -> bytes:
    """The script that runs one command with its arguments.

    In a container's image they are its entrypoint's; without any, that has the image's own.
    """
    if in_container:
        return f"{_IN_CONTAINER}\nset -- {shlex.join(command)}\n".encode()
    return shell_script(f"exec {shlex.join(command)}")


def shell_script(line: str, *, in_container: bool = False) -> bytes:
    """The script that a line of the shell makes."""
    if in_container:
        return command_script(["/bin/sh", "-c", line], in_container=True)
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
