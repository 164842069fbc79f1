# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard streams as a shell may hand them over: closed, or of an encoding with few letters.

Where stderr is closed, Python's is None, ``print`` to it goes to stdout instead, and the next
file that is opened gets its number, and with it what libraries and child processes complain of.
"""

from __future__ import annotations

import io
import os
import sys


def prepare_standard_streams() -> None:
    """Make stdout and stderr accept any text. Call before files are opened."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character missing in the locale, such as in a path under LANG=de_DE.ISO-8859-1.
            stream.reconfigure(errors="backslashreplace")


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
