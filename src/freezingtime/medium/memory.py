# SPDX-License-Identifier: GPL-2.0-or-later
"""A medium in anonymous memory: it starts as zeros and is gone when it is closed."""

from __future__ import annotations

import errno
import mmap
import platform

from freezingtime.errors import InputError
from freezingtime.medium.base import SECTOR_BYTES, Medium
from freezingtime.request import Buffer
from freezingtime.units import format_size_bytes

# Python 3.13 is the first to name the flag; on these two machines Linux gives it this value.
_MAP_NORESERVE: int = getattr(
    mmap, "MAP_NORESERVE", 0x4000 if platform.machine() in ("x86_64", "aarch64") else 0
)


class MemoryMedium(Medium):
    """``size_bytes`` of zeros; pages take memory once they are written.

    Raises :class:`InputError` for a size that is not a positive multiple of 512, or that
    this machine cannot map.
    """

    may_block = False

    def __init__(self, size_bytes: int) -> None:
        if size_bytes <= 0 or size_bytes % SECTOR_BYTES:
            raise InputError(
                f"memory: {size_bytes} bytes: must be a positive multiple of {SECTOR_BYTES}"
            )
        self.size_bytes = size_bytes
        # Private, since only private pages read as zeros again after MADV_DONTNEED.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            self._pages = mmap.mmap(-1, size_bytes, flags=flags)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"memory: cannot map {format_size_bytes(size_bytes)} ({error}); "
                "use a smaller size, or a sparse file"
            ) from error
        self._is_written = False

    def describe(self) -> str:
        return "memory"

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return self._pages[offset_bytes : offset_bytes + length_bytes]

    def write(self, offset_bytes: int, data: Buffer) -> None:
        if not self._is_written:
            # Before the first page exists, and after any other advice on new mappings.
            _keep_pages_small(self._pages)
            self._is_written = True
        self._pages[offset_bytes : offset_bytes + len(data)] = data

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        end_bytes = offset_bytes + length_bytes
        first_page_bytes = -(-offset_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        last_page_bytes = end_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if first_page_bytes >= last_page_bytes:
            self._clear(offset_bytes, end_bytes)
            return
        self._clear(offset_bytes, first_page_bytes)
        self._pages.madvise(
            mmap.MADV_DONTNEED, first_page_bytes, last_page_bytes - first_page_bytes
        )
        self._clear(last_page_bytes, end_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self.zero(offset_bytes, length_bytes)

    def flush(self) -> None:
        """Do nothing: memory has no durable state to bring up to date."""

    def close(self) -> None:
        self._pages.close()

    def _clear(self, start_bytes: int, end_bytes: int) -> None:
        if start_bytes < end_bytes and self._is_written:
            self._pages[start_bytes:end_bytes] = bytes(end_bytes - start_bytes)


def _keep_pages_small(pages: mmap.mmap) -> None:
    """Make a first write allocate one page, even if the host defaults to huge pages.

    Else each write to a sparse disk would take 2 MiB of the host's memory.
    """
    try:
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel without huge pages
            raise
