"""Notes about what a list leaves out."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from freezingtime.machine.unusable import Unusable


def print_skipped(unusable: Iterable[Unusable]) -> None:
    """Say on stderr what was skipped, why, and how to remove it."""
    for each in unusable:
        print(f"freezingtime: skipped {each.directory.name}: {each.advice}", file=sys.stderr)
