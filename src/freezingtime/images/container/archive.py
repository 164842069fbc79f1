# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that a container image is kept in: an OCI layout, or what ``docker save`` writes.

Either is a directory, or a tar archive, which is read where it lies.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from freezingtime.errors import InputError
from freezingtime.host.foreign_tar import read_members

#: Index, manifest and configuration are some KB each.
_DOCUMENT_BYTES_MAX = 8 << 20
#: An image has some hundred files at most; an archive may hold several images.
_MEMBERS_MAX = 100_000
_LINKS_MAX = 8
_READ_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Section:
    """Some bytes of a file, read from their first to their last."""

    def __init__(self, file: BinaryIO, offset_bytes: int, size_bytes: int) -> None:
        self._file, self._position_bytes = file, offset_bytes
        self._left_bytes = self.size_bytes = size_bytes

    def read(self, size_bytes: int, /) -> bytes:
        """The next bytes; fewer at the end."""
        part = os.pread(
            self._file.fileno(), min(size_bytes, self._left_bytes), self._position_bytes
        )
        self._position_bytes += len(part)
        self._left_bytes -= len(part)
        return part


class VerifiedSection:
    """A section that must have a digest: whoever has read it all knows that it has."""

    def __init__(self, section: Section, digest: str) -> None:
        self._section, self._digest = section, digest
        self._sha256 = hashlib.sha256()

    def read(self, size_bytes: int, /) -> bytes:
        """As of the section."""
        part = self._section.read(size_bytes)
        self._sha256.update(part)
        return part

    def require_digest(self) -> None:
        """Read what is left, and compare.

        Raises:
            InputError: the bytes are others than the digest is of.
        """
        while self.read(_READ_BYTES):
            pass
        if self._sha256.hexdigest() != hex_digest(self._digest):
            raise InputError(f"the blob {self._digest} is damaged: its digest differs")


class ImageFiles:
    """The named files of a layout or archive. Names are those that the image itself uses."""

    def __init__(self, path: Path, cleanup: contextlib.ExitStack) -> None:
        """Open them; ``cleanup`` will close them.

        Raises:
            InputError: it is neither a directory nor a tar archive.
        """
        self._path, self._cleanup = path, cleanup
        self._archive: BinaryIO | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        if not path.is_dir():
            self._archive = _open_file(path, cleanup)
            self._find_members(self._archive)

    def __contains__(self, name: str) -> bool:
        if self._archive is None:
            return (self._path / _inner(name)).is_file()
        return self._resolved(name) in self._places

    def section(self, name: str) -> Section:
        """The bytes of a file.

        Raises:
            InputError: it is not there, or cannot be read.
        """
        if self._archive is None:
            path = self._path / _inner(name)
            if not path.is_file():
                raise InputError(f"{name!r} is missing in it")
            file = _open_file(path, self._cleanup)
            return Section(file, 0, os.fstat(file.fileno()).st_size)
        place = self._places.get(self._resolved(name))
        if place is None:
            raise InputError(f"{name!r} is missing in it")
        return Section(self._archive, *place)

    def document(self, name: str) -> bytes:
        """All of a file that is no layer.

        Raises:
            InputError: it is not there, cannot be read, or is longer than any is.
        """
        section = self.section(name)
        if section.size_bytes > _DOCUMENT_BYTES_MAX:
            raise InputError(f"{name!r} has {section.size_bytes} bytes, too many for an image")
        return section.read(_DOCUMENT_BYTES_MAX)

    def blob_document(self, digest: str) -> bytes:
        """All of a blob that is no layer.

        Raises:
            InputError: as of :meth:`document`; or it has another digest.
        """
        content = self.document(blob_name(digest))
        if hashlib.sha256(content).hexdigest() != hex_digest(digest):
            raise InputError(f"the blob {digest} is damaged: its digest differs")
        return content

    def _find_members(self, archive: BinaryIO) -> None:
        magic = os.pread(archive.fileno(), 6, 0)
        for compressed in (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh"):
            if magic.startswith(compressed):
                raise InputError("is compressed; decompress it first")
        try:
            for count, member in enumerate(read_members(archive), start=1):
                if count > _MEMBERS_MAX:
                    raise InputError(f"has more than {_MEMBERS_MAX} members, too many for an image")
                name = str(PurePosixPath(member.name))
                if member.isreg() and not member.issparse():
                    self._places[name] = (member.offset_data, member.size)
                elif member.issym():
                    # Older docker has an image's equal layers once.
                    self._links[name] = os.path.normpath(f"{name}/../{member.linkname}")
                elif member.islnk():
                    self._links[name] = str(PurePosixPath(member.linkname))
        except tarfile.ReadError as error:
            raise InputError(
                f"is neither an OCI layout nor a tar archive, or is damaged ({error})"
            ) from error

    def _resolved(self, name: str) -> str:
        name = str(PurePosixPath(name))
        for _ in range(_LINKS_MAX):
            if name in self._places or name not in self._links:
                break
            name = self._links[name]
        return name


def blob_name(digest: str) -> str:
    """Return the name of the blob with this digest in a layout.

    Raises:
        InputError: it is none of SHA-256.
    """
    return f"blobs/sha256/{hex_digest(digest)}"


def hex_digest(digest: str) -> str:
    """The hexadecimal digits of a digest.

    Raises:
        InputError: it is none of SHA-256.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise InputError(f"the digest {digest[:80]!r} is not sha256: and 64 hexadecimal digits")
    return match[1]


def _inner(name: str) -> PurePosixPath:
    """A name that a document of the image uses for one of its files."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"the name {name[:80]!r} leads outside")
    return path


def _open_file(path: Path, cleanup: contextlib.ExitStack) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("is neither a regular file nor a directory")
        return cleanup.enter_context(path.open("rb", buffering=0))
    except OSError as error:
        raise InputError(f"{error.strerror}; name a readable file or directory") from error
