# SPDX-License-Identifier: GPL-2.0-or-later
"""Spans of lost bytes, and the blocks of a file system that have a part of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]
"""Offset and length of what was lost, in bytes."""
#: Of a failure; what else was lost is named by nothing.
BLOCKS_MOST = 256
_NAMES_SHOWN = 4


def blocks_of(offset_bytes: int, length_bytes: int, block_bytes: int) -> range:
    """The blocks that have a part of a span of bytes."""
    return range(offset_bytes // block_bytes, -(-(offset_bytes + length_bytes) // block_bytes))


def blocks_of_all(spans: Iterable[Span], block_bytes: int) -> list[int]:
    """The blocks that have a part of any of these, as many as are named."""
    return sorted({block for span in spans for block in blocks_of(*span, block_bytes)})[
        :BLOCKS_MOST
    ]


def list_names(names: Sequence[str]) -> str:
    """List the first ones, and say how many more there are."""
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
