# SPDX-License-Identifier: GPL-2.0-or-later
"""An exported image's file taken into the cache: the same image, by its content, as it was.

Whoever wrote the file may be anybody: what it holds is written under names that are ours, and
becomes an image when its content has the identity that it says.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freezingtime.errors import InputError, RunError
from freezingtime.host.json_document import write_document
from freezingtime.images.check import seal_image
from freezingtime.images.debian.packages import Progress
from freezingtime.images.exported.description import ExportedQemu
from freezingtime.images.exported.parts import PartsReader
from freezingtime.images.exported.qemu import needs_exported_qemu, unpack_exported_qemu
from freezingtime.images.guest_image import (
    GuestImage,
    Manifest,
    content_id,
    image_directory,
    images_directory,
    images_lock_path,
    list_images,
    named,
)
from freezingtime.images.names import MINI
from freezingtime.store.cache import (
    exclusive_lock,
    publish,
    require_writable_cache,
    storing,
    unfinished_directory,
)
from freezingtime.vm.qemu.program import debian_directory

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
_MANIFEST_BYTES_MAX = 16 << 20
_BOOT_FILE_BYTES_MAX = 1 << 30
_ROOT_BYTES_MAX = 16 << 40
_SECTOR_BYTES = 512
_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Restored:
    """The image that a file holds, and whether it was in the cache already."""

    image: GuestImage
    was_there: bool
    left_out_qemu: bool
    """The file has a QEMU, which was not asked for."""


def import_exported(
    path: Path, name: str | None, progress: Progress, *, with_qemu: bool = False
) -> Restored:
    """Take in the image of a file that ``image export`` has written, whole or not at all.

    ``name`` is what it is to be called; None: what it was. A guest cannot leave its machine, and
    its content is checked; a QEMU is a program that runs on this host, so the file's is taken in
    only ``with_qemu``.

    Raises:
        InputError: the file is damaged, or holds what cannot be used here; or another image has
            that name.
        RunError: the cache takes no more.
    """
    require_writable_cache()
    with _about(path), PartsReader(path) as parts:
        manifest = _read_manifest(parts, name)
        if parts.description.qemu is None and with_qemu:
            raise InputError("has no QEMU in it; leave out --with-qemu")
        with exclusive_lock(images_lock_path(), lambda holder: progress(holder, 0, 1)):
            existing = _existing(manifest)
            qemu = parts.description.qemu if with_qemu else None
            if qemu is not None and not needs_exported_qemu(qemu):
                qemu = None
            with storing(f"store the guest image in {images_directory()}"):
                if existing is None or qemu is not None:
                    _require_room(parts)
                image = _restore(parts, manifest, existing, qemu, progress)
                left_out = parts.description.qemu is not None and not with_qemu
                return Restored(image, existing is not None, left_out)


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"image import {path}: {error}") from error


def _read_manifest(parts: PartsReader, name: str | None) -> Manifest:
    """The manifest, of values that can be, under the name that the image is to have here."""
    if parts.part("manifest.json").size_bytes > _MANIFEST_BYTES_MAX:
        raise InputError("is damaged (its manifest is longer than any)")
    text = b"".join(parts.pieces("manifest.json"))
    try:
        manifest = Manifest.parse(text)
    except ValueError as error:
        raise InputError(f"is damaged (its manifest: {error})") from error
    manifest = msgspec.structs.replace(manifest, name=name or manifest.name)
    _require_name(manifest)
    _require_sizes(parts, manifest)
    if not manifest.append.isprintable():
        raise InputError("is damaged (its kernel's arguments have a control character in them)")
    if not GuestImage(Path(), manifest).is_of_these_sources:
        raise InputError(
            f"the image {manifest.name} was built by another version of freezingtime, "
            f"{parts.description.freezingtime}, and the guest's programs of this one differ; "
            "import it with that version, or build and export it anew with this one"
        )
    return manifest


def _require_name(manifest: Manifest) -> None:
    is_mini = manifest.root is None and not manifest.source
    if not _NAME.fullmatch(manifest.name) or (manifest.name == MINI and not is_mini):
        raise InputError(f"cannot be called {manifest.name!r} here; give it a name with --name")


def _require_sizes(parts: PartsReader, manifest: Manifest) -> None:
    said = {"vmlinuz": manifest.kernel_bytes, "initrd.cpio": manifest.initrd_bytes}
    extents = parts.description.root_extents
    if (root := manifest.root) is not None:
        said["root.img"] = sum(extent.length_bytes for extent in extents)
        if root.size_bytes > _ROOT_BYTES_MAX or root.size_bytes % _SECTOR_BYTES:
            raise InputError(f"is damaged (its root disk has {root.size_bytes} bytes)")
    end_bytes = extents[-1].start_bytes + extents[-1].length_bytes if extents else 0
    if end_bytes > (0 if root is None else root.size_bytes):
        raise InputError("is damaged (data behind the end of its root disk)")
    for name, size_bytes in said.items():
        if parts.part(name).size_bytes != size_bytes:
            raise InputError(f"is damaged ({name} has not {size_bytes} bytes)")
        if name != "root.img" and size_bytes > _BOOT_FILE_BYTES_MAX:
            raise InputError(f"is damaged ({name} is longer than any)")


def _existing(manifest: Manifest) -> GuestImage | None:
    """The image, if it is there under its name.

    Raises:
        InputError: another has that name.
    """
    current = [each for each in named(list_images(), manifest.name) if each.is_of_these_sources]
    for image in current:
        if image.image_id == manifest.image_id:
            return image
    if current:
        raise InputError(
            f"there is another image called {manifest.name} ({current[0].image_id[:12]}); give "
            f"this one another name with --name, or remove that one with 'freezingtime image "
            f"remove {manifest.name}'"
        )
    return None


def _require_room(parts: PartsReader) -> None:
    directory = images_directory()
    directory.mkdir(parents=True, exist_ok=True)
    status = os.statvfs(directory)
    needed_bytes = sum(part.size_bytes for part in parts.description.parts.values())
    free_bytes = status.f_bavail * status.f_frsize
    if needed_bytes > free_bytes:
        raise RunError(
            f"cannot store the guest image in {directory}: it takes {_mib(needed_bytes)}, and "
            f"{_mib(free_bytes)} are free; free space, or set XDG_CACHE_HOME to another "
            "directory"
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"


def _restore(
    parts: PartsReader,
    manifest: Manifest,
    existing: GuestImage | None,
    qemu: ExportedQemu | None,
    progress: Progress,
) -> GuestImage:
    """Take in the image unless it is there, and a QEMU: neither, if one of them is damaged."""
    with contextlib.ExitStack() as unfinished:
        if existing is None:
            building = unfinished.enter_context(unfinished_directory(images_directory()))
            _unpack(parts, GuestImage(building, manifest), progress)
        if qemu is not None:
            place = debian_directory(qemu.suite)
            root = unfinished.enter_context(unfinished_directory(place.parent))
            unpack_exported_qemu(parts, qemu, root, progress)
            publish(root, place)
        if existing is None:
            existing = GuestImage(image_directory(manifest), manifest)
            publish(building, existing.directory)
    return existing


def _unpack(parts: PartsReader, image: GuestImage, progress: Progress) -> None:
    manifest = image.manifest
    progress("take in the image", 0, 1)
    for path in (image.kernel_path, image.initrd_path):
        with path.open("wb") as file:
            file.writelines(parts.pieces(path.name))
    if image.root_path is not None and manifest.root is not None:
        _write_root(parts, image.root_path, manifest.root.size_bytes, progress)
    progress("check the image", 0, 1)
    if content_id(image.directory, manifest.append, image.root_path) != manifest.image_id:
        raise InputError(f"is damaged: its content is not that of {manifest.image_id[:12]}")
    write_document(image.manifest_path, manifest)
    seal_image(image)


def _write_root(parts: PartsReader, path: Path, size_bytes: int, progress: Progress) -> None:
    """Write the root disk's data to their places, as sparse as they can be."""
    total_mib = parts.part(path.name).size_bytes >> 20
    blocks = _blocks(parts.pieces(path.name))
    with path.open("wb") as file:
        file.truncate(size_bytes)
        block = memoryview(b"")
        for extent in parts.description.root_extents:
            position_bytes = extent.start_bytes
            end_bytes = position_bytes + extent.length_bytes
            while position_bytes < end_bytes:
                block = block or next(blocks)
                length_bytes = min(len(block), end_bytes - position_bytes)
                part, block = block[:length_bytes], block[length_bytes:]
                if part != _ZEROS[: len(part)]:
                    file.seek(position_bytes)
                    file.write(part)
                position_bytes += len(part)
            progress("take in the image", position_bytes >> 20, size_bytes >> 20)
        for _ in blocks:  # the last piece has the digest compared
            raise InputError("is damaged (more data than its root disk has)")
    progress("take in the image", total_mib, total_mib)


def _blocks(pieces: Iterator[bytes]) -> Iterator[memoryview]:
    for piece in pieces:
        whole = memoryview(piece)
        for start_bytes in range(0, len(whole), _BLOCK_BYTES):
            yield whole[start_bytes : start_bytes + _BLOCK_BYTES]
