# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of a regular file: in a layer's archive, in a file of the host's, or at hand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from freezingtime.errors import InputError

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OnHost:
    """A file of the host's, and what tells that it is still the one that was found."""

    path: str
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """``size_bytes`` of ``source`` from ``offset_bytes`` on."""

    source: BinaryIO | OnHost | bytes
    offset_bytes: int
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces.

        Raises:
            InputError: it cannot be read, or is not what it was any more.
        """
        if isinstance(self.source, bytes):
            yield self.source
        elif isinstance(self.source, OnHost):
            fd = _open(self.source.path)
            with contextlib.ExitStack() as cleanup:
                cleanup.callback(os.close, fd)
                if self.source.identity != file_identity(os.fstat(fd)):
                    raise _has_changed(self.source.path)
                yield from self._pieces_of(fd, self.source.path)
                if self.source.identity != file_identity(os.fstat(fd)):
                    raise _has_changed(self.source.path)
        else:
            yield from self._pieces_of(self.source.fileno(), "the image")

    def _pieces_of(self, fd: int, name: str) -> Iterator[bytes]:
        position_bytes, end_bytes = self.offset_bytes, self.offset_bytes + self.size_bytes
        while position_bytes < end_bytes:
            piece = os.pread(fd, min(_PIECE_BYTES, end_bytes - position_bytes), position_bytes)
            if not piece:
                raise _has_changed(name)
            yield piece
            position_bytes += len(piece)


def file_identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a host file does."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; you need read permission") from error


def _has_changed(name: str) -> InputError:
    return InputError(f"{name} changed while it was read; stop what writes to it")
