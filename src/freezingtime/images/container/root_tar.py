# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree as one tar archive, for the guest that makes a file system of it.

Equal trees give equal bytes. It is in GNU's format, which busybox reads: long names, large
sizes, any owner. Names come after the directories that they are in, and lead through no links.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import BinaryIO

from freezingtime.errors import InputError
from freezingtime.images.container.tree import Node, Tree

_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
_PATH_BYTES_MAX = 4095


def write_root_tar(tree: Tree, target: BinaryIO) -> None:
    """Write all of ``tree`` to an empty file.

    Raises:
        InputError: a file of the host's cannot be read, or has changed.
        OSError: there is no room.
    """
    names: dict[int, str] = {}
    _write_member(tree.root, "./", None, target)
    for path, node in tree.walk():
        if len(path.encode(errors="surrogateescape")) > _PATH_BYTES_MAX:
            raise InputError(f"the name {path[:40]!r}... is too long")
        first = None if node.is_directory else names.setdefault(id(node), path)
        _write_member(node, path, first if first != path else None, target)
    end_bytes = target.tell() + 2 * tarfile.BLOCKSIZE
    target.truncate(end_bytes + -end_bytes % tarfile.RECORDSIZE)


def _write_member(node: Node, path: str, first: str | None, target: BinaryIO) -> None:
    """``first`` is the file's first name, if this is another of it."""
    member = tarfile.TarInfo(path)
    own = node.attributes
    member.mode, member.mtime = own.permissions, own.time_s
    member.uid, member.gid = own.user_id, own.group_id
    member.type = tarfile.LNKTYPE if first is not None else _TYPES[node.kind]
    member.linkname = node.target if first is None else first
    content = node.content if first is None else None
    if content is not None:
        member.size = content.size_bytes
    target.write(member.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
    if content is not None:
        for piece in content.pieces():
            if piece.count(0) == len(piece):
                target.seek(len(piece), os.SEEK_CUR)
            else:
                target.write(piece)
        target.seek(-content.size_bytes % tarfile.BLOCKSIZE, os.SEEK_CUR)
