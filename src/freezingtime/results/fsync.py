# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency of flushes together with the writes that they wait for, from a disk's requests.

On many devices a flush itself takes no time, as its cache is durable; what an application waits
for in ``fsync`` is the writes before it. A record has requests and no system calls, so the writes
that belong to a flush are told by their times: those that the disk was given since the flush
before, and without a pause. The kernel waits for them and comes with the flush some microseconds
later; what an application does in between of its own takes longer, as a rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.record_columns import Columns

#: So long without a write under way is a pause. From one step of an fsync to the next the guest's
#: kernel takes up to 30 us at the usual CPU rate (ext4, Linux 6.1).
PAUSE_NS = 100_000

_WRITES = (Operation.WRITE, Operation.WRITE_ZEROES)
#: What happens at one time happens in this order; a flush that takes no time ends after it came.
_WRITTEN, _FLUSHED, _FLUSH, _FLUSHED_AT_ONCE = range(4)


def fsync_latency_ns(columns: Columns) -> IntColumn:
    """One value for each flush of a disk, in order of arrival: until its delivery.

    It begins with the arrival of the first of the writes that it waits for, or with the flush's
    own. ``columns`` are ``operation``, ``arrival_ns`` and ``delivery_ns``. A flush waits for
    writes that were delivered when it arrived, and after the last flush before it was; a write
    that comes :data:`PAUSE_NS` or longer before the next one begins, or before the flush,
    belongs to none.
    """
    operation, arrival_ns = columns["operation"], columns["arrival_ns"]
    delivery_ns = columns["delivery_ns"]
    flushes = np.flatnonzero(operation == Operation.FLUSH)
    flushes = flushes[np.argsort(arrival_ns[flushes], kind="stable")]
    writes = np.flatnonzero(np.isin(operation, _WRITES))
    start_ns = _starts_ns(
        arrival_ns[flushes], delivery_ns[flushes], arrival_ns[writes], delivery_ns[writes]
    )
    latency_ns: IntColumn = delivery_ns[flushes] - start_ns
    return latency_ns


def _starts_ns(
    flush_arrival_ns: IntColumn,
    flush_delivery_ns: IntColumn,
    write_arrival_ns: IntColumn,
    write_delivery_ns: IntColumn,
) -> NDArray[np.int64]:
    """Return the arrival of the first write each flush waits for; flushes in order of arrival."""
    nothing = np.zeros_like
    times_ns = np.concatenate([flush_delivery_ns, write_delivery_ns, flush_arrival_ns])
    flushed = np.where(flush_delivery_ns == flush_arrival_ns, _FLUSHED_AT_ONCE, _FLUSHED)
    kinds = np.concatenate(
        [
            flushed,
            np.full_like(write_delivery_ns, _WRITTEN),
            np.full_like(flush_arrival_ns, _FLUSH),
        ]
    )
    begun_ns = np.concatenate(
        [nothing(flush_delivery_ns), write_arrival_ns, nothing(flush_arrival_ns)]
    )
    order = np.lexsort((kinds, times_ns))
    starts_ns: list[int] = []
    # Stretches without a pause since the last flush, as their start and end, in order.
    stretches: list[tuple[int, int]] = []
    for time_ns, kind, write_ns in zip(
        times_ns[order].tolist(), kinds[order].tolist(), begun_ns[order].tolist(), strict=True
    ):
        if kind in (_FLUSHED, _FLUSHED_AT_ONCE):
            stretches.clear()
        elif kind == _WRITTEN:
            # A write that began early joins all stretches that have ended since.
            start_ns = write_ns
            while stretches and stretches[-1][1] > start_ns - PAUSE_NS:
                start_ns = min(start_ns, stretches.pop()[0])
            stretches.append((start_ns, time_ns))
        elif stretches and stretches[-1][1] > time_ns - PAUSE_NS:
            starts_ns.append(stretches[-1][0])
        else:
            starts_ns.append(time_ns)
    return np.asarray(starts_ns, np.int64)
