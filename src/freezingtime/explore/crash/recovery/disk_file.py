# SPDX-License-Identifier: GPL-2.0-or-later
"""A state's disk as a sparse file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from freezingtime.explore.crash.recovery.state_medium import StateMedium
from freezingtime.medium.base import SECTOR_BYTES, SectorError

_COPY_BYTES = 1 << 20


def write_disk(medium: StateMedium, path: Path) -> None:
    """Write what a disk holds; zeros where it cannot be read.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        file.truncate(medium.size_bytes)
        for first, length in medium.stored_spans():
            for offset_bytes in range(first, first + length, _COPY_BYTES):
                count = min(_COPY_BYTES, first + length - offset_bytes)
                data = _readable(medium.read, offset_bytes, count)
                if data.count(0) < len(data):
                    file.seek(offset_bytes)
                    file.write(data)


def _readable(read: Callable[[int, int], Any], offset_bytes: int, length_bytes: int) -> bytes:
    """The bytes; zeros for sectors that cannot be read."""
    try:
        return bytes(read(offset_bytes, length_bytes))
    except SectorError:
        if length_bytes == SECTOR_BYTES:
            return bytes(SECTOR_BYTES)
        sectors = range(offset_bytes, offset_bytes + length_bytes, SECTOR_BYTES)
        return b"".join(_readable(read, sector, SECTOR_BYTES) for sector in sectors)
