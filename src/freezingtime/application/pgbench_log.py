# SPDX-License-Identifier: GPL-2.0-or-later
"""Latencies of pgbench's transactions, from the logs that it writes with ``-l``.

The only place where pgbench says how long the slowest ones took.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from freezingtime.application.figure import Direction, Figure
from freezingtime.application.operation_log import PGBENCH, read_operations, require_size
from freezingtime.percentile import percentile_rank

_PERCENTILES = {"p50": 50_000, "p99": 99_000, "p99.9": 99_900}
_NS_PER_MS = 1_000_000


def pgbench_log(paths: Sequence[Path]) -> Iterator[Figure]:
    """Percentiles over all transactions of some logs; none where there is no transaction.

    Raises:
        OSError: one cannot be read.
        ValueError: they are too large.
    """
    require_size(paths)
    ordered_ns = sorted(
        latency_ns
        for path in paths
        for latency_ns in read_operations(path, path.name, PGBENCH).latencies_ns
    )
    if not ordered_ns:
        return
    for name, per_100k in _PERCENTILES.items():
        latency_ns = ordered_ns[percentile_rank(len(ordered_ns), per_100k) - 1]
        yield Figure(f"latency_{name}", latency_ns / _NS_PER_MS, "ms", Direction.LOWER)
    yield Figure("latency_max", ordered_ns[-1] / _NS_PER_MS, "ms", Direction.LOWER)
