# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency of a recorded disk's flushes together with the writes that they wait for."""

from __future__ import annotations

import numpy as np

from freezingtime.application.fsync import WRITES, FsyncTally
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.record_columns import Columns


def fsync_latency_ns(columns: Columns) -> IntColumn:
    """One value for each flush of a disk, in order of delivery, as :class:`FsyncTally` has it.

    ``columns`` are ``operation``, ``arrival_ns`` and ``delivery_ns``, in any order.
    """
    operation = columns["operation"]
    if not np.any(operation == Operation.FLUSH):
        return np.empty(0, np.int64)
    wanted = np.flatnonzero(np.isin(operation, (*WRITES, Operation.FLUSH)))
    wanted = wanted[np.argsort(columns["delivery_ns"][wanted], kind="stable")]
    tally = FsyncTally()
    for each in zip(
        *(columns[name][wanted].tolist() for name in ("operation", "arrival_ns", "delivery_ns")),
        strict=True,
    ):
        tally.add(*each)
    return np.array(tally.take(), np.int64)
