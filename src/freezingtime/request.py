# SPDX-License-Identifier: GPL-2.0-or-later
"""Block requests, as they flow through the emulator.

A request is what the guest's driver handed to its controller: operation, byte range,
and, for writes, the data. *When* it arrived is not part of it: arrival times belong to
a clock and travel beside the request.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    UNREADABLE = 2
    """A sector of it could not be read."""
    ERROR = 3
    """It failed."""


class Fault(NamedTuple):
    """Fault of one request: what a device that fails on purpose does beside serving it."""

    kind: FaultKind
    errno: int = 0
    """How it fails, in Linux's words for block devices; no byte is read or written. 0: it does not.

    ``ENODATA`` is a medium error, ``EIO`` any other, ``ENOSPC`` a lack of space.
    """


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
        return (
            self.offset_bytes < other.end_bytes
            and other.offset_bytes < self.end_bytes
            and (self.operation.modifies or other.operation.modifies)
        )
