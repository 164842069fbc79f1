# SPDX-License-Identifier: GPL-2.0-or-later
"""Exports: disks that a server offers under names."""

from __future__ import annotations

from dataclasses import dataclass

from freezingtime.nbd.protocol import (
    NBD_FLAG_CAN_MULTI_CONN,
    NBD_FLAG_HAS_FLAGS,
    NBD_FLAG_READ_ONLY,
    NBD_FLAG_SEND_CACHE,
    NBD_FLAG_SEND_FLUSH,
    NBD_FLAG_SEND_FUA,
    NBD_FLAG_SEND_TRIM,
    NBD_FLAG_SEND_WRITE_ZEROES,
    NBD_MAX_STRING_BYTES,
)


@dataclass(frozen=True, slots=True)
class Export:
    """One disk on the wire: its name, its size and what requests to it may look like.

    The size is a positive multiple of ``min_block_bytes``, and so are the offset and the
    length of every request. ``max_block_bytes`` bounds the data of one read or write, but
    not the length of a trim or of writing zeros, which carry none. Raises ValueError
    where these do not fit together.
    """

    name: str
    size_bytes: int
    read_only: bool = False
    min_block_bytes: int = 512
    preferred_block_bytes: int = 4096
    max_block_bytes: int = 32 * 1024 * 1024
    to_agent: bool = False
    """Whether the client is our agent, which understands more errors than others."""

    def __post_init__(self) -> None:
        if self.size_bytes <= 0 or self.size_bytes % self.min_block_bytes:
            raise ValueError(
                f"export {self.name!r}: size of {self.size_bytes} bytes is not "
                f"a positive multiple of {self.min_block_bytes}"
            )
        if not self.min_block_bytes <= self.preferred_block_bytes <= self.max_block_bytes:
            raise ValueError(f"export {self.name!r}: block sizes are not in ascending order")
        if len(self.name.encode()) > NBD_MAX_STRING_BYTES:
            raise ValueError(f"export name is longer than {NBD_MAX_STRING_BYTES} bytes")

    @property
    def transmission_flags(self) -> int:
        """Return the transmission flags: what the client may use.

        Many connections are fine: all see one medium, and a flush covers all of it.
        """
        flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA
        flags |= NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE
        if self.read_only:
            return flags | NBD_FLAG_READ_ONLY
        return flags | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES
