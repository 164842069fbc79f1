# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines about what rules of faults did, and about changes that did nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezingtime.device.faults.rule_text import is_disappearance
from freezingtime.units import counted


def fault_lines(disk: str, rules: Sequence[tuple[str, int]]) -> Iterator[str]:
    """A line for each rule of a disk and how many requests it hit, also one that hit nothing."""
    for rule, count in rules:
        yield f"fault {rule} of {disk}: {_outcome(rule, count)}"


def _outcome(rule: str, count: int) -> str:
    if is_disappearance(rule):
        return "it disappeared" if count else "NEVER DISAPPEARED"
    return f"hit {counted(count, 'request')}" if count else "NEVER HIT"


def change_lines(disk: str, unreached: Sequence[str]) -> Iterator[str]:
    """A line for each change of a disk whose time has not come."""
    for text in unreached:
        yield f"change {text} of {disk}: NEVER REACHED, as the load ended before"
