# SPDX-License-Identifier: GPL-2.0-or-later
"""Digests of files by content, each read once as long as it stays as it is."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import lru_cache
from pathlib import Path

_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)
_KNOWN_MAX = 4096


def content_digest(path: Path, size_bytes: int | None = None) -> str:
    """SHA-256 of a regular file or block device, of its first ``size_bytes`` (None: all).

    Blocks of zeros count by their place only: whether a file has holes makes no difference, and
    they are read fast.

    Raises:
        OSError: it cannot be read, or is something else.
    """
    status = path.stat()
    if stat.S_ISBLK(status.st_mode):
        return _digest(path, size_bytes)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "is not a regular file")
    return _known_digest(
        path.resolve(),
        size_bytes,
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
    )


@lru_cache(_KNOWN_MAX)
def _known_digest(path: Path, size_bytes: int | None, _version: tuple[int, ...]) -> str:
    return _digest(path, size_bytes)


def _digest(path: Path, size_bytes: int | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        end_bytes = os.lseek(file.fileno(), 0, os.SEEK_END)
        end_bytes = end_bytes if size_bytes is None else min(end_bytes, size_bytes)
        for offset_bytes in range(0, end_bytes, _BLOCK_BYTES):
            length_bytes = min(_BLOCK_BYTES, end_bytes - offset_bytes)
            block = os.pread(file.fileno(), length_bytes, offset_bytes)
            if block != _ZEROS[: len(block)]:
                digest.update(f"{offset_bytes}:{len(block)};".encode())
                digest.update(block)
        digest.update(f"end {end_bytes}".encode())
    return digest.hexdigest()
