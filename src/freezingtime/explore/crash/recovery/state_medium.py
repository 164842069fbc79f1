# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk after a power cut as a medium: read in place from the write log and the base.

Nothing is copied: what was written during the recorded run is read from the log, and everything
else from the medium that the run had started with. Writes belong to an overlay above.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from freezingtime.explore.crash.image import BASE, CHUNK_SECTORS, GARBAGE, DiskImage, Sectors
from freezingtime.explore.crash.states import Change
from freezingtime.medium.base import SECTOR_BYTES, Medium, ReadOnlyMedium, SectorError
from freezingtime.request import Buffer
from freezingtime.trace.writes.log import ZEROS, Contents, WriteLog

OnRead = Callable[[int, Sectors, Contents], None]
"""Called with disk, sectors and their contents, in order of the reads."""


class StateMedium(ReadOnlyMedium):
    """One disk's state, which cannot be written. ``base`` stays open."""

    #: So that reads come in the order of their arrival, and a recovery repeats.
    may_block = False

    def __init__(
        self,
        base: Medium,
        image: DiskImage,
        change: Change | None,
        log: WriteLog,
        seed: int,
        on_read: OnRead = lambda disk, sectors, contents: None,
    ) -> None:
        """``change``: what the state has in place of the image's contents."""
        self.size_bytes = base.size_bytes
        self._base = base
        self._image = image
        self._change = change
        self._log = log
        self._seed = seed
        self._on_read = on_read

    def describe(self) -> str:
        return f"{self._base.describe()} after a power cut"

    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        first = offset_bytes // SECTOR_BYTES
        sectors = np.arange(first, first + length_bytes // SECTOR_BYTES, dtype=np.int64)
        contents = contents_of(self._image, self._change, sectors)
        self._on_read(self._image.disk, sectors, contents)
        pieces = [self._bytes(*run) for run in _runs(sectors, contents)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Do nothing: other states read the same base."""

    def stored_spans(self) -> Iterator[tuple[int, int]]:
        """Offset and length in bytes of all that may be something else than zeros, in order."""
        if self._image.default != ZEROS:
            yield 0, self.size_bytes
            return
        chunks = {first // CHUNK_SECTORS for first, _ in self._image.stored()}
        if self._change is not None:
            chunks |= set((self._change[1] // CHUNK_SECTORS).tolist())
        chunk_bytes = CHUNK_SECTORS * SECTOR_BYTES
        for chunk in sorted(chunks):
            offset_bytes = chunk * chunk_bytes
            yield offset_bytes, min(chunk_bytes, self.size_bytes - offset_bytes)

    def _bytes(self, sector: int, content: int, count: int) -> Buffer:
        """The bytes of a run of sectors."""
        if content > ZEROS:
            return self._log.read(content, count)
        if content == ZEROS:
            return bytes(count * SECTOR_BYTES)
        if content == BASE:
            return self._base.read(sector * SECTOR_BYTES, count * SECTOR_BYTES)
        if content == GARBAGE:
            return b"".join(self._garbage(sector + place) for place in range(count))
        raise self._unreadable(sector)

    def _garbage(self, sector: int) -> bytes:
        name = f"{self._seed} {self._image.disk} {sector}".encode()
        return hashlib.shake_128(name).digest(SECTOR_BYTES)

    def _unreadable(self, sector: int) -> OSError:
        return SectorError(errno.EIO, f"sector {sector} cannot be read after the power cut")


def contents_of(image: DiskImage, change: Change | None, sectors: Sectors) -> Contents:
    """The contents of ascending sectors of an image with a change."""
    contents = image.contents(sectors)
    if change is not None and len(sectors):
        _, changed, new = change
        places = np.minimum(np.searchsorted(changed, sectors), len(changed) - 1)
        is_changed = changed[places] == sectors
        contents[is_changed] = new[places[is_changed]]
    return contents


def _runs(sectors: Sectors, contents: Contents) -> Iterator[tuple[int, int, int]]:
    """Split into sectors that lie together where they are read from: sector, content, count."""
    if not len(sectors):
        return
    steps = np.diff(contents)
    continues = np.where(contents[:-1] > ZEROS, steps == 1, steps == 0)
    starts = np.flatnonzero(~continues) + 1
    bounds = [0, *starts.tolist(), len(sectors)]
    for start, end in itertools.pairwise(bounds):
        yield int(sectors[start]), int(contents[start]), end - start
