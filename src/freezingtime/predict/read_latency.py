# SPDX-License-Identifier: GPL-2.0-or-later
"""One figure to put devices in order by: the latency of random reads, one at a time."""

from __future__ import annotations

from freezingtime.device.description import Description
from freezingtime.errors import RefusalError
from freezingtime.predict.predict import METRICS, Case, simulate_case
from freezingtime.results.latency_summary import LatencySummary, summarize

_METRIC = "read_latency"


def read_latency(description: Description, *, seed: int = 0) -> LatencySummary | None:
    """Simulate random 4 KiB reads of queue depth 1; None for a device that does not take them.

    Raises:
        InputError: the device cannot be built.
    """
    metric = METRICS[_METRIC]
    try:
        simulation = simulate_case(
            description, Case(_METRIC, metric.depth, metric.block_bytes), seed
        )
    except RefusalError:
        return None
    return summarize(simulation)[0]
