# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of media share: files with content, and media over them."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from freezingtime.medium.base import SECTOR_BYTES, Medium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium

# More than two of the sector map's chunks, and not a whole number of pages.
SIZE_BYTES = 2 * 2**20 + 3 * SECTOR_BYTES
SIZE_SECTORS = SIZE_BYTES // SECTOR_BYTES

OpenMedium = Callable[[Path], Medium]


def filled_file(directory: Path, size_bytes: int = SIZE_BYTES) -> Path:
    """Make a file with content that is the same everywhere and different in each sector."""
    path = directory / "disk.img"
    path.write_bytes(random.Random(1).randbytes(size_bytes))
    return path


def has_direct_io(directory: Path) -> bool:
    try:
        fd = os.open(directory / "probe", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    except OSError:
        return False
    os.close(fd)
    return True


def open_memory(directory: Path) -> Medium:
    medium = MemoryMedium(SIZE_BYTES)
    medium.write(0, filled_file(directory).read_bytes())
    return medium


def open_buffered(directory: Path) -> Medium:
    return FileMedium(filled_file(directory), writable=True)


def open_direct(directory: Path) -> Medium:
    if not has_direct_io(directory):
        pytest.skip(f"no direct I/O in {directory}")
    return FileMedium(filled_file(directory), writable=True, direct=True)


def open_overlay(directory: Path) -> Medium:
    return OverlayMedium(FileMedium(filled_file(directory), writable=False), directory)


def fail_with_eio(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def random_range(rng: random.Random) -> tuple[int, int]:
    """Pick an offset and a length in bytes: often short, at times across chunks."""
    length_sectors = rng.choice([1, 1, 8, 8, 9, 64, 300, 2048, 2500])
    offset_sectors = rng.randrange(SIZE_SECTORS - length_sectors + 1)
    if rng.random() < 0.5:
        offset_sectors = offset_sectors // 2048 * 2048
    return offset_sectors * SECTOR_BYTES, length_sectors * SECTOR_BYTES
