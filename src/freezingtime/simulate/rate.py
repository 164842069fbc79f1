# SPDX-License-Identifier: GPL-2.0-or-later
"""The rate of completions in a part of a simulation."""

from __future__ import annotations

from freezingtime.trace.readers.columns import IntColumn
from freezingtime.units import NS_PER_S


def rate_between_hz(completion_ns: IntColumn, first: int, last: int) -> float:
    """Completions per second from the ``first`` to the ``last`` of those in order, by index."""
    count = len(completion_ns)
    duration_ns = int(completion_ns[last] - completion_ns[first])
    return (last % count - first % count) * NS_PER_S / duration_ns if duration_ns else float("inf")
