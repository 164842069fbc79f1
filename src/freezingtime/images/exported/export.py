# SPDX-License-Identifier: GPL-2.0-or-later
"""A built image written into one file, to be taken in on another machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from freezingtime.errors import InputError
from freezingtime.host.replaced_file import replaced
from freezingtime.images.check import is_sound
from freezingtime.images.debian.packages import Progress
from freezingtime.images.exported.description import QEMU_PART, ExportedQemu, Extent
from freezingtime.images.exported.parts import PartsWriter
from freezingtime.images.exported.tree import read_tree, tree_content
from freezingtime.images.guest_image import GuestImage
from freezingtime.images.sparse_file import data_blocks

_READ_BYTES = 1 << 20
#: Holes are told from data by blocks of this size.
_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)


class QemuToExport(NamedTuple):
    """A QEMU that was fetched into the cache."""

    suite: str
    root: Path
    sha256: str
    """Of its program."""


def export_image(
    image: GuestImage, target: Path, progress: Progress, qemu: QemuToExport | None = None
) -> None:
    """Write an image, and maybe a QEMU, to the file ``target``, which appears when it is whole.

    Equal images give equal bytes.

    Raises:
        InputError: the image is damaged, or nothing can be written there.
    """
    if target.exists() and not target.is_file():
        raise InputError(f"{target}: is not a regular file; name another file")
    progress("check the image", 0, 1)
    if not is_sound(image, whole=True):
        raise InputError(f"image export {image.name}: the image is damaged; build it anew")
    try:
        with replaced(target) as file:
            _write(image, qemu, file, progress)
    except OSError as error:
        if error.filename is not None and Path(error.filename).is_relative_to(image.directory):
            raise InputError(
                f"image export {image.name}: the image has just been removed"
            ) from error
        raise InputError(
            f"{target}: {error.strerror or error}; name a file in a directory with room"
        ) from error


def _write(
    image: GuestImage, qemu: QemuToExport | None, file: BinaryIO, progress: Progress
) -> None:
    parts = PartsWriter(file)
    extents: tuple[Extent, ...] = ()
    progress("write the image", 0, 1)
    for path in (image.manifest_path, image.kernel_path, image.initrd_path):
        parts.add(path.name, _pieces(path))
    if image.root_path is not None:
        extents = tuple(_extents(image.root_path))
        parts.add(image.root_path.name, _data(image.root_path, extents, progress))
    described = None
    if qemu is not None:
        progress("write its QEMU", 0, 1)
        tree = read_tree(qemu.root)
        parts.add(QEMU_PART, tree_content(qemu.root, tree))
        described = ExportedQemu(suite=qemu.suite, sha256=qemu.sha256, tree=tree)
    parts.close(extents, described)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def _extents(path: Path) -> Iterator[Extent]:
    """Yield the extents of a sparse file that are not all zeros, holes or not."""
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        start_bytes = end_bytes = 0
        for position_bytes in data_blocks(path, _BLOCK_BYTES):
            block = os.pread(file.fileno(), _BLOCK_BYTES, position_bytes)
            if block == _ZEROS[: len(block)]:
                continue
            if position_bytes != end_bytes:
                if end_bytes:
                    yield Extent(start_bytes, end_bytes - start_bytes)
                start_bytes = position_bytes
            end_bytes = min(position_bytes + _BLOCK_BYTES, size_bytes)
        if end_bytes:
            yield Extent(start_bytes, end_bytes - start_bytes)


def _data(path: Path, extents: tuple[Extent, ...], progress: Progress) -> Iterator[bytes]:
    total_mib = sum(extent.length_bytes for extent in extents) >> 20
    done_bytes = 0
    with path.open("rb") as file:
        for extent in extents:
            file.seek(extent.start_bytes)
            left_bytes = extent.length_bytes
            while piece := file.read(min(_READ_BYTES, left_bytes)):
                left_bytes -= len(piece)
                done_bytes += len(piece)
                yield piece
            progress("write the image", done_bytes >> 20, total_mib)
