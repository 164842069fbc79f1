# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk states that a power cut at a point could leave: every choice for every piece.

A choice is a byte for each piece of what is undecided (:mod:`.undecided`), an :class:`Fate`. A
sector's content is that of the last write over it of which the piece was kept; so what becomes
of it may be any version of it that was never flushed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from freezingtime.explore.crash.choices import EXHAUSTIVE_MOST, SAMPLED
from freezingtime.explore.crash.image import (
    GARBAGE,
    UNREADABLE,
    DiskImage,
    Sectors,
    add_fingerprints,
)
from freezingtime.explore.crash.undecided import Piece
from freezingtime.trace.writes.log import ZEROS, Contents

#: Of so many choices any number can be drawn without drawing one twice.
_LISTED_MOST = 1 << 16


class Fate(IntEnum):
    """Fate of a piece."""

    OLD = 0
    NEW = 1
    ZERO = 2
    GARBAGE = 3
    UNREADABLE = 4


_CONTENT_OF = {Fate.ZERO: ZEROS, Fate.GARBAGE: GARBAGE, Fate.UNREADABLE: UNREADABLE}
Change = tuple[int, Sectors, Contents]
"""Contents that sectors of a disk have in place of the durable ones."""


@dataclass(frozen=True, slots=True)
class CrashState:
    """One state of the disks."""

    fates: bytes
    """A :class:`Fate` for each piece."""
    fingerprint: int
    """Equal for equal contents of all disks, whatever the point."""
    changes: tuple[Change, ...]
    """What differs from the durable images."""


class PointStates:
    """All states of one point."""

    def __init__(
        self, images: Sequence[DiskImage], pieces: Sequence[Piece], fates: Sequence[Fate]
    ) -> None:
        """``fates``: what may become of a piece; OLD and NEW are among them.

        The images must stay as they are.
        """
        self.images = images
        self.pieces = pieces
        self._fates = bytes(fates)
        self._disks = []
        for disk in sorted({piece.disk for piece in pieces}):
            own = [(place, piece) for place, piece in enumerate(pieces) if piece.disk == disk]
            sectors = np.unique(np.concatenate([piece.sectors for _, piece in own]))
            places = [
                (place, np.searchsorted(sectors, piece.sectors), piece.contents)
                for place, piece in own
            ]
            self._disks.append((images[disk], sectors, images[disk].contents(sectors), places))
        self._durable = add_fingerprints(*(image.fingerprint for image in images))

    @property
    def possible_count(self) -> int:
        """Return the number of choices."""
        return int(len(self._fates) ** len(self.pieces))

    def state(self, fates: bytes) -> CrashState:
        """The state of a choice."""
        fingerprint = self._durable
        changes = []
        for image, sectors, durable, places in self._disks:
            contents = durable.copy()
            for place, where, new in places:
                fate = fates[place]
                if fate == Fate.NEW:
                    contents[where] = new
                elif fate != Fate.OLD:
                    contents[where] = _CONTENT_OF[Fate(fate)]
            differs = contents != durable
            changed, old, found = sectors[differs], durable[differs], contents[differs]
            if len(changed):
                fingerprint = add_fingerprints(fingerprint, image.change(changed, old, found))
                changes.append((image.disk, changed, found))
        return CrashState(fates, fingerprint, tuple(changes))

    def choices(self, limit: int | None, seed: str) -> Iterator[bytes]:
        """The choices to derive: all, or as many as there may be, stratified.

        ``limit`` is that number; None: all up to :data:`EXHAUSTIVE_MOST`, else :data:`SAMPLED`.
        First come the states that lose nothing and everything.
        """
        if self.possible_count <= (EXHAUSTIVE_MOST if limit is None else limit):
            choices = itertools.product(self._fates, repeat=len(self.pieces))
            yield from map(bytes, choices)
            return
        most = SAMPLED if limit is None else limit
        seen: dict[bytes, None] = {}
        for choice in _round_robin(self._strata(random.Random(seed))):
            if choice not in seen:
                seen[choice] = None
                yield choice
            if len(seen) == most:
                return

    def _strata(self, chance: random.Random) -> list[Iterator[bytes]]:
        """Kinds of choices; the last has all, or never ends."""
        count = len(self.pieces)
        writes = [
            range(places[0], places[-1] + 1)
            for _, group in itertools.groupby(
                range(count), key=lambda place: self.pieces[place].sequence
            )
            if (places := list(group))
        ]
        ends = [write.stop for write in writes]
        torn = [write for write in writes if len(write) > 1]
        others = self._fates.translate(None, bytes([Fate.OLD, Fate.NEW]))

        def shuffled(numbers: Sequence[int], make: Callable[[int], bytes]) -> Iterator[bytes]:
            return map(make, chance.sample(numbers, len(numbers)))

        def shorn(number: int) -> bytes:
            """All of the others kept, and the first part of this one."""
            write = torn[number]
            end = write.start + chance.randrange(1, len(write))
            return _choice(count, Fate.NEW, range(end, write.stop), Fate.OLD)

        every_write, every_piece = range(len(writes)), range(count)
        lose_write = shuffled(every_write, lambda n: _choice(count, Fate.NEW, writes[n], Fate.OLD))
        keep_write = shuffled(every_write, lambda n: _choice(count, Fate.OLD, writes[n], Fate.NEW))
        in_order = shuffled(ends, lambda end: _choice(count, Fate.OLD, range(end), Fate.NEW))
        lose_piece = shuffled(every_piece, lambda n: _choice(count, Fate.NEW, [n], Fate.OLD))
        keep_piece = shuffled(every_piece, lambda n: _choice(count, Fate.OLD, [n], Fate.NEW))
        damaged = (
            _choice(count, Fate.NEW, [n], Fate(fate))
            for n in chance.sample(every_piece, count)
            for fate in others
        )
        whole = iter([_choice(count, Fate.NEW), _choice(count, Fate.OLD)])
        return [
            whole,
            lose_write,
            keep_write,
            in_order,
            shuffled(range(len(torn)), shorn),
            lose_piece,
            keep_piece,
            damaged,
            self._random(writes, chance),
        ]

    def _random(self, writes: Sequence[range], chance: random.Random) -> Iterator[bytes]:
        """Any choices; where there are not too many to list, each once."""
        count = self.possible_count
        if count <= _LISTED_MOST:
            yield from map(self._numbered, chance.sample(range(count), count))
            return
        while True:
            yield self._mixed(writes, chance)
            yield self._numbered(chance.randrange(count))

    def _mixed(self, writes: Sequence[range], chance: random.Random) -> bytes:
        """Whole writes and single pieces, from few that are lost to nearly all."""
        share = chance.random()
        choice = bytearray(len(self.pieces))
        for write in writes:
            for place in write:
                choice[place] = chance.random() < share
            if chance.random() < 0.5:
                choice[write.start : write.stop] = bytes([choice[write.start]]) * len(write)
        return bytes(choice)

    def _numbered(self, number: int) -> bytes:
        """The choice of a number below :attr:`possible_count`."""
        choice = bytearray(len(self.pieces))
        for place in range(len(choice)):
            number, fate = divmod(number, len(self._fates))
            choice[place] = self._fates[fate]
        return bytes(choice)


def _choice(
    count: int, all_of: Fate, but: Sequence[int] | range = (), fate: Fate = Fate.OLD
) -> bytes:
    choice = bytearray([all_of]) * count
    for place in but:
        choice[place] = fate
    return bytes(choice)


def _round_robin(strata: Sequence[Iterator[bytes]]) -> Iterator[bytes]:
    """All of the first, then one of each in turn."""
    first, *rest = strata
    yield from first
    while rest:
        for stratum in list(rest):
            choice = next(stratum, None)
            if choice is None:
                rest.remove(stratum)
            else:
                yield choice
