# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard streams as a shell may hand them over: closed, or of an encoding with few letters.

Where stderr is closed, Python's is None, ``print`` to it goes to stdout instead, and the next
file that is opened gets its number, and with it what libraries and child processes complain of.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from freezingtime.errors import RunError


def prepare_standard_streams() -> None:
    """Make stdout and stderr accept any text. Call before files are opened."""
    open_closed_streams()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            named = io.TextIOWrapper(
                io.BufferedWriter(_StandardStream(stream.fileno(), name)),
                encoding=stream.encoding,
                # A character missing in the locale, such as in a path under LANG=de_DE.ISO-8859-1.
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
            )
            setattr(sys, name, named)


class _StandardStream(io.FileIO):
    """The file below stdout or stderr, which names itself where nothing can be written."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, "wb", closefd=False)
        self._shown_name = name
        self._has_failed = False

    def write(self, data: Any, /) -> int:
        """Write; where that has failed, what is still buffered goes nowhere, and so unsaid.

        Raises:
            RunError: the file takes no more.
            BrokenPipeError: its reader has gone.
        """
        if self._has_failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._has_failed = True
            if isinstance(error, BrokenPipeError):
                raise
            raise RunError(f"cannot write to {self._shown_name}: {error.strerror}") from error


def open_closed_streams() -> None:
    """Open closed standard streams on /dev/null. Call before files are opened."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free: this one, as those below are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
