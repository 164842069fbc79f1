# SPDX-License-Identifier: GPL-2.0-or-later
"""Block requests, as they flow through the emulator.

A request is what the guest's driver handed to its controller: operation, byte range,
and, for writes, the data. *When* it arrived is not part of it: arrival times belong to
a clock and travel beside the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from freezingtime.annotation import Annotation

#: Bytes to read or write, whoever owns them.
Buffer: TypeAlias = bytes | bytearray | memoryview


class Operation(IntEnum):
    """Operation of a request. The values are the NBD protocol's command types."""

    READ = 0
    WRITE = 1
    FLUSH = 3
    DISCARD = 4
    WRITE_ZEROES = 6

    @property
    def modifies(self) -> bool:
        """Return whether the request changes the bytes of its range."""
        return self in _MODIFYING


_MODIFYING = frozenset({Operation.WRITE, Operation.DISCARD, Operation.WRITE_ZEROES})


class FaultKind(IntEnum):
    """Kind of a fault; of several faults of a request, the greatest is told.

    Records contain the words.
    """

    SLOW = 0
    """It took longer."""
    HANG = 1
    """The device completed nothing for a while."""
    FLIP = 2
    """Bits of what it read were flipped."""
    MISDIRECT = 3
    """It read or wrote elsewhere."""
    TORN = 4
    """Only its first sectors were written."""
    LOSE = 5
    """It changed nothing."""
    UNREADABLE = 6
    """A sector of it could not be read."""
    ERROR = 7
    """It failed."""
    DISAPPEAR = 8
    """The device was gone, or went."""


class Fault(NamedTuple):
    """Fault of one request: what a device that fails on purpose does beside serving it."""

    kind: FaultKind
    errno: int = 0
    """How it fails, in Linux's words for block devices; no byte is read or written. 0: it does not.

    ``ENODATA`` is a medium error, ``EREMOTEIO`` one that no retry mends, ``EIO`` any other,
    ``ENOSPC`` a lack of space.
    """
    flipped_bits: Sequence[int] = ()
    """Which bits of what is read are flipped, counted from its first byte's lowest."""
    moved_bytes: int = 0
    """How far from its own range it reads or writes."""
    kept_bytes: int | None = None
    """How much of it is written, from its beginning; None: all."""


@dataclass(slots=True, eq=False)
class Request:
    """One read, write, flush or discard.

    ``offset_bytes`` and ``length_bytes`` are already checked against the disk's size;
    both are 0 for a flush. ``data`` is set for a write and is exactly
    ``length_bytes`` long. ``fua`` (force unit access) asks that the data be durable
    before completion. ``cookie`` is the client's own label and is opaque. ``annotation`` is
    the device's annotation, set before it completes; None: none. ``fault`` is set
    by a device that fails on purpose when it is submitted, before any byte is moved; None: it has
    none.
    """

    operation: Operation
    offset_bytes: int
    length_bytes: int
    data: Buffer | None = None
    fua: bool = False
    cookie: int = 0
    annotation: Annotation | None = None
    fault: Fault | None = None

    @property
    def end_bytes(self) -> int:
        """The first byte after the request's range."""
        return self.offset_bytes + self.length_bytes

    def conflicts_with(self, other: Request) -> bool:
        """Return whether the two must not run on a medium at once: one modifies what both touch."""
        if self.fault is not None or other.fault is not None:
            return self._at_its_place()._overlaps(other._at_its_place())
        return self._overlaps(other)

    def _at_its_place(self) -> Request:
        """The request where it really reads or writes."""
        moved_bytes = 0 if self.fault is None else self.fault.moved_bytes
        return replace(self, offset_bytes=self.offset_bytes + moved_bytes)

    def _overlaps(self, other: Request) -> bool:
        return (
            self.offset_bytes < other.end_bytes
            and other.offset_bytes < self.end_bytes
            and (self.operation.modifies or other.operation.modifies)
        )
