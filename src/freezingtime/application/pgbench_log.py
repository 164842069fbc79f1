# SPDX-License-Identifier: GPL-2.0-or-later
"""Latencies of pgbench's transactions, from the logs that it writes with ``-l``.

The only place where pgbench says how long the slowest ones took.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from freezingtime.application.figure import Direction, Figure
from freezingtime.percentile import percentile_rank

#: What pgbench calls its logs by itself: one for each of its threads.
FILE = re.compile(r"(?:.*/)?pgbench_log\.[0-9]+(?:\.[0-9]+)?", re.DOTALL)

# client_id transaction_no time script_no time_epoch time_us, and what -R and --max-tries add. In
# a line of --aggregate-interval the time in seconds comes first, which no client is numbered as.
_LINE = re.compile(rb"[0-9]{1,7} [0-9]{1,18} ([0-9]{1,15}) [0-9]{1,9} [0-9]{9,12} [0-9]{1,6}[ \n]")
_BYTES_MAX = 64 << 20
_PERCENTILES = {"p50": 50_000, "p99": 99_000, "p99.9": 99_900}


def pgbench_log(paths: Sequence[Path]) -> Iterator[Figure]:
    """Percentiles over all transactions of some logs; none where there is no transaction.

    Raises:
        OSError: one cannot be read.
        ValueError: they are too large.
    """
    if sum(path.stat().st_size for path in paths) > _BYTES_MAX:
        raise ValueError(f"logs of more than {_BYTES_MAX >> 20} MiB; use --sampling-rate")
    latencies_us = array("q")
    for path in paths:
        with path.open("rb") as file:
            latencies_us.extend(
                int(found[1]) for found in map(_LINE.match, file) if found is not None
            )
    if not latencies_us:
        return
    ordered_us = sorted(latencies_us)
    for name, per_100k in _PERCENTILES.items():
        latency_us = ordered_us[percentile_rank(len(ordered_us), per_100k) - 1]
        yield Figure(f"latency_{name}", latency_us / 1000, "ms", Direction.LOWER)
    yield Figure("latency_max", ordered_us[-1] / 1000, "ms", Direction.LOWER)
