# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading and writing an open file at offsets: through the page cache, or past it.

Both ways complete short transfers, and raise OSError without saying which file: the medium
adds that.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import Protocol

from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.request import Buffer

_POOLED_BUFFER_BYTES = 128 * 1024
_POOLED_BUFFERS_MAX = 64


class FileAccess(Protocol):
    """Access to a file's bytes, buffered or direct."""

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly ``length_bytes`` bytes; OSError (EIO) where the file ends before that."""

    def write(self, offset_bytes: int, data: Buffer) -> None:
        """Write all of ``data``."""

    def close(self) -> None:
        """Release what the access itself has opened. Idempotent."""


class BufferedAccess:
    """Through the page cache of the open file ``fd``, which stays the caller's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        data = os.pread(self._fd, length_bytes, offset_bytes)
        while len(data) < length_bytes:
            rest = os.pread(self._fd, length_bytes - len(data), offset_bytes + len(data))
            if not rest:
                raise _file_ended()
            data += rest
        return data

    def write(self, offset_bytes: int, data: Buffer) -> None:
        _write_all(self._fd, offset_bytes, memoryview(data))

    def close(self) -> None:
        """Forget the file, which the caller closes: its number may soon be another file's."""
        self._fd = -1


class DirectAccess:
    """Past the page cache (O_DIRECT), for the file that the caller has open as ``fd``.

    Raises OSError (EINVAL) where the file system has no direct I/O.

    Direct transfers must be aligned. A read is widened to the alignment. A write is not:
    reading a block, changing a part of it and writing it back would lose the data of a
    request that writes the block's other part at the same time. An unaligned write goes
    through the page cache instead, where the kernel keeps neighbours apart, and is made
    durable at once, so that nothing lingers there; direct transfers see it, since the
    kernel writes back and drops the cached pages that they touch. For that, one page must
    never serve a cached and a direct write at once, hence an alignment of a whole page
    wherever single sectors are not good enough.
    """

    def __init__(self, fd: int, *, writable: bool) -> None:
        self._buffered_fd = fd
        access = os.O_RDWR if writable else os.O_RDONLY
        # Through /proc it is the same file for sure, even if the path has a new owner.
        self._fd = os.open(f"/proc/self/fd/{fd}", access | os.O_DIRECT | os.O_CLOEXEC)
        self._idle_buffers: list[mmap.mmap] = []
        try:
            self._alignment_bytes = self._probe_alignment_bytes()
        except OSError:
            self.close()
            raise

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        alignment_bytes = self._alignment_bytes
        start_bytes = offset_bytes // alignment_bytes * alignment_bytes
        end_bytes = offset_bytes + length_bytes
        aligned_end_bytes = -(-end_bytes // alignment_bytes) * alignment_bytes
        buffer = self._borrow_buffer(aligned_end_bytes - start_bytes)
        view = memoryview(buffer)[: aligned_end_bytes - start_bytes]
        # The file may end before the widened range does.
        filled_bytes, needed_bytes = 0, end_bytes - start_bytes
        while filled_bytes < needed_bytes:
            count = os.preadv(self._fd, [view[filled_bytes:]], start_bytes + filled_bytes)
            if count == 0:
                raise _file_ended()
            filled_bytes += count
        data = bytes(view[offset_bytes - start_bytes : needed_bytes])
        self._return_buffer(buffer)
        return data

    def write(self, offset_bytes: int, data: Buffer) -> None:
        if offset_bytes % self._alignment_bytes or len(data) % self._alignment_bytes:
            _write_all(self._buffered_fd, offset_bytes, memoryview(data), os.RWF_DSYNC)
            return
        buffer = self._borrow_buffer(len(data))
        buffer[: len(data)] = data
        _write_all(self._fd, offset_bytes, memoryview(buffer)[: len(data)])
        self._return_buffer(buffer)

    def close(self) -> None:
        self._buffered_fd = -1
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _probe_alignment_bytes(self) -> int:
        """Find by trying what length and offset the file system takes."""
        buffer = self._borrow_buffer(SECTOR_BYTES)
        try:
            os.preadv(self._fd, [memoryview(buffer)[:SECTOR_BYTES]], 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return SECTOR_BYTES
        os.preadv(self._fd, [memoryview(buffer)[: mmap.PAGESIZE]], 0)
        return mmap.PAGESIZE

    def _borrow_buffer(self, size_bytes: int) -> mmap.mmap:
        """Return page-aligned memory of at least ``size_bytes``, a used one where it is enough."""
        if size_bytes > _POOLED_BUFFER_BYTES:
            return mmap.mmap(-1, size_bytes)
        try:
            return self._idle_buffers.pop()
        except IndexError:
            return mmap.mmap(-1, _POOLED_BUFFER_BYTES)

    def _return_buffer(self, buffer: mmap.mmap) -> None:
        if len(buffer) == _POOLED_BUFFER_BYTES and len(self._idle_buffers) < _POOLED_BUFFERS_MAX:
            self._idle_buffers.append(buffer)


def _write_all(fd: int, offset_bytes: int, data: memoryview, flags: int = 0) -> None:
    while data:
        count = os.pwritev(fd, [data], offset_bytes, flags)
        if count == 0:
            raise OSError(errno.EIO, "the file accepts no more data")
        offset_bytes += count
        data = data[count:]


def _file_ended() -> OSError:
    return OSError(errno.EIO, "the file was truncated")
