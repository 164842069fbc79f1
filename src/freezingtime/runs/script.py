# SPDX-License-Identifier: GPL-2.0-or-later
"""The script of a job, made of a command, a line of the shell or a file."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from freezingtime.errors import InputError

#: A file or pipe without end is not read into memory.
_SCRIPT_BYTES_MAX = 1 << 20


#: What ``vm/guest/start-job`` knows a command by, and runs behind an image's entrypoint.
_IN_CONTAINER = "#!/run/freezingtime/command"


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its arguments, or a line of the shell; the guest decides of what script."""

    words: tuple[str, ...] = ()
    """Without any, what a container's image has of its own."""
    line: str | None = None

    def script(self) -> bytes:
        """The script that runs it."""
        line = f"exec {shlex.join(self.words)}" if self.line is None else self.line
        return f"#!/bin/sh\n{line}\n".encode()

    def script_in_container(self) -> bytes:
        """The same in a container's image, whose entrypoint it is given to."""
        words = self.words if self.line is None else ("/bin/sh", "-c", self.line)
        return f"{_IN_CONTAINER}\nset -- {shlex.join(words)}\n".encode()

    def require_no_host_file(
        self, job_directory: Path | None, option: str = "COMMAND", instead: str = "--script"
    ) -> None:
        """Refuse a program that is a file of this host, and not in the job's directory.

        A guest has no such file; only a path below the working directory is looked at, since
        ``/bin/sync`` is there in both. ``option`` has the command, ``instead`` takes a file.

        Raises:
            InputError: what would be right.
        """
        words = self.words if self.line is None else self.line.split()
        if not words or "/" not in words[0] or "\0" in words[0]:
            return
        program = Path(words[0])
        if program.is_absolute() or not program.is_file():
            return
        if job_directory is None or not (job_directory / program).exists():
            raise InputError(
                f"{option} {words[0]}: is a file of this host, which the guest does not have; "
                f"give it with {instead} {words[0]}"
            )


def file_script(path: Path, option: str = "--script") -> bytes:
    """The script in a file, which ``option`` names.

    Raises:
        InputError: it cannot be read, is no script, or is longer than any script is.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_SCRIPT_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}; name a readable file") from error
    if len(content) > _SCRIPT_BYTES_MAX:
        raise InputError(f"{option} {path}: is longer than 1 MiB; pass large files with --job")
    if not content.startswith(b"#!"):
        raise InputError(f"{option} {path}: must begin with '#!', such as #!/bin/sh")
    return content
