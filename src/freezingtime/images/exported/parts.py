# SPDX-License-Identifier: GPL-2.0-or-later
"""A tar archive of compressed parts, with a description of them as its last member.

The archive itself is not compressed, so that each part is found without reading the others;
``tar -x`` and ``zstd -d`` read it, too. Equal parts give equal bytes: there are no times, owners
or names of the host in it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from freezingtime._version import RELEASE
from freezingtime.errors import InputError
from freezingtime.host.file_formats import recognize_open
from freezingtime.host.foreign_tar import read_members
from freezingtime.images.exported.description import (
    FRAME_BYTES,
    ExportDescription,
    ExportedQemu,
    Extent,
    Part,
    parse_description,
)

_DESCRIPTION = "freezingtime-image.json"
_SUFFIX = ".zst"
_LEVEL = 3
_DESCRIPTION_BYTES_MAX = 64 << 20
_MEMBERS_MAX = 100


class PartsWriter:
    """Writes parts, each as its content comes, and then what they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: dict[str, Part] = {}

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a part; OSError if there is no room for it."""
        import pyarrow as pa  # a heavy import, and few commands move images

        codec = pa.Codec("zstd", compression_level=_LEVEL)
        header_bytes = self._file.tell()
        self._file.write(bytes(tarfile.BLOCKSIZE))
        digest, size_bytes, frames_bytes = hashlib.sha256(), 0, []
        for frame in _frames(pieces):
            digest.update(frame)
            size_bytes += len(frame)
            compressed = codec.compress(frame, asbytes=True)
            frames_bytes.append(len(compressed))
            self._file.write(compressed)
        self._finish(header_bytes, name + _SUFFIX, sum(frames_bytes))
        self._parts[name] = Part(size_bytes, digest.hexdigest(), tuple(frames_bytes))

    def close(self, root_extents: tuple[Extent, ...], qemu: ExportedQemu | None) -> None:
        """Write the description and the archive's end; OSError if there is no room for it."""
        description = ExportDescription(
            freezingtime=RELEASE, parts=self._parts, root_extents=root_extents, qemu=qemu
        )
        header_bytes, text = self._file.tell(), description.to_json()
        self._file.write(bytes(tarfile.BLOCKSIZE) + text)
        self._finish(header_bytes, _DESCRIPTION, len(text))
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))

    def _finish(self, header_bytes: int, name: str, size_bytes: int) -> None:
        self._file.write(bytes(-size_bytes % tarfile.BLOCKSIZE))
        end_bytes = self._file.tell()
        member = tarfile.TarInfo(name)
        member.size = size_bytes
        self._file.seek(header_bytes)
        self._file.write(member.tobuf(tarfile.GNU_FORMAT))
        self._file.seek(end_bytes)


def _frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= FRAME_BYTES:
            yield bytes(pending[:FRAME_BYTES])
            del pending[:FRAME_BYTES]
    if pending:
        yield bytes(pending)


class PartsReader:
    """Reads parts that somebody else may have written. A context manager.

    Nothing of the archive is a name on this host: parts are asked for by names that are ours.
    """

    def __init__(self, path: Path) -> None:
        """Open the archive and read its description.

        Raises:
            InputError: it is none, or damaged; the text begins behind the file's name.
        """
        self._file = _open(path)
        try:
            self._places = _members(self._file)
            self.description = parse_description(self._read_description())
            self._require_parts()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def part(self, name: str) -> Part:
        """Return the description of a part.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.description.parts:
            raise InputError(f"is damaged: it has no {name}")
        return self.description.parts[name]

    def pieces(self, name: str) -> Iterator[bytes]:
        """The content of a part, compared with its digest when the last piece has been taken.

        Raises:
            InputError: it is damaged.
        """
        import pyarrow as pa  # a heavy import, and few commands move images

        part = self.part(name)
        codec, digest = pa.Codec("zstd"), hashlib.sha256()
        position_bytes, left_bytes = self._places[name + _SUFFIX][0], part.size_bytes
        for frame_bytes in part.frames_bytes:
            packed = os.pread(self._file.fileno(), frame_bytes, position_bytes)
            position_bytes += frame_bytes
            size_bytes = min(FRAME_BYTES, left_bytes)
            try:
                piece = codec.decompress(packed, size_bytes, asbytes=True)
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"is damaged ({name}: {error})") from error
            left_bytes -= len(piece)
            digest.update(piece)
            yield piece
        if left_bytes or digest.hexdigest() != part.sha256:
            raise InputError(f"is damaged: the digest of its {name} is another")

    def _read_description(self) -> bytes:
        if _DESCRIPTION not in self._places:
            raise InputError(f"is a tar archive, but has no {_DESCRIPTION}")
        offset_bytes, size_bytes = self._places[_DESCRIPTION]
        if size_bytes > _DESCRIPTION_BYTES_MAX:
            raise InputError(f"is damaged ({_DESCRIPTION} has {size_bytes} bytes)")
        return os.pread(self._file.fileno(), size_bytes, offset_bytes)

    def _require_parts(self) -> None:
        described = {name + _SUFFIX for name in self.description.parts}
        if others := sorted({*self._places} - {_DESCRIPTION} - described):
            raise InputError(f"is damaged: its description does not have {others[0]!r}")
        for name, part in self.description.parts.items():
            size_bytes = sum(part.frames_bytes)
            if self._places.get(name + _SUFFIX, (0, -1))[1] != size_bytes:
                raise InputError(f"is damaged: {name + _SUFFIX} has not {size_bytes} bytes")


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("is not a regular file")
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{error.strerror}; name a readable file") from error


def _members(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Return the offsets and lengths of the members, by name."""
    found = recognize_open(file.fileno(), os.fstat(file.fileno()).st_size)
    if found is None or found.magic != b"ustar":
        what = "is not a tar archive" if found is None else f"is {found.name}"
        raise InputError(f"{what}, and not what 'image export' writes")
    places: dict[str, tuple[int, int]] = {}
    try:
        for member in read_members(file):
            # Others are for an archive's files; this one has content, and no files.
            if not member.isreg() or member.issparse():
                raise InputError(f"is damaged: {member.name!r} in it is not a plain file")
            if member.name in places or len(places) == _MEMBERS_MAX:
                raise InputError(f"is damaged: {member.name!r} in it is one too many")
            places[member.name] = (member.offset_data, member.size)
    except tarfile.ReadError as error:
        raise InputError(f"is damaged or cut short ({error})") from error
    return places
