# SPDX-License-Identifier: GPL-2.0-or-later
"""Places of files that a command writes at its end: looked at before the work begins."""

from __future__ import annotations

import os
from pathlib import Path

from freezingtime.errors import InputError


def require_place(option: str, path: Path) -> None:
    """Require that a file can be made at ``path``, or replaced there; ``option`` names it.

    Raises:
        InputError: it cannot be.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{option} {path}: is not a regular file; name another file")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: no directory {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: {path.parent} cannot be written to; name another")
