# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard streams as a shell may hand them over: closed, or of an encoding with few letters.

Where stderr is closed, Python's is None, ``print`` to it goes to stdout instead, and the next
file that is opened gets its number, and with it what libraries and child processes complain of.
"""

from __future__ import annotations

import io
import os
import sys


def make_fit_to_write_to() -> None:
    """Have all that is printed go somewhere, whatever it is. Before files are opened."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A letter that the locale has not, such as of a path in LANG=de_DE.ISO-8859-1.
            stream.reconfigure(errors="backslashreplace")


def open_closed_streams() -> None:
    """Have what would go to a closed stdout or stderr go nowhere. Before files are opened."""
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
