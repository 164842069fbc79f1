# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of disks by sector, as numbers: what is durable at a moment, and its fingerprint.

A content is the number that the write log has for it, or one of the negative numbers here. Content
is kept in chunks that are never changed in place, so that a copy costs next to nothing and stays
as it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from freezingtime.trace.writes.log import Contents

Sectors: TypeAlias = npt.NDArray[np.int64]
"""Sector numbers."""

#: As before the run.
BASE = -1
#: Reading it fails.
UNREADABLE = -2
#: Neither old nor new: bytes that follow from the sector and the seed.
GARBAGE = -3

CHUNK_SECTORS = 2048

_Chunk: TypeAlias = tuple[Contents, npt.NDArray[np.int64]]
"""Each sector's content, and the sequence number of the write that it is from."""

_LANES = ((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F), (0xD6E8FEB86659FD93, 0xA0761D6478BD642F))
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(33)
_MASK = (1 << 64) - 1


def fingerprint(disk: int, sectors: Sectors, contents: Contents) -> int:
    """Return a number of 128 bits for these contents in these sectors.

    Those of different sectors add up (modulo 2**128): the sum stands for the whole disk.
    """
    total = 0
    for lane, (of_sector, of_content) in enumerate(_LANES):
        mixed = sectors.astype(np.uint64) * np.uint64(of_sector)
        mixed ^= contents.astype(np.uint64) * np.uint64(of_content) + np.uint64(disk + 1)
        for _ in range(2):
            mixed ^= mixed >> _SHIFT
            mixed *= _MIX
        mixed ^= mixed >> _SHIFT
        total |= (int(np.add.reduce(mixed)) & _MASK) << (64 * lane)
    return total


def add_fingerprints(*values: int) -> int:
    """Return the sum, each half by itself."""
    low = sum(value & _MASK for value in values) & _MASK
    high = sum(value >> 64 for value in values) & _MASK
    return high << 64 | low


def negated(value: int) -> int:
    """Return what takes a fingerprint away again when it is added."""
    return (-(value >> 64) & _MASK) << 64 | (-(value & _MASK) & _MASK)


class DiskImage:
    """One disk's content. ``default``: what sectors have that nothing has been stored in."""

    def __init__(self, disk: int, sector_count: int, default: int) -> None:
        self.disk = disk
        self.sector_count = sector_count
        self.default = default
        self.fingerprint = 0
        """Sum over the sectors that are not as before the run."""
        self._chunks: dict[int, _Chunk] = {}

    def copy(self) -> DiskImage:
        """Return an image of its own with the same content."""
        copied = DiskImage(self.disk, self.sector_count, self.default)
        copied.fingerprint = self.fingerprint
        copied._chunks = dict(self._chunks)
        return copied

    def store(self, sectors: Sectors, contents: Contents, sequence: int) -> None:
        """Store the contents of a write where no later write's are."""
        for chunk, places in _by_chunk(sectors):
            old_contents, old_sequences = self._chunk(chunk)
            offsets = sectors[places] - chunk * CHUNK_SECTORS
            is_later = old_sequences[offsets] < sequence
            offsets, new = offsets[is_later], contents[places][is_later]
            if not len(offsets):
                continue
            changed_contents, changed_sequences = old_contents.copy(), old_sequences.copy()
            changed_contents[offsets] = new
            changed_sequences[offsets] = sequence
            self._chunks[chunk] = (changed_contents, changed_sequences)
            numbers = offsets + chunk * CHUNK_SECTORS
            self.fingerprint = add_fingerprints(
                self.fingerprint, self.change(numbers, old_contents[offsets], new)
            )

    def change(self, sectors: Sectors, old: Contents, new: Contents) -> int:
        """Return by what the fingerprint changes when these contents do."""
        return add_fingerprints(self._of(sectors, new), negated(self._of(sectors, old)))

    def contents(self, sectors: Sectors) -> Contents:
        """The sectors' contents."""
        found = np.full(len(sectors), self.default, np.int64)
        for chunk, places in _by_chunk(sectors):
            if chunk in self._chunks:
                found[places] = self._chunks[chunk][0][sectors[places] - chunk * CHUNK_SECTORS]
        return found

    def is_after(self, sectors: Sectors, sequence: int) -> npt.NDArray[np.bool_]:
        """Whether each sector has nothing of that write or of a later one."""
        free = np.ones(len(sectors), np.bool_)
        for chunk, places in _by_chunk(sectors):
            if chunk in self._chunks:
                sequences = self._chunks[chunk][1]
                free[places] = sequences[sectors[places] - chunk * CHUNK_SECTORS] < sequence
        return free

    def stored(self) -> Iterator[tuple[int, Contents]]:
        """First sector and contents of all chunks in which something was stored, in order."""
        for chunk in sorted(self._chunks):
            first = chunk * CHUNK_SECTORS
            yield first, self._chunks[chunk][0][: self.sector_count - first]

    def _chunk(self, chunk: int) -> _Chunk:
        if chunk in self._chunks:
            return self._chunks[chunk]
        return (
            np.full(CHUNK_SECTORS, self.default, np.int64),
            np.zeros(CHUNK_SECTORS, np.int64),
        )

    def _of(self, sectors: Sectors, contents: Contents) -> int:
        differs = contents != self.default
        return fingerprint(self.disk, sectors[differs], contents[differs])


def new_images(disk_sectors: Sequence[int], defaults: Sequence[int]) -> list[DiskImage]:
    """Return the images of disks before their run."""
    return [
        DiskImage(disk, count, default)
        for disk, (count, default) in enumerate(zip(disk_sectors, defaults, strict=True))
    ]


def _by_chunk(sectors: Sectors) -> Iterator[tuple[int, slice | npt.NDArray[np.int64]]]:
    """Each chunk that ascending sectors are in, and their places among them."""
    if not len(sectors):
        return
    chunks = sectors // CHUNK_SECTORS
    starts = np.flatnonzero(np.diff(chunks)) + 1
    bounds = [0, *starts.tolist(), len(sectors)]
    for first, last in itertools.pairwise(bounds):
        yield int(chunks[first]), slice(first, last)
