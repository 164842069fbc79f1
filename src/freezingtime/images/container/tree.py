# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a container image, as a tree in memory: names and attributes, no content.

Layers are put on top of each other here, as they are in a container: nothing of an image is
ever a name on the host. What a name leads to is decided as a container's kernel would, with the
image's own root as the root of all links.

Paths are text as Python has it of the host's file names (``surrogateescape``).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from freezingtime.errors import InputError
from freezingtime.images.container.content import Content

#: More files than any image has; each takes some 500 bytes of the host's memory.
ENTRIES_MAX = 2_000_000
#: As many symbolic links as Linux follows in one path, and bytes as a name may have.
_LINKS_MAX = 40
_NAME_BYTES_MAX = 255
_PATH_BYTES_MAX = 4095
#: Deeper than any system is, and not so deep that functions here could not call themselves.
_DEPTH_MAX = 256


@dataclass(slots=True)
class Attributes:
    """Owner, permissions and time of change of a file."""

    permissions: int = 0o755
    """Twelve bits."""
    user_id: int = 0
    group_id: int = 0
    time_s: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """A file of any kind. Two names may lead to one, which then is a hard link.

    ``kind`` is one of the ``stat.S_IF*`` constants of a directory, regular file, symbolic link
    or named pipe.
    """

    kind: int
    attributes: Attributes
    content: Content | None = None
    """Of a regular file that is not empty."""
    target: str = ""
    """Where a symbolic link leads."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """Of a directory."""

    @property
    def is_directory(self) -> bool:
        return self.kind == stat.S_IFDIR

    @property
    def is_symlink(self) -> bool:
        return self.kind == stat.S_IFLNK

    @property
    def size_bytes(self) -> int:
        return 0 if self.content is None else self.content.size_bytes


@dataclass(slots=True)
class Entry:
    """A name in a directory: what it leads to, and the layer that has put it there."""

    node: Node
    layer: int


class Tree:
    """A root directory and what is below. Every :class:`InputError` tells one of its paths."""

    def __init__(self) -> None:
        self.root = Node(stat.S_IFDIR, Attributes())
        self._added_count = 0

    def add(self, path: str, node: Node, layer: int = 0) -> None:
        """Put ``node`` there, in place of what was there; a directory leaves what is in one.

        Directories on the way are made, and links on the way followed, within this tree.

        Raises:
            InputError: the way is no way, the name is too long, or there are too many.
        """
        self._added_count += 1
        if self._added_count > ENTRIES_MAX:
            raise InputError(f"it has more than {ENTRIES_MAX} files")
        names = _names(path)
        if not names:
            if not node.is_directory:
                raise InputError("its root is not a directory")
            self.root.attributes = node.attributes
            return
        parent = self.directory(names[:-1], layer)
        there = parent.entries.get(names[-1])
        if there is not None and there.node.is_directory and node.is_directory:
            there.node.attributes, there.layer = node.attributes, layer
        else:
            parent.entries[names[-1]] = Entry(node, layer)

    def link(self, path: str, target: str, layer: int = 0) -> None:
        """Make ``path`` another name of what ``target`` is.

        Raises:
            InputError: that is not there, or a directory.
        """
        names = _names(target)
        parent = self.find(names[:-1])
        entry = None if parent is None or not names else parent.entries.get(names[-1])
        if entry is None or entry.node.is_directory:
            raise InputError(f"{path!r} is a link to {target!r}, which is not a file in it")
        self.add(path, entry.node, layer)

    def hide(self, path: str, layer: int) -> None:
        """Remove what layers below ``layer`` have put there; nothing, if nothing is there."""
        names = _names(path)
        parent = self.find(names[:-1])
        if parent is not None and names and names[-1] in parent.entries:
            entry = parent.entries[names[-1]]
            if not _keep_of(entry, layer):
                del parent.entries[names[-1]]

    def hide_all_in(self, path: str, layer: int) -> None:
        """Remove all that layers below ``layer`` have put into a directory."""
        directory = self.find(_names(path))
        if directory is not None:
            _prune(directory, layer)

    def directory(self, names: list[str], layer: int = 0) -> Node:
        """The directory of that path, made if it is not there.

        Raises:
            InputError: something else is in the way.
        """
        node = self._walk(names, layer, make=True)
        if node is None or not node.is_directory:
            raise InputError(f"{'/'.join(names)!r} is not a directory, but has files in it")
        return node

    def find(self, path: str | list[str]) -> Node | None:
        """Follow a path and all its links; None if it leads nowhere."""
        return self._walk(_names(path) if isinstance(path, str) else path, 0, make=False)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """All paths but the root's, without ``/`` in front: what is in a directory behind it."""
        waiting = [("", self.root)]
        while waiting:
            prefix, directory = waiting.pop()
            for name, entry in sorted(directory.entries.items()):
                path = f"{prefix}{name}"
                yield path, entry.node
                if entry.node.is_directory:
                    waiting.append((f"{path}/", entry.node))

    def content_bytes(self) -> int:
        """Total size of the files, each counted once."""
        sizes = {id(node): node.size_bytes for _, node in self.walk()}
        return sum(sizes.values())

    def _walk(self, names: list[str], layer: int, *, make: bool) -> Node | None:
        way, rest, links = [self.root], list(reversed(names)), 0
        while rest:
            name = rest.pop()
            if name == "..":
                del way[max(1, len(way) - 1) :]  # above the root there is the root
                continue
            if not way[-1].is_directory:
                return None
            entry = way[-1].entries.get(name)
            if entry is None:
                if not make:
                    return None
                entry = way[-1].entries[name] = Entry(Node(stat.S_IFDIR, Attributes()), layer)
                self._added_count += 1
            if entry.node.is_symlink:
                links += 1
                if links > _LINKS_MAX:
                    raise InputError(f"{'/'.join(names)!r} has too many symbolic links in it")
                if entry.node.target.startswith("/"):
                    del way[1:]
                rest += reversed(_parts(entry.node.target))
                continue
            way.append(entry.node)
            if len(way) > _DEPTH_MAX:
                raise InputError(
                    f"{names[0]!r} has more than {_DEPTH_MAX} directories in each other"
                )
        return way[-1]


def _keep_of(entry: Entry, layer: int) -> bool:
    """Leave of an entry what ``layer`` has put there; whether that is anything."""
    has_new = entry.node.is_directory and _prune(entry.node, layer)
    return has_new or entry.layer >= layer


def _prune(directory: Node, layer: int) -> bool:
    """Leave of a directory what ``layer`` has put there; whether that is anything."""
    for name, entry in list(directory.entries.items()):
        if not _keep_of(entry, layer):
            del directory.entries[name]
    return bool(directory.entries)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _names(path: str) -> list[str]:
    """The names that a path consists of.

    Raises:
        InputError: it leads upwards, or is longer than a path can be.
    """
    names = _parts(path)
    if ".." in names:
        raise InputError(f"the name {path!r} leads outside")
    encoded = [len(name.encode(errors="surrogateescape")) for name in names]
    if max(encoded, default=0) > _NAME_BYTES_MAX or sum(encoded) + len(names) > _PATH_BYTES_MAX:
        raise InputError(f"the name {path[:40]!r}... is too long")
    return names
