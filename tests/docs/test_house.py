# SPDX-License-Identifier: GPL-2.0-or-later
"""The house is in order: rooms are no piles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.support.doclib import ROOT

PACKAGE = ROOT / "src" / "freezingtime"

#: Of one room, without those of the rooms in it.
MOST_SOURCES = 15


def test_no_room_holds_more_than_one_looks_through() -> None:
    sources = [
        path.parent
        for room in (PACKAGE, ROOT / "tests")
        for suffix in ("py", "c", "h")
        for path in room.rglob(f"*.{suffix}")
    ]
    assert len(sources) > 300
    piles: dict[Path, int] = {
        room.relative_to(ROOT): count
        for room, count in Counter(sources).items()
        if count > MOST_SOURCES
    }
    assert not piles
