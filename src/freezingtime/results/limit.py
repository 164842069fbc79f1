# SPDX-License-Identifier: GPL-2.0-or-later
"""``replay --fail-if``: what a device must not do, as a condition on its figures alone.

That is one of ``compare`` (:mod:`.condition`) without a change, a disk, or a figure that only a run
has: ``p99 > 5ms``, ``read.p99 > 5ms``, ``iops < 10k``.
"""

from __future__ import annotations

from collections.abc import Sequence

from freezingtime.application.fsync import FSYNC
from freezingtime.errors import InputError
from freezingtime.results.condition import OPTION, Condition, parse_condition
from freezingtime.results.latency_summary import LatencySummary
from freezingtime.results.metrics import APPLICATION, disk_metrics


def parse_limit(text: str) -> Condition:
    """Parse the value of ``--fail-if``.

    Raises:
        InputError: it is no condition, or none on one device's figures.
    """
    condition = parse_condition(text)
    problem = None
    if condition.is_change:
        problem = "is a change, and nothing is compared; write a value, such as 'p99 > 5ms'"
    elif condition.disk is not None:
        problem = "names a disk; each device is judged, so leave it out"
    elif condition.operation in ("", APPLICATION, FSYNC):
        problem = "is about a figure that only a run has"
    if problem is not None:
        raise InputError(f"{OPTION} {text}: {problem}")
    return condition


def is_met(condition: Condition, device: str, summaries: Sequence[LatencySummary]) -> bool:
    """Whether a device's figures meet the condition.

    ``summaries`` are of all requests together, and of each operation.

    Raises:
        InputError: the device has no such figure.
    """
    for key, value in disk_metrics(device, list(summaries)).items():
        if (key.operation, key.metric) == (condition.operation, condition.metric):
            return condition.is_met_by(value)
    raise InputError(
        f"{OPTION} {condition.text}: {device} has no such figure; the requests are "
        f"{', '.join(summary.operation for summary in summaries[1:])}"
    )
