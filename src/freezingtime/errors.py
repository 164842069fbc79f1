# SPDX-License-Identifier: GPL-2.0-or-later
"""The exception tree. Only the command line turns these into exit statuses.

::

    FreezingTimeError
    +-- InputError        what the user asked for cannot be done: exit status 2
    +-- RunError          something failed while running: exit status 1
        +-- GuestError       the guest died or never got ready: exit status 4
        +-- TimeLimitError   the job was not done in time: exit status 124
        +-- RefusalError     a device does not carry out what it was asked
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from freezingtime.host.foreign_text import printable

_PACKAGE = os.path.dirname(__file__)  # noqa: PTH120 - every start of the program imports this


class FreezingTimeError(Exception):
    """Anything that this package reports to its user; the text is one line and names the cure.

    Whatever guests, files or other programs have put into it, no terminal obeys it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows, and so a notebook: what is wrong, and the user's line."""
        import traceback

        frames = traceback.extract_tb(self.__traceback__)
        users = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
        where = [f"  in line {frame.lineno}: {frame.line}" for frame in users[-1:]]
        return [f"{type(self).__name__}: {self}", *where]


class InputError(FreezingTimeError):
    """A bad value: what was wrong, where, and what would be right."""


@contextmanager
def about(prefix: str) -> Iterator[None]:
    """Say in an InputError what it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{error}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest what a misspelt name was meant to be, for a message; empty where nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}? " if near else ""


class RunError(FreezingTimeError):
    """A failure while running: what died and why."""

    #: Files without a name with what the job had printed on stdout and stderr.
    output: tuple[BinaryIO, BinaryIO] | None = None

    @property
    def stdout(self) -> bytes:
        """Return what the job had printed; read into memory when it is asked for."""
        return b"" if self.output is None else _content(self.output[0])

    @property
    def stderr(self) -> bytes:
        """The same of what it had printed on stderr."""
        return b"" if self.output is None else _content(self.output[1])


class GuestError(RunError):
    """The guest ended before its job, or could not start it; the console shows why."""


class TimeLimitError(RunError):
    """The job was not done within the guest or host time that it was given."""

    guest_ns: int | None = None
    """The guest time at which a limit of guest time ended it."""


class RefusalError(RunError):
    """A request that the device's own rules forbid, such as a write elsewhere in a zone."""


def _content(file: BinaryIO) -> bytes:
    size_bytes = os.fstat(file.fileno()).st_size
    content = bytearray()
    while piece := os.pread(file.fileno(), size_bytes, len(content)):
        content += piece
    return bytes(content)
