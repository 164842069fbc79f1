# SPDX-License-Identifier: GPL-2.0-or-later
"""Notes about what a list leaves out."""

from __future__ import annotations

from collections.abc import Iterable

from freezingtime.host.foreign_text import say
from freezingtime.store.unusable import Unusable


def print_skipped(unusable: Iterable[Unusable]) -> None:
    """Print on stderr what was skipped, why, and how to remove it."""
    for each in unusable:
        say(f"skipped {each.directory.name}: {each.advice}")
