# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of programs as a part of an exported file: its files one after the other.

Names and links are in the description. They are checked as a whole before anything is written, and
links are made last, so that nothing is ever written through one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from freezingtime.errors import InputError

_READ_BYTES = 1 << 20
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class TreeFile(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A regular file, by its path from the tree's root."""

    path: str
    size_bytes: _Count
    executable: bool


class TreeLink(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A symbolic link."""

    path: str
    target: str


class ProgramTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All files and links, by path."""

    files: tuple[TreeFile, ...]
    links: tuple[TreeLink, ...]


def read_tree(root: Path) -> ProgramTree:
    """Describe the files below a directory, and the links that stay below it and lead to some."""
    files, links = [], []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            target = str(path.readlink())
            inside = path.resolve().is_relative_to(root.resolve())
            if path.exists() and inside and not target.startswith("/"):
                links.append(TreeLink(name, target))
        elif path.is_file():
            status = path.stat()
            files.append(TreeFile(name, status.st_size, bool(status.st_mode & 0o100)))
    return ProgramTree(tuple(files), tuple(links))


def tree_content(root: Path, tree: ProgramTree) -> Iterator[bytes]:
    """The content of all files, in their order; OSError when one cannot be read."""
    for each in tree.files:
        with (root / each.path).open("rb") as file:
            while piece := file.read(_READ_BYTES):
                yield piece


def check_tree(tree: ProgramTree) -> None:
    """See to it that its paths can be below one directory.

    Raises:
        InputError: one cannot.
    """
    leaves: set[PurePosixPath] = set()
    for name in (*(file.path for file in tree.files), *(link.path for link in tree.links)):
        path = PurePosixPath(name)
        plain = str(path) == name and not path.is_absolute() and ".." not in path.parts
        if not plain or "\0" in name or path == PurePosixPath() or path in leaves:
            raise InputError(f"is damaged (a file called {name!r})")
        leaves.add(path)
    for path in leaves:
        if not leaves.isdisjoint(path.parents):
            raise InputError(f"is damaged ({str(path)!r} is below a file)")


def write_tree(tree: ProgramTree, pieces: Iterator[bytes], root: Path) -> None:
    """Write a tree that was checked into the empty directory ``root``.

    Raises:
        InputError: the content is not as long as it says, or a link leads out of it.
        OSError: there is no room for it.
    """
    pending = memoryview(b"")
    for each in tree.files:
        path = root / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        left_bytes = each.size_bytes
        with path.open("xb") as file:
            while left_bytes:
                pending = pending or memoryview(next(pieces, b""))
                if not pending:
                    raise InputError(f"is damaged ({each.path!r} is cut short)")
                part, pending = pending[:left_bytes], pending[left_bytes:]
                file.write(part)
                left_bytes -= len(part)
        path.chmod(0o755 if each.executable else 0o644)
    if pending or any(pieces):
        raise InputError("is damaged (more content than its files have)")
    for link in tree.links:
        path = root / link.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(link.target)
    for link in tree.links:
        try:
            stays = (root / link.path).resolve(strict=True).is_relative_to(root.resolve())
        except (OSError, RuntimeError):  # to nowhere, or in a circle
            stays = False
        if not stays:
            raise InputError(f"is damaged (the link {link.path!r} leads out of it, or nowhere)")
