# SPDX-License-Identifier: GPL-2.0-or-later
"""Root disks as sparse files: of what is a hole, nothing is read."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_HASH_BYTES = 1 << 20


def digest_data(path: Path, digest: hashlib._Hash) -> None:
    """Take in a sparse file: its size and its blocks that are not all zeros, with their places."""
    with path.open("rb") as file:
        end_bytes = file.seek(0, os.SEEK_END)
        digest.update(end_bytes.to_bytes(8))
        zeros = bytes(_HASH_BYTES)
        for start_bytes in data_blocks(path, _HASH_BYTES):
            block = os.pread(file.fileno(), _HASH_BYTES, start_bytes)
            if block != zeros[: len(block)]:
                digest.update(start_bytes.to_bytes(8) + block)


def data_blocks(path: Path, block_bytes: int) -> Iterator[int]:
    """Yield the offsets of a sparse file's blocks that are not wholly in holes."""
    with path.open("rb") as file:
        end_bytes = file.seek(0, os.SEEK_END)
        position_bytes = 0
        while position_bytes < end_bytes:
            try:
                data_bytes = os.lseek(file.fileno(), position_bytes, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            start_bytes = max(position_bytes, data_bytes // block_bytes * block_bytes)
            yield start_bytes
            position_bytes = start_bytes + block_bytes
