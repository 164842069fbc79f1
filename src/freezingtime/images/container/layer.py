# SPDX-License-Identifier: GPL-2.0-or-later
"""A layer of a container image: a tar archive, maybe compressed, put on top of those below.

The rules are those of the OCI image specification (layer.md): ``.wh.NAME`` hides what lower
layers have of that name, ``.wh..wh..opq`` all that they have in its directory.
"""

from __future__ import annotations

import hashlib
import stat
import tarfile
from pathlib import Path
from typing import BinaryIO, Protocol

from freezingtime.errors import InputError
from freezingtime.host.foreign_tar import read_members
from freezingtime.images.container.content import Content
from freezingtime.images.container.tree import Attributes, Node, Tree
from freezingtime.units import format_size_bytes

#: What the layers of an image may have together when they are unpacked.
LAYERS_MAX_BYTES = 256 << 30

_HIDDEN = ".wh."
_HIDDEN_ALL = ".wh..wh..opq"
_HIDDEN_OTHERS = ".wh..wh."
_COPY_BYTES = 1 << 20
_MAGIC_BYTES = 8
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER_COMPRESSIONS = {b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}
_TIME_MAX_S = 1 << 33
_ID_MAX = (1 << 32) - 2
_TARGET_BYTES_MAX = 4095


class Blob(Protocol):
    """The bytes of a layer, as they are in the image."""

    def read(self, size_bytes: int, /) -> bytes:
        """The next bytes; fewer at the end."""
        ...


def unpack_layer(blob: Blob, target: Path, limit_bytes: int) -> str:
    """Write the plain tar archive of a layer into the new file ``target``; return its digest.

    Raises:
        InputError: it is damaged, has more than ``limit_bytes``, or is compressed in a way that
            layers are not.
        OSError: there is no room for it.
    """
    first = blob.read(_MAGIC_BYTES)
    source = _Joined(first, blob)
    for magic, name in _OTHER_COMPRESSIONS.items():
        if first.startswith(magic):
            raise InputError(f"is compressed by {name}; layers must use gzip or zstd, or none")
    compression = next((_COMPRESSIONS[m] for m in _COMPRESSIONS if first.startswith(m)), None)
    with target.open("xb") as file:
        if compression is None:
            return _copy(source, file, limit_bytes)
        import pyarrow as pa  # a heavy import, and most runs find their image unpacked

        try:
            with (
                pa.PythonFile(source, "r") as raw,
                pa.CompressedInputStream(raw, compression) as it,
            ):
                return _copy(it, file, limit_bytes)
        except (pa.ArrowException, OSError) as error:
            if source.error is not None:
                raise source.error from error
            if getattr(error, "errno", None):
                raise
            raise InputError(f"is damaged ({compression}: {error})") from error


def add_layer(tree: Tree, archive: BinaryIO, layer: int) -> list[str]:
    """Put the members of a layer's plain archive on top of ``tree``; return what is left out.

    That are device nodes and others that are no file, directory, symbolic link or named pipe.
    ``archive`` must stay open as long as ``tree`` is used. ``layer`` counts from the lowest, 0.

    Raises:
        InputError: the archive is damaged, or holds what no file system can.
    """
    left_out = []
    try:
        for member in read_members(archive):
            directory, _, name = member.name.rstrip("/").rpartition("/")
            if name == _HIDDEN_ALL:
                tree.hide_all_in(directory, layer)
            elif name.startswith(_HIDDEN_OTHERS):
                continue  # the books of aufs, which Docker once used
            elif name.startswith(_HIDDEN):
                hidden = name.removeprefix(_HIDDEN)
                if hidden in ("", ".", ".."):
                    raise InputError(f"{member.name!r} is an invalid whiteout")
                tree.hide(f"{directory}/{hidden}", layer)
            elif member.islnk():
                tree.link(member.name, member.linkname, layer)
            elif (node := _node(member, archive)) is not None:
                tree.add(member.name, node, layer)
            else:
                left_out.append(member.name)
    except tarfile.ReadError as error:
        raise InputError(f"is damaged ({error})") from error
    return left_out


def _node(member: tarfile.TarInfo, archive: BinaryIO) -> Node | None:
    kind, content, target = stat.S_IFREG, None, ""
    if member.isdir():
        kind = stat.S_IFDIR
    elif member.issym():
        kind, target = stat.S_IFLNK, member.linkname
        if not 0 < len(target.encode(errors="surrogateescape")) <= _TARGET_BYTES_MAX:
            raise InputError(f"{member.name!r} is an invalid or too long link")
    elif member.isfifo():
        kind = stat.S_IFIFO
    elif member.issparse():
        raise InputError(f"{member.name!r} is a sparse member; pack the layer without --sparse")
    elif not member.isreg():
        return None
    elif member.size:
        content = Content(archive, member.offset_data, member.size)
    owners = (member.uid, member.gid)
    if not all(0 <= owner <= _ID_MAX for owner in owners):
        raise InputError(f"{member.name!r} belongs to {member.uid}:{member.gid}, an invalid owner")
    time_s = min(max(int(member.mtime), 0), _TIME_MAX_S)
    return Node(kind, Attributes(member.mode & 0o7777, *owners, time_s), content, target)


def _copy(source: Blob, target: BinaryIO, limit_bytes: int) -> str:
    digest, copied_bytes = hashlib.sha256(), 0
    while part := source.read(_COPY_BYTES):
        copied_bytes += len(part)
        if copied_bytes > limit_bytes:
            raise InputError(
                f"the image has more than {format_size_bytes(LAYERS_MAX_BYTES)} of files"
            )
        digest.update(part)
        target.write(part)
    return f"sha256:{digest.hexdigest()}"


class _Joined:
    """Blob whose beginning was already read; its errors pass through Arrow by name."""

    closed = False

    def __init__(self, first: bytes, rest: Blob) -> None:
        self._first, self._rest = first, rest
        self.error: BaseException | None = None

    def read(self, size_bytes: int = _COPY_BYTES) -> bytes:
        if self._first:
            part, self._first = self._first[:size_bytes], self._first[size_bytes:]
            return part
        try:
            return self._rest.read(size_bytes)
        except BaseException as error:
            self.error = error
            raise

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """The blob is closed by whoever opened it."""
