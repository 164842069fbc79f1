# SPDX-License-Identifier: GPL-2.0-or-later
"""Mount point of a disk in the guest before the job: ``mount=PATH[,fs=NAME]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from freezingtime.errors import InputError

#: What a disk is formatted with if nothing is on it, the first unless another is named.
FILE_SYSTEMS = ("ext4", "xfs", "btrfs")

#: The guest gets it as a word, among others in one block.
_POINT = re.compile(r"(/[A-Za-z0-9@%+_.-]+)+")
_POINT_LENGTH_MAX = 100


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the guest, which is made if it is not there, and a file system for it."""

    point: str
    file_system: str


def parse_mount_point(text: str) -> str:
    """Parse ``mount=PATH``; raise :class:`InputError` for what is no directory below the root."""
    parts = text.split("/")
    if len(text) > _POINT_LENGTH_MAX or not _POINT.fullmatch(text) or {".", ".."} & set(parts):
        raise InputError(
            f"write an absolute path of letters, digits and any of @%+_.-, at most "
            f"{_POINT_LENGTH_MAX} long, such as /var/lib/postgresql/data"
        )
    return text
