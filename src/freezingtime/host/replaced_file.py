# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that appear complete or not at all, and whether they could, before the work begins."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from freezingtime.errors import InputError


def require_place(option: str, path: Path) -> None:
    """Require that a file can be made at ``path``, or replaced there; ``option`` names it.

    Raises:
        InputError: it cannot be.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - never raise
        raise InputError(f"{option} {path}: is not a regular file; name another file")
    place = (Path(os.path.realpath(path)) if path.is_symlink() else path).parent
    if not os.path.isdir(place):  # noqa: PTH112
        raise InputError(f"{option} {path}: no directory {place}; create it first")
    if not os.access(place, os.W_OK):
        raise InputError(f"{option} {path}: {place} cannot be written to; name another")


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` if no exception leaves the block.

    Raises:
        OSError: it cannot be written.
    """
    with replaced_path(path) as partial, partial.open("wb") as file:
        yield file


@contextmanager
def replaced_path(path: Path) -> Iterator[Path]:
    """A path beside ``path``; the file there takes its place if no exception leaves the block.

    Where ``path`` is a symbolic link, it stays one, and what it names is what is replaced.
    Its name is nobody else's and is hidden, so that two who write the same file do not write
    into each other's, and what one leaves who is killed does not pass for anything.

    Raises:
        OSError: it cannot take its place.
    """
    place = Path(os.path.realpath(path))
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(place)
    except BaseException:
        with suppress(OSError):  # what has ended the block is what counts
            partial.unlink()
        raise
