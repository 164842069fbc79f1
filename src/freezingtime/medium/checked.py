# SPDX-License-Identifier: GPL-2.0-or-later
"""A medium that is only read, and whose every block is checked when it is first read.

A whole disk takes long to read, and a run reads little of it: so what is checked is exactly what
the guest sees.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import xxhash

from freezingtime.medium.base import Medium, ReadOnlyMedium
from freezingtime.request import Buffer

#: How much one checksum is of.
BLOCK_BYTES = 1 << 16

_SUM_BYTES = 8
_NO_DATA = bytes(_SUM_BYTES)
_ZEROS = bytes(BLOCK_BYTES)


def block_sum(data: Buffer) -> bytes:
    """A block's checksum (XXH3, 64 bits), which is all zeros for a block that is."""
    if data == _ZEROS[: len(data)]:
        return _NO_DATA
    return xxhash.xxh3_64_digest(data)


class SumsFile:
    """The checksums of a disk's blocks in a file, sparse as the disk is."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when it cannot be read."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @staticmethod
    def write(path: Path, block_count: int, sums: dict[int, bytes]) -> None:
        """Make the file; ``sums`` has those blocks, by number, that are not all zeros."""
        with path.open("wb") as file:
            file.truncate(block_count * _SUM_BYTES)
            for block, digest in sums.items():
                file.seek(block * _SUM_BYTES)
                file.write(digest)

    def sum_of(self, block: int) -> bytes:
        """The checksum of the block of that number."""
        return os.pread(self._fd, _SUM_BYTES, block * _SUM_BYTES)

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class CheckedMedium(ReadOnlyMedium):
    """``base``, each block of which must have its checksum in ``sums``.

    Closing it closes both. ``on_damage`` is told, in the reader's thread, what is damaged, before
    the read fails.
    """

    def __init__(self, base: Medium, sums: SumsFile, on_damage: Callable[[str], None]) -> None:
        self._base = base
        self._sums = sums
        self._on_damage = on_damage
        self._checked: set[int] = set()
        self.size_bytes = base.size_bytes

    def describe(self) -> str:
        return self._base.describe()

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        end_bytes = offset_bytes + length_bytes
        for block in range(offset_bytes // BLOCK_BYTES, -(-end_bytes // BLOCK_BYTES)):
            if block not in self._checked:
                self._check(block)
        return self._base.read(offset_bytes, length_bytes)

    def close(self) -> None:
        self._base.close()
        self._sums.close()

    def _check(self, block: int) -> None:
        """Check a block; two threads that do so at once come to the same."""
        offset_bytes = block * BLOCK_BYTES
        data = self._base.read(offset_bytes, min(BLOCK_BYTES, self.size_bytes - offset_bytes))
        if block_sum(data) != self._sums.sum_of(block):
            damage = f"the {len(data)} bytes at {offset_bytes} do not match their checksum"
            self._on_damage(damage)
            raise OSError(errno.EIO, f"{self.describe()} is damaged: {damage}")
        self._checked.add(block)
