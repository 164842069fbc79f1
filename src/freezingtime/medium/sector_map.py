# SPDX-License-Identifier: GPL-2.0-or-later
"""Map of the source that holds each sector's data, for copy-on-write media."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from freezingtime.medium.base import SECTOR_BYTES

_CHUNK_SECTORS = 2048


class SectorSource(IntEnum):
    """Source of a sector's data."""

    BASE = 0
    SCRATCH = 1
    ZERO = 2


class Run(NamedTuple):
    """Neighbouring sectors with one source."""

    source: SectorSource
    offset_bytes: int
    length_bytes: int


class SectorMap:
    """One byte for each sector, made in chunks of 1 MiB of disk when a chunk's sectors differ.

    Offsets and lengths are multiples of 512 bytes. Safe without locks for threads that
    keep the :class:`~freezingtime.medium.base.Medium` promise, never to modify a range
    that another thread uses: threads that share a chunk touch different bytes of it, and
    a chunk is dropped only by a thread that modifies all of it. Single operations on
    dicts and bytearrays are atomic.
    """

    def __init__(self) -> None:
        self._mixed_chunks: dict[int, bytearray] = {}
        # The source of all of a chunk's sectors, where the chunk is not in the dict above.
        self._uniform_chunks: dict[int, SectorSource] = {}

    def mark(self, offset_bytes: int, length_bytes: int, source: SectorSource) -> None:
        """Record that the range's data is in ``source``."""
        for chunk, first, last in _chunk_spans(offset_bytes, length_bytes):
            if last - first == _CHUNK_SECTORS:
                self._uniform_chunks[chunk] = source
                self._mixed_chunks.pop(chunk, None)
            else:
                self._mixed_chunk(chunk)[first:last] = bytes([source]) * (last - first)

    def runs(self, offset_bytes: int, length_bytes: int) -> Iterator[Run]:
        """Split the range into runs, in order. A run ends at the latest where its chunk does."""
        for chunk, first, last in _chunk_spans(offset_bytes, length_bytes):
            start_bytes = (chunk * _CHUNK_SECTORS + first) * SECTOR_BYTES
            sources = self._mixed_chunks.get(chunk)
            if sources is None:
                source = self._uniform_chunks.get(chunk, SectorSource.BASE)
                yield Run(source, start_bytes, (last - first) * SECTOR_BYTES)
            else:
                yield from _split(sources[first:last], start_bytes)

    def changed_runs(self) -> Iterator[Run]:
        """All runs whose source is not the base, in the order of their offsets."""
        for chunk in sorted({*self._mixed_chunks, *self._uniform_chunks}):
            start_bytes = chunk * _CHUNK_SECTORS * SECTOR_BYTES
            for run in self.runs(start_bytes, _CHUNK_SECTORS * SECTOR_BYTES):
                if run.source is not SectorSource.BASE:
                    yield run

    def _mixed_chunk(self, chunk: int) -> bytearray:
        sources = self._mixed_chunks.get(chunk)
        if sources is None:
            uniform = self._uniform_chunks.get(chunk, SectorSource.BASE)
            # Of two threads that get here at once, both must end up with the same bytes.
            sources = self._mixed_chunks.setdefault(chunk, bytearray([uniform]) * _CHUNK_SECTORS)
        return sources


def _chunk_spans(offset_bytes: int, length_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Split a range by chunk: the chunk, its first sector in the range, and the one after."""
    sector = offset_bytes // SECTOR_BYTES
    end = (offset_bytes + length_bytes) // SECTOR_BYTES
    while sector < end:
        chunk, first = divmod(sector, _CHUNK_SECTORS)
        last = min(_CHUNK_SECTORS, first + end - sector)
        yield chunk, first, last
        sector += last - first


def _split(sources: bytearray, start_bytes: int) -> Iterator[Run]:
    while sources:
        rest = sources.lstrip(sources[:1])
        length_bytes = (len(sources) - len(rest)) * SECTOR_BYTES
        yield Run(SectorSource(sources[0]), start_bytes, length_bytes)
        start_bytes += length_bytes
        sources = rest
