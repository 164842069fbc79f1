# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest images that nothing boots, in whatever cache is used: small, with a sparse root disk."""

from __future__ import annotations

import random
from pathlib import Path

from freezingtime.images.check import seal_image
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    RootDisk,
    image_directory,
    store_image,
)
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.medium.checked import BLOCK_BYTES
from freezingtime.store.cache import publish

#: A root disk whose last block is not whole, with data in its first, in one further on and at its
#: very end; the rest are holes.
SIZE_BYTES = 40 * BLOCK_BYTES + 3 * SECTOR_BYTES
PLACES = (0, 20 * BLOCK_BYTES + 512, SIZE_BYTES - 2 * SECTOR_BYTES)


def make_root(path: Path) -> bytes:
    numbers = random.Random(7)
    content = bytearray(SIZE_BYTES)
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
        for place in PLACES:
            data = numbers.randbytes(2 * SECTOR_BYTES)
            content[place : place + len(data)] = data
            file.seek(place)
            file.write(data)
    return bytes(content)


def store(cache: Path, name: str, *, sealed: bool = True) -> GuestImage:
    building = cache / "images" / "building"
    building.mkdir(parents=True)
    make_root(cache / "made.img")
    root = RootDisk("ext4", SIZE_BYTES)
    content = ImageContent(
        b"kernel" * 999, name.encode() * 999, "6.1", (), root, cache / "made.img", "quiet"
    )
    manifest = store_image(building, name, content)
    if sealed:
        seal_image(GuestImage(building, manifest))
    publish(building, image_directory(manifest))
    return GuestImage(image_directory(manifest), manifest)


def flip_bit(path: Path, offset_bytes: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset_bytes)
        (byte,) = file.read(1)
        file.seek(offset_bytes)
        file.write(bytes([byte ^ 1]))


def make_qemu(root: Path) -> Path:
    """A directory that passes for an unpacked QEMU as long as nobody starts it."""
    for name, content in (
        ("usr/bin/qemu-system-x86_64", b"program" * 999),
        ("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", b"loader"),
        ("usr/share/qemu/bios.bin", bytes(5 << 20)),
    ):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(content)
    (root / "usr/bin/qemu-system-x86_64").chmod(0o755)
    (root / "usr/share/seabios").symlink_to("qemu")
    return root
