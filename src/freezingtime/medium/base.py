# SPDX-License-Identifier: GPL-2.0-or-later
"""The medium interface: *where* the bytes are.

A medium is read and written at byte offsets and takes whatever host time it takes. It
knows nothing of guest time, NBD or QEMU. Methods may be called from several threads at
once, but never for overlapping ranges of which one is being modified: the caller orders
those.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod

from freezingtime.request import Buffer

SECTOR_BYTES = 512


class SectorError(OSError):
    """A failure that belongs to the emulated disk, so that the guest is to see it.

    Every other failure of a medium is the host's, and ends the run.
    """


class Medium(ABC):
    """Bytes at offsets 0 to ``size_bytes``.

    All methods raise OSError when the medium fails; the error's text names the medium.
    """

    #: A multiple of :data:`SECTOR_BYTES`.
    size_bytes: int
    #: Whether :meth:`write` and its kin may be called.
    writable: bool = True
    #: Whether calls may take long enough to be worth a worker thread.
    may_block: bool = True

    @abstractmethod
    def describe(self) -> str:
        """The medium in the user's own words, for messages and records."""

    @abstractmethod
    def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        """Return exactly ``length_bytes`` bytes from ``offset_bytes``."""

    @abstractmethod
    def write(self, offset_bytes: int, data: Buffer) -> None:
        """Store all of ``data`` at ``offset_bytes``; later reads see it."""

    @abstractmethod
    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        """Make the range read as zeros."""

    @abstractmethod
    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """The range's content is no longer needed. It reads as zeros afterwards."""

    @abstractmethod
    def flush(self) -> None:
        """Make everything written so far durable."""

    def displacement(self) -> str | None:
        """Describe what happened to the file under the medium's name; None: it is still there."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Release what the medium holds. Idempotent."""


class ReadOnlyMedium(Medium):
    """A medium whose bytes nobody can change."""

    writable = False

    def write(self, offset_bytes: int, data: Buffer) -> None:
        raise self._read_only()

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        raise self._read_only()

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        raise self._read_only()

    def flush(self) -> None:
        """Do nothing: nothing is ever written."""

    def _read_only(self) -> OSError:
        return OSError(errno.EROFS, f"{self.describe()} cannot be written")
