# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of the host's as a container's root: what is in it, and what is mounted is not."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.images.container.content import Content, OnHost, file_identity
from freezingtime.images.container.tree import Attributes, Node, Tree

_KINDS = (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO)


def read_directory(path: Path) -> tuple[Tree, str]:
    """The tree below a directory, and a digest that changes when anything in it does.

    Of other file systems that are mounted there only the mount points are taken; device nodes and
    sockets are left out.

    Raises:
        InputError: something in it cannot be read.
    """
    tree, digest = Tree(), hashlib.sha256()
    links: dict[tuple[int, int], Node] = {}
    try:
        status = path.stat()
        tree.root.attributes = _attributes(status)
        device, waiting = status.st_dev, [("", str(path))]
        while waiting:
            prefix, directory = waiting.pop()
            for item in sorted(os.scandir(directory), key=lambda item: item.name):
                name = f"{prefix}{item.name}"
                status = item.stat(follow_symlinks=False)
                kind = stat.S_IFMT(status.st_mode)
                if kind not in _KINDS:
                    continue
                target = str(Path(item.path).readlink()) if kind == stat.S_IFLNK else ""
                identity = (status.st_mode, status.st_uid, status.st_gid, *file_identity(status))
                digest.update(repr((name, target, identity)).encode())
                node = links.get((status.st_dev, status.st_ino))
                if node is None or kind == stat.S_IFDIR:
                    node = Node(kind, _attributes(status), None, target)
                    if kind == stat.S_IFREG and status.st_size:
                        on_host = OnHost(item.path, file_identity(status))
                        node.content = Content(on_host, 0, status.st_size)
                    if status.st_nlink > 1:
                        links[status.st_dev, status.st_ino] = node
                tree.add(name, node)
                if kind == stat.S_IFDIR and status.st_dev == device:
                    waiting.append((f"{name}/", item.path))
    except OSError as error:
        where = error.filename or path
        raise InputError(f"{where}: {error.strerror}; you need read permission") from error
    return tree, f"sha256:{digest.hexdigest()}"


def _attributes(status: os.stat_result) -> Attributes:
    time_s = max(0, int(status.st_mtime))
    return Attributes(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, time_s)
