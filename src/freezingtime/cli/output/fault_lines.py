# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines about what rules of faults did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def fault_lines(disk: str, rules: Sequence[tuple[str, int]]) -> Iterator[str]:
    """A line for each rule of a disk and how many requests it hit, also one that hit nothing."""
    for rule, count in rules:
        what = f"hit {count} request{'' if count == 1 else 's'}" if count else "NEVER HIT"
        yield f"fault {rule} of {disk}: {what}"
