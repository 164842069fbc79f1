"""Text that others have written - guests, files, other processes - made fit to be shown."""

from __future__ import annotations


def printable(line: str) -> str:
    """One line with nothing in it that a terminal would obey: such characters become ``?``."""
    return "".join(sign if sign.isprintable() else "?" for sign in line)
