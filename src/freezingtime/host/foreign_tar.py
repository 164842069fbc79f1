# SPDX-License-Identifier: GPL-2.0-or-later
"""Tar archives that others have made, read as far as they can be believed.

tarfile believes what a header says: it reads names and attributes in one piece of whatever
length, goes back where a size is negative, and takes a damaged header for the archive's end.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

#: Names, attributes and anything else that tarfile reads at once are shorter.
_READ_BYTES_MAX = 1 << 20


def read_members(archive: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members of an archive that is not compressed, as they come.

    A regular member that is not sparse has its content in ``archive``: ``size`` bytes from
    ``offset_data`` on, all of them there unless the file is cut short meanwhile.

    Raises:
        tarfile.ReadError: the archive is damaged, from that member on.
        OSError: it cannot be read.
    """
    fd = archive.fileno()
    try:
        # The methods that tarfile needs of a file.
        with tarfile.open(fileobj=_ShortReads(fd), mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members.clear()  # it would keep them all
                if member.size < 0:
                    raise tarfile.ReadError(f"{member.name!r} has {member.size} bytes")
                if member.isreg() and member.offset_data + member.size > _size_bytes(fd):
                    raise tarfile.ReadError(f"it ends within {member.name!r}")
                yield member
            if os.pread(fd, tarfile.BLOCKSIZE, tar.offset).strip(b"\0"):
                raise tarfile.ReadError("a damaged header")
    except (OSError, tarfile.ReadError):
        raise
    except (Exception, RecursionError) as error:
        # What tarfile raises for bytes that are no archive is more than its own errors.
        raise tarfile.ReadError(f"{type(error).__name__}: {error}") from error


class _ShortReads:
    """The archive as tarfile may read it: nothing it believes of a header fills memory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size_bytes = _size_bytes(fd)
        self._position_bytes = 0

    def tell(self) -> int:
        return self._position_bytes

    def seek(self, offset_bytes: int) -> int:
        if not 0 <= offset_bytes <= self._size_bytes + tarfile.RECORDSIZE:
            raise tarfile.ReadError("a member is longer than the archive")
        self._position_bytes = offset_bytes
        return offset_bytes

    def read(self, size_bytes: int) -> bytes:
        if not 0 <= size_bytes <= _READ_BYTES_MAX:
            raise tarfile.ReadError(f"a header of {size_bytes} bytes")
        data = os.pread(self._fd, size_bytes, self._position_bytes)
        self._position_bytes += len(data)
        return data


def _size_bytes(fd: int) -> int:
    return os.fstat(fd).st_size
