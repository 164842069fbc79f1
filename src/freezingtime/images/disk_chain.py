# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that a disk image consists of: itself, its backing files, their data files.

A qcow2 image names files of the host. Whoever wrote the image wrote the names, so ``qemu-img``
must not open it by itself: some versions follow even what an image merely being looked at says
(CVE-2024-4467). So the headers are read here, each name is checked, and ``qemu-img`` is given
all files by name, for what it is told of is not looked up in the image
(:func:`block_graph`). The header's layout is that of QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from freezingtime.errors import InputError
from freezingtime.host.file_formats import QCOW2, FileFormat, FileKind, recognize_open

#: Magic, version, offset and length of the backing file's name, cluster bits.
_HEADER = struct.Struct(">4sIQII")
_FEATURES = struct.Struct(">Q")
_FEATURES_OFFSET = 72
_HAS_DATA_FILE = 1 << 2
_HEADER_LENGTH = struct.Struct(">I")
_HEADER_LENGTH_OFFSET = 100
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT, _DATA_FILE_NAME = 0xE2792ACA, 0x44415441
_CLUSTER_BITS = range(9, 22)
_NAME_BYTES_MAX = 1023
_SHORTEST_HEADER_BYTES = {2: 72, 3: 104}
_LAYERS_MAX = 100


@dataclass(frozen=True, slots=True)
class Layer:
    """One image of a chain; both paths are free of symbolic links."""

    path: Path
    format: str
    """``raw`` or ``qcow2``."""
    data_file: Path | None = None
    """Where the content of a qcow2 image is, if not in itself."""


@dataclass(frozen=True, slots=True)
class _Header:
    """Other files named by a qcow2 image; None where it names none."""

    backing: str | None = None
    backing_format: str | None = None
    data_file: str | None = None


@dataclass(frozen=True, slots=True)
class _Places:
    """Allowed directories of files; all free of symbolic links."""

    own: Collection[Path]
    """Not below these: an image in somebody's home is not to read what is in its ``.ssh``."""
    allowed: Collection[Path]

    def hold(self, path: Path) -> bool:
        return path.parent in self.own or any(map(path.is_relative_to, self.allowed))


def read_chain(image: Path, about: str, allowed: Sequence[Path] = ()) -> list[Layer]:
    """The layers of a disk image, the topmost first; ``about`` begins messages about it.

    All files are in the image's own directory, or in or below one of ``allowed``.

    Raises:
        InputError: one cannot be read, is damaged, or is elsewhere.
    """
    own = {image.parent.resolve(), image.resolve().parent}
    places = _Places(own, [directory.resolve() for directory in allowed])
    layers: list[Layer] = []
    path, wanted_format, what = image, None, about
    while True:
        header, kind = _read_image(path, wanted_format, what)
        data_file = None
        if header.data_file is not None:
            named = _named_file(path, header.data_file, f"{about}: its data file", places)
            _require_file(named, f"{about}: its data file {str(named)!r}")
            data_file = named.resolve()
        resolved = path.resolve()
        if any(layer.path == resolved for layer in layers):
            raise InputError(f"{about}: is its own backing file {str(resolved)!r}")
        layers.append(Layer(resolved, kind, data_file))
        if header.backing is None:
            return layers
        if len(layers) == _LAYERS_MAX:
            raise InputError(f"{about}: has more than {_LAYERS_MAX} files, one backing another")
        path = _named_file(path, header.backing, f"{about}: its backing file", places)
        what, wanted_format = f"{about}: its backing file {str(path)!r}", header.backing_format


def chain_files(layers: Sequence[Layer]) -> list[Path]:
    """All files of a chain."""
    return [path for layer in layers for path in (layer.path, layer.data_file) if path is not None]


def block_graph(layers: Sequence[Layer]) -> dict[str, Any]:
    """The chain as QEMU's options of a block device, which leave nothing to what images say."""
    graph: dict[str, Any] | None = None
    for layer in reversed(layers):
        below, graph = graph, {"driver": layer.format, "file": _protocol(layer.path)}
        if layer.format == "qcow2":
            graph["backing"] = below
        if layer.data_file is not None:
            graph["data-file"] = _protocol(layer.data_file)
    if graph is None:
        raise ValueError("a chain has a layer at least")
    return graph


def _protocol(path: Path) -> dict[str, str]:
    return {"driver": "file", "filename": str(path)}


def _read_image(path: Path, wanted_format: str | None, about: str) -> tuple[_Header, str]:
    """Return the other files that an image names, and its format; None: detect it."""
    _require_file(path, about)
    try:
        with path.open("rb") as file:
            found = recognize_open(file.fileno(), path.stat().st_size)
            kind = wanted_format or ("qcow2" if found is QCOW2 else "raw")
            if kind == "raw":
                if wanted_format is None:
                    _require_raw(found, path, about)
                return _Header(), kind
            if kind != "qcow2" or found is not QCOW2:
                raise InputError(
                    f"{about}: is declared as {kind!r}; it must be raw or qcow2, "
                    "to which 'qemu-img convert -O qcow2' converts it"
                )
            return _read_header(file), kind
    except OSError as error:
        raise InputError(f"{about}: {error.strerror}; name a readable file") from error
    except (struct.error, ValueError) as error:
        raise InputError(f"{about}: is a damaged qcow2 image ({error})") from error


def _require_raw(found: FileFormat | None, path: Path, about: str) -> None:
    if found is not None and found.kind in (FileKind.DISK_IMAGE, FileKind.COMPRESSED):
        raise InputError(
            f"{about}: is {found.name}, not a raw or qcow2 disk; "
            f"convert it with '{found.command(path)}'"
        )


def _require_file(path: Path, about: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{about}: {error.strerror}; name a readable file") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{about}: is not a regular file")


def _read_header(file: BinaryIO) -> _Header:
    """Raises ValueError or struct.error when it is none."""
    file.seek(0)
    start = file.read(1 << _CLUSTER_BITS[-1])
    _magic, version, name_offset, name_bytes, cluster_bits = _HEADER.unpack_from(start)
    if version not in _SHORTEST_HEADER_BYTES:
        raise ValueError(f"its version is {version}, not 2 or 3")
    if cluster_bits not in _CLUSTER_BITS:
        raise ValueError(f"its clusters have 2^{cluster_bits} bytes")
    header_bytes = _SHORTEST_HEADER_BYTES[version]
    features = 0
    if version > 2:
        (features,) = _FEATURES.unpack_from(start, _FEATURES_OFFSET)
        (header_bytes,) = _HEADER_LENGTH.unpack_from(start, _HEADER_LENGTH_OFFSET)
    end = name_offset or 1 << cluster_bits
    if name_offset and not header_bytes <= name_offset <= len(start) - name_bytes:
        raise ValueError("the name of its backing file is outside its first cluster")
    if name_bytes > _NAME_BYTES_MAX:
        raise ValueError(f"the name of its backing file has {name_bytes} bytes")
    extensions = dict(_extensions(start[:end], header_bytes))
    has_data_file = features & _HAS_DATA_FILE
    if has_data_file and not extensions.get(_DATA_FILE_NAME):
        raise ValueError("it has an external data file, and does not name it")
    backing = start[name_offset : name_offset + name_bytes] if name_offset else b""
    return _Header(
        _text(backing),
        _text(extensions.get(_BACKING_FORMAT, b"")),
        _text(extensions[_DATA_FILE_NAME]) if has_data_file else None,
    )


def _extensions(start: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Type and data of each header extension."""
    while offset + _EXTENSION.size <= len(start):
        kind, size_bytes = _EXTENSION.unpack_from(start, offset)
        offset += _EXTENSION.size
        if kind == 0:
            return
        if size_bytes > len(start) - offset:
            raise ValueError("a header extension goes beyond its header")
        yield kind, start[offset : offset + size_bytes]
        offset += -(-size_bytes // 8) * 8


def _text(name: bytes) -> str | None:
    return os.fsdecode(name) if name else None


def _named_file(image: Path, name: str, what: str, places: _Places) -> Path:
    """The file that ``image`` names, which is where it may be."""
    plain = name.removeprefix("file:")
    if ":" in plain.split("/", 1)[0] or "\0" in plain:
        raise InputError(
            f"{what} is named {name!r}, which is not a plain file; "
            "'qemu-img rebase -u -b FILE -F FORMAT' names another"
        )
    path = image.parent / plain
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # the latter where symbolic links go round
        reason = error.strerror if isinstance(error, OSError) else "its links form a loop"
        raise InputError(f"{what} {str(path)!r}: {reason}") from error
    if not places.hold(resolved):
        raise InputError(
            f"{what} {str(resolved)!r} is not in the image's own directory, so the image may have "
            "been made to read it; if it is meant to, give --allow-backing "
            f"{str(resolved.parent)!r}"
        )
    return path
