# SPDX-License-Identifier: GPL-2.0-or-later
"""Parser of the kernel's letters for a request (blkparse(1), "RWBS").

A leading ``F`` is a flush before the request and a later one is FUA; ``D`` discards; ``WZ``
writes zeros; ``N`` moves no blocks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from freezingtime.request import Operation

_RWBS = re.compile(r"(?P<preflush>F?)(?P<kind>R|W|D|DE|WZ|N|)(?P<flags>[FASMB]*)")
_OPERATIONS = {
    "R": Operation.READ,
    "W": Operation.WRITE,
    "D": Operation.DISCARD,
    "DE": Operation.DISCARD,
    "WZ": Operation.WRITE_ZEROES,
}
#: What can be wrong, for messages.
RWBS_ALLOWED = "must be made of F, R, W, D, N, A, S, M and B"


class Rwbs(NamedTuple):
    """The request that the letters describe."""

    preflush: bool
    operation: Operation | None
    """None: no blocks are moved."""
    fua: bool


def parse_rwbs(text: str) -> Rwbs | None:
    """Parse the letters; return None if they mean nothing."""
    match = _RWBS.fullmatch(text)
    if match is None:
        return None
    return Rwbs(bool(match["preflush"]), _OPERATIONS.get(match["kind"]), "F" in match["flags"])
