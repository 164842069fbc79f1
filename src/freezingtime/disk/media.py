# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening a disk's medium: the bytes, a layer that takes writes, the delay."""

from __future__ import annotations

from pathlib import Path

from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import InputError, about
from freezingtime.medium.base import SECTOR_BYTES, Medium
from freezingtime.medium.delay import delayed
from freezingtime.medium.file import FileMedium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium

DEFAULT_MEMORY_BYTES = 2**30


def open_medium(spec: DiskSpec, scratch_dir: Path) -> Medium:
    """Open the disk's medium; closing what is returned closes all of it.

    ``scratch_dir`` takes the writes to a file that must stay as it is. Raises
    :class:`InputError` when the medium cannot be opened; nothing is left open then.
    """
    medium = _open_bytes(spec, scratch_dir)
    try:
        _require_whole_blocks(spec, medium)
    except BaseException:
        medium.close()
        raise
    return delayed(medium, spec.delay)


def _require_whole_blocks(spec: DiskSpec, medium: Medium) -> None:
    block_bytes = spec.traits.logical_block_bytes
    if medium.size_bytes % block_bytes:
        raise InputError(
            f"{spec.given.shown}: has {medium.size_bytes} bytes, not a multiple of its "
            f"logical block, {block_bytes} bytes; give size=, or {spec.given.key('block_size')}=512"
        )


def open_layered(spec: DiskSpec, scratch_dir: Path) -> tuple[Medium, OverlayMedium]:
    """Open the disk's medium so that what changes on it can be saved, and loaded again.

    Returns the medium, closing which closes all of it, and the layer in it that takes all
    writes. Raises :class:`InputError` as :func:`open_medium` does, and for a file that is to
    be changed in place.
    """
    if spec.writable:
        raise InputError(
            f"{spec.given.shown}: a file that is modified in place is not saved; "
            f"leave out {spec.given.value('writable')}"
        )
    medium = _open_bytes(spec, scratch_dir)
    try:
        with about(spec.given.place):
            layer = (
                medium if isinstance(medium, OverlayMedium) else OverlayMedium(medium, scratch_dir)
            )
        _require_whole_blocks(spec, medium)
    except BaseException:
        medium.close()
        raise
    return delayed(layer, spec.delay), layer


def _open_bytes(spec: DiskSpec, scratch_dir: Path) -> Medium:
    """Open the medium without its delay."""
    place = spec.given.place
    with about(place if spec.given.option is None else f"{place}medium="):
        if spec.file is None:
            size_bytes = spec.capacity_bytes or DEFAULT_MEMORY_BYTES
            # A size of the device's own is cut to whole blocks; one that the user gives is not.
            block_bytes = SECTOR_BYTES if spec.size_bytes else spec.traits.logical_block_bytes
            return MemoryMedium(size_bytes // block_bytes * block_bytes)
        file = FileMedium(
            spec.file,
            writable=spec.writable,
            direct=spec.direct,
            size_bytes=spec.size_bytes,
            is_raw=spec.is_raw,
        )
    if spec.writable:
        return file
    try:
        with about(place):
            return OverlayMedium(file, scratch_dir)
    except BaseException:
        file.close()
        raise
