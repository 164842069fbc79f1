# SPDX-License-Identifier: GPL-2.0-or-later
"""Text that others have written - guests, files, other processes - made fit to be shown.

A terminal obeys what it is sent: it can be told to write to the clipboard, to rename its window, or
to draw over what was there. So all that we print for people goes through the functions here; what a
job prints is its own and is passed on as it is.
"""

from __future__ import annotations

import sys


def printable(line: str) -> str:
    """One line with nothing in it that a terminal would obey: such characters become escapes.

    Line ends are among them, as are marks that turn the direction of writing.
    """
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in line)


def show(line: str = "") -> None:
    """Print one line on stdout, whoever wrote it."""
    print(printable(line))  # noqa: T201 -- this is the place


def say(line: str) -> None:
    """Print one of our lines on stderr, whoever wrote its content."""
    print(f"freezingtime: {printable(line)}", file=sys.stderr, flush=True)  # noqa: T201


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
