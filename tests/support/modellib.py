# SPDX-License-Identifier: GPL-2.0-or-later
"""What is true of every model, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from freezingtime.request import Operation


def assert_flushes_follow_writes(completions: Iterable[tuple[Operation, int]]) -> None:
    """A flush completes after the writes submitted before it; ``completions`` are in that order."""
    written_ns = 0
    for operation, completion_ns in completions:
        if operation is Operation.FLUSH:
            assert completion_ns >= written_ns
        elif operation in (Operation.WRITE, Operation.WRITE_ZEROES):
            written_ns = max(written_ns, completion_ns)
