# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a guest image is still what was built: its files at once, its root disk as it is read.

The checksums are written when an image is built. One that was built before there were any is
checked once against its identity, which is of its content, and gets them then.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.host.replaced_file import replaced_path
from freezingtime.images.guest_image import GuestImage, content_id, mark_damaged
from freezingtime.images.sparse_file import data_blocks
from freezingtime.medium.base import Medium
from freezingtime.medium.checked import BLOCK_BYTES, CheckedMedium, SumsFile, block_sum
from freezingtime.medium.file import FileMedium
from freezingtime.store.checksums import (
    CHECKSUMS,
    DamagedError,
    check_files,
    write_checksums,
)

_SUMS = "root.sums"

_log = logging.getLogger(__name__)


def seal_image(image: GuestImage) -> None:
    """Write the checksums of an image that is complete but for them; OSError if it fails."""
    if image.root_path is not None:
        size_bytes = image.root_path.stat().st_size
        block_count = -(-size_bytes // BLOCK_BYTES)
        with replaced_path(image.directory / _SUMS) as building:
            SumsFile.write(building, block_count, dict(_root_sums(image.root_path)))
    write_checksums(image.directory, _checked_names(image))


def is_sound(image: GuestImage, *, whole: bool = False) -> bool:
    """Whether an image is what was built: all but its root disk, or with ``whole`` that as well.

    One that is not is marked, so that nobody uses it any more, and what is wrong is logged.
    """
    try:
        if (image.directory / CHECKSUMS).exists():
            check_files(image.directory, _checked_names(image))
        else:
            _seal_old(image)
        if whole and image.root_path is not None:
            _check_root(image, image.root_path)
    except DamagedError as error:
        mark_damaged(image, str(error))
        _log.warning("the image %s is damaged (%s): skipped", image.directory.name, error)
        return False
    return True


def _checked_names(image: GuestImage) -> list[str]:
    names = [image.kernel_path.name, image.initrd_path.name, image.manifest_path.name]
    return names if image.root_path is None else [*names, _SUMS]


def _check_root(image: GuestImage, path: Path) -> None:
    with contextlib.ExitStack() as cleanup:
        try:
            root = open_root_disk(image)
            cleanup.callback(root.close)
            for start_bytes in data_blocks(path, BLOCK_BYTES):
                root.read(start_bytes, min(BLOCK_BYTES, root.size_bytes - start_bytes))
        except (OSError, InputError) as error:
            raise DamagedError(str(error)) from error


def open_root_disk(image: GuestImage) -> Medium:
    """The root disk, to be read only; a block of it that is damaged cannot be read.

    Raises:
        InputError: it cannot be opened.
    """
    if image.root_path is None:
        raise RuntimeError(f"the image {image.name} has no root disk")
    base = FileMedium(image.root_path, writable=False, is_raw=True)
    try:
        sums = SumsFile(image.directory / _SUMS)
    except FileNotFoundError:
        return base  # an old one, which could not be given any
    except BaseException:
        base.close()
        raise
    name = image.root_path.name
    return CheckedMedium(base, sums, lambda damage: mark_damaged(image, f"{name}: {damage}"))


def _seal_old(image: GuestImage) -> None:
    """Check an image that has no checksums against its identity, and give it some."""
    try:
        found = content_id(image.directory, image.manifest.append, image.root_path)
    except OSError as error:
        raise DamagedError(str(error)) from error
    if found != image.image_id:
        raise DamagedError(f"its content is that of {found}, not of {image.image_id}")
    # Where nothing may be written, the next run checks it all again.
    with contextlib.suppress(OSError):
        seal_image(image)


def _root_sums(path: Path) -> Iterator[tuple[int, bytes]]:
    """The checksums of the root disk's blocks that are not all zeros, by number."""
    with path.open("rb") as file:
        for start_bytes in data_blocks(path, BLOCK_BYTES):
            digest = block_sum(os.pread(file.fileno(), BLOCK_BYTES, start_bytes))
            if any(digest):
                yield start_bytes // BLOCK_BYTES, digest
