# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of a composition: a file of a few lines can ask for billions of members."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from freezingtime.device.parameters import Table

DEPTH_MAX = 8
#: In all, those that are compositions themselves included.
MEMBERS_MAX = 1024


@dataclass(slots=True)
class _Walk:
    depth: int = 0
    member_count: int = 0


_walk: ContextVar[_Walk | None] = ContextVar("composition", default=None)


@contextmanager
def whole_composition() -> Iterator[None]:
    """Around all that is done for a composition and its members' members; may be nested."""
    if _walk.get() is not None:
        yield
        return
    token = _walk.set(_Walk())
    try:
        yield
    finally:
        _walk.reset(token)


@contextmanager
def one_member(table: Table) -> Iterator[None]:
    """Around what is done for the member that ``table`` describes, within a whole composition.

    Raises:
        InputError: there are too many, or they are too deep within each other.
    """
    walk = _walk.get() or _Walk()
    key = "device" if "device" in table else "model"
    walk.depth += 1
    walk.member_count += 1
    try:
        if walk.depth > DEPTH_MAX:
            raise table.error(key, f"nests deeper than {DEPTH_MAX} levels, or contains itself")
        if walk.member_count > MEMBERS_MAX:
            raise table.error(key, f"is one too many: a device has at most {MEMBERS_MAX} members")
        yield
    finally:
        walk.depth -= 1
