# SPDX-License-Identifier: GPL-2.0-or-later
"""Recoveries by what they have read, to find states that are one to them.

A recovery is exact: what it reads next follows from what it has read so far. So all recoveries
are paths in a tree that branch where the contents differ, and a state whose contents lead along
the path of another ends as that one did; it need not be run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from freezingtime.explore.crash.image import CHUNK_SECTORS, Sectors
from freezingtime.request import Operation
from freezingtime.trace.writes.log import Contents, WriteEvent, WriteEventKind

Outcome = TypeVar("Outcome")
Reads = list[tuple[int, Sectors, Contents]]
"""Reads of a recovery: disk, sectors and their contents, in order."""
ContentsOf = Callable[[int, Sectors], Contents]
"""A state's contents of a disk's sectors."""


class TouchedSectors:
    """Sectors in which states may differ: all that a log's events write."""

    def __init__(self, events: Iterable[WriteEvent]) -> None:
        self._chunks: dict[tuple[int, int], np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
        for event in events:
            if event.kind is WriteEventKind.ARRIVAL and event.operation is not Operation.FLUSH:
                self._touch(event.disk, event.first_sector, event.sector_count)

    def of(self, disk: int, sectors: Sectors) -> Sectors:
        """Return those of neighbouring sectors that are touched."""
        if not len(sectors):
            return sectors
        first, last = int(sectors[0]), int(sectors[-1])
        parts = []
        for chunk in range(first // CHUNK_SECTORS, last // CHUNK_SECTORS + 1):
            if (touched := self._chunks.get((disk, chunk))) is not None:
                numbers = np.flatnonzero(touched) + chunk * CHUNK_SECTORS
                parts.append(numbers[(numbers >= first) & (numbers <= last)])
        return np.concatenate(parts) if parts else sectors[:0]

    def _touch(self, disk: int, first: int, count: int) -> None:
        end = first + count
        while first < end:
            chunk, offset = divmod(first, CHUNK_SECTORS)
            length = min(CHUNK_SECTORS - offset, end - first)
            touched = self._chunks.setdefault((disk, chunk), np.zeros(CHUNK_SECTORS, np.bool_))
            touched[offset : offset + length] = True
            first += length


@dataclass(slots=True, eq=False)
class _Branch(Generic[Outcome]):
    disk: int
    sectors: Sectors
    ways: dict[bytes, _Branch[Outcome] | _End[Outcome]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _End(Generic[Outcome]):
    outcome: Outcome


class ReadTree(Generic[Outcome]):
    """Recoveries by what they read. Owned by one thread at a time."""

    def __init__(self) -> None:
        self._root: dict[bytes, _Branch[Outcome] | _End[Outcome]] = {}
        #: Recoveries that read something else than an equal one before: guests that do not repeat.
        self.unlike_count = 0

    def find(self, contents_of: ContentsOf) -> Outcome | None:
        """The outcome of a recovery that this state would repeat; None: it has to be run."""
        node = self._root.get(b"")
        while isinstance(node, _Branch):
            node = node.ways.get(contents_of(node.disk, node.sectors).tobytes())
        return None if node is None else node.outcome

    def add(self, reads: Iterable[tuple[int, Sectors, Contents]], outcome: Outcome) -> None:
        """Add a recovery: its reads of disks that differ, in order, and its outcome."""
        ways, key = self._root, b""
        for disk, sectors, contents in reads:
            node = ways.get(key)
            if node is None:
                node = ways[key] = _Branch(disk, sectors)
            elif isinstance(node, _End) or not _is_same(node, disk, sectors):
                self.unlike_count += 1
                return
            ways, key = node.ways, contents.tobytes()
        if isinstance(ways.setdefault(key, _End(outcome)), _Branch):
            self.unlike_count += 1


def _is_same(branch: _Branch[Outcome], disk: int, sectors: Sectors) -> bool:
    return branch.disk == disk and np.array_equal(branch.sectors, sectors)


class ReadNotes:
    """The reads of one recovery, without those that no state differs in."""

    def __init__(self, touched: TouchedSectors) -> None:
        self._touched = touched
        self._seen: dict[tuple[int, int], None] = {}
        self.reads: Reads = []

    def note(self, disk: int, sectors: Sectors, contents: Contents) -> None:
        """Note a read. What has been read before says nothing new."""
        touched = self._touched.of(disk, sectors)
        new = [sector for sector in touched.tolist() if (disk, sector) not in self._seen]
        if new:
            self._seen.update(dict.fromkeys((disk, sector) for sector in new))
            numbers = np.array(new, np.int64)
            self.reads.append((disk, numbers, contents[numbers - sectors[0]]))
