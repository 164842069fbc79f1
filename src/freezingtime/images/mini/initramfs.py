# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs in memory, and its bytes in the kernel's ``newc`` cpio format.

Equal content gives equal bytes: names are sorted, everything belongs to root, all times
are zero and inode numbers count from 1. The format is described in the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst. Nothing is compressed: the
guest would spend more instructions on unpacking than on copying.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import PurePosixPath

_MAGIC = "070701"
_TRAILER = "TRAILER!!!"
_ALIGNMENT_BYTES = 4
_MAX_FILE_BYTES = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class _Entry:
    """``mode`` includes the file type; ``data`` is a file's content or a symlink's target."""

    mode: int
    data: bytes = b""


class Initramfs:
    """A file tree. Names are relative to its root, as in ``usr/bin/fio``.

    Missing parent directories are made, with mode 0755. Adding a name twice raises
    ValueError, except for directories.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def add_directory(self, name: str, permissions: int = 0o755) -> None:
        """Add a directory, or set the permissions of one that is there."""
        existing = self._entries.get(name)
        if existing is not None and not stat.S_ISDIR(existing.mode):
            raise ValueError(f"{name} is in the initramfs already and is no directory")
        self._add_parents(name)
        self._entries[name] = _Entry(stat.S_IFDIR | permissions)

    def add_file(self, name: str, data: bytes, permissions: int = 0o644) -> None:
        """Add a regular file of less than 4 GiB."""
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError(f"{name} has {len(data)} bytes; the format ends at 4 GiB")
        self._add(name, _Entry(stat.S_IFREG | permissions, data))

    def add_symlink(self, name: str, target: str) -> None:
        """Add a symbolic link to ``target``, which need not exist."""
        self._add(name, _Entry(stat.S_IFLNK | 0o777, target.encode()))

    def to_bytes(self) -> bytes:
        """The cpio archive."""
        archive = bytearray()
        for inode, name in enumerate(sorted(self._entries), start=1):
            _append_member(archive, inode, name, self._entries[name])
        _append_member(archive, 0, _TRAILER, _Entry(0))
        return bytes(archive)

    def _add(self, name: str, entry: _Entry) -> None:
        if name in self._entries:
            raise ValueError(f"{name} is in the initramfs already")
        self._add_parents(name)
        self._entries[name] = entry

    def _add_parents(self, name: str) -> None:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
            raise ValueError(f"{name!r} is not a plain relative path")
        for parent in path.parents:
            if parent.name:
                self._require_directory(str(parent))

    def _require_directory(self, name: str) -> None:
        entry = self._entries.setdefault(name, _Entry(stat.S_IFDIR | 0o755))
        if not stat.S_ISDIR(entry.mode):
            raise ValueError(f"{name} is in the initramfs already and is no directory")


def _append_member(archive: bytearray, inode: int, name: str, entry: _Entry) -> None:
    link_count = 2 if stat.S_ISDIR(entry.mode) else 1
    name_bytes = name.encode() + b"\0"
    user = group = mtime = device_major = device_minor = 0
    node_major = node_minor = checksum = 0
    fields = (
        *(inode, entry.mode, user, group, link_count, mtime, len(entry.data)),
        *(device_major, device_minor, node_major, node_minor, len(name_bytes), checksum),
    )
    archive += (_MAGIC + "".join(f"{field:08X}" for field in fields)).encode() + name_bytes
    _pad(archive)
    archive += entry.data
    _pad(archive)


def _pad(archive: bytearray) -> None:
    archive += bytes(-len(archive) % _ALIGNMENT_BYTES)
