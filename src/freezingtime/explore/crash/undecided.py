# SPDX-License-Identifier: GPL-2.0-or-later
"""Durable images and undecided writes while the events of a write log go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from freezingtime.device.faults.durability import Durability
from freezingtime.explore.crash.image import DiskImage, Sectors
from freezingtime.request import Operation
from freezingtime.trace.writes.log import ZEROS, Contents, WriteEvent, WriteEventKind


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Part of an undecided write that a power cut keeps or loses as a whole."""

    sequence: int
    """Of its write: pieces with a higher one lie over it."""
    disk: int
    sectors: Sectors
    contents: Contents


@dataclass(slots=True, eq=False)
class _Write:
    event: WriteEvent
    completed_ns: int | None = None
    """When it completed; None: it has not."""

    @property
    def is_completed(self) -> bool:
        return self.completed_ns is not None

    @property
    def sectors(self) -> Sectors:
        first = self.event.first_sector
        return np.arange(first, first + self.event.sector_count, dtype=np.int64)

    @property
    def contents(self) -> Contents:
        if self.event.contents is not None:
            return self.event.contents
        return np.full(self.event.sector_count, ZEROS, np.int64)


@dataclass(slots=True, eq=False)
class Undecided:
    """Disks between two events: durable images, and the writes that are not durable yet.

    A write over another lies over it in order of arrival, as the medium has it.
    """

    durabilities: Sequence[Durability]
    images: list[DiskImage]
    _writes: dict[int, _Write] = field(default_factory=dict)
    """By their sequence numbers, which is the order of their arrival."""
    _covered: dict[int, list[int]] = field(default_factory=dict)
    """What each flush under way covers: the writes that had completed when it arrived."""
    _cached: dict[int, dict[int, int]] = field(default_factory=dict)
    """By disk, the completed ones that are not durable: how many sectors each has. In order of
    completion, in which a cache writes them back."""

    def take(self, event: WriteEvent) -> None:
        """Have an event happen."""
        self.pass_time(event.time_ns)
        if event.kind is WriteEventKind.ARRIVAL:
            self._arrive(event)
        else:
            self._complete(event)

    def pass_time(self, now_ns: int) -> None:
        """Have the caches write back what they do not keep for so long."""
        for disk, cached in self._cached.items():
            drain_after_ns = self.durabilities[disk].drain_after_ns
            if drain_after_ns is None:
                continue
            for sequence in list(cached):
                completed_ns = self._writes[sequence].completed_ns
                if completed_ns is None or completed_ns + drain_after_ns > now_ns:
                    break
                self._make_durable(sequence)

    def settle(self) -> None:
        """Make everything durable that has completed, as a disk does that is left in peace."""
        for sequence in [number for number, write in self._writes.items() if write.is_completed]:
            self._make_durable(sequence)

    def pieces(self) -> list[Piece]:
        """The pieces of what is undecided, without what a durable write lies over."""
        return [
            piece
            for sequence, write in self._writes.items()
            for piece in self._pieces(sequence, write)
        ]

    def _arrive(self, event: WriteEvent) -> None:
        if event.operation is Operation.FLUSH:
            self._covered[event.sequence] = [
                sequence
                for sequence, write in self._writes.items()
                if write.is_completed and write.event.disk == event.disk
            ]
        else:
            self._writes[event.sequence] = _Write(event)

    def _complete(self, event: WriteEvent) -> None:
        durability = self.durabilities[event.disk]
        if event.operation is Operation.FLUSH:
            covered = self._covered.pop(event.sequence, [])
            if not durability.ignores_flush:
                for sequence in covered:
                    self._make_durable(sequence)
        elif (write := self._writes.get(event.sequence)) is not None:
            write.completed_ns = event.time_ns
            cached = self._cached.setdefault(event.disk, {})
            cached[event.sequence] = event.sector_count
            if not durability.is_volatile or (event.fua and not durability.ignores_flush):
                self._make_durable(event.sequence)
            while durability.cache_sectors is not None and (
                sum(cached.values()) > durability.cache_sectors
            ):
                self._make_durable(next(iter(cached)))

    def _make_durable(self, sequence: int) -> None:
        write = self._writes.pop(sequence, None)
        if write is not None:  # else another flush has covered it
            self._cached.get(write.event.disk, {}).pop(sequence, None)
            self.images[write.event.disk].store(write.sectors, write.contents, sequence)

    def _pieces(self, sequence: int, write: _Write) -> list[Piece]:
        disk, first = write.event.disk, write.event.first_sector
        image, durability = self.images[disk], self.durabilities[disk]
        sectors, contents = write.sectors, write.contents
        free = image.is_after(sectors, sequence)
        if write.event.operation is Operation.WRITE:
            spans = durability.pieces(first, write.event.sector_count)
        else:  # a discard changes the mapping, and no data
            spans = iter([(first, write.event.sector_count)])
        pieces = []
        for start, count in spans:
            inside = slice(start - first, start - first + count)
            kept = free[inside]
            if kept.any():
                pieces.append(Piece(sequence, disk, sectors[inside][kept], contents[inside][kept]))
        return pieces
