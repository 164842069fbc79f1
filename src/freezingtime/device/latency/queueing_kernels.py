# SPDX-License-Identifier: GPL-2.0-or-later
"""The hot steps of queueing: token buckets, k servers, and the order of flushes.

A token bucket is kept as the time at which it will be full (the generic cell rate
algorithm's theoretical arrival time: ITU-T I.371, annex A): one number tells the balance at
any time, and idle time costs nothing. That time is a whole number of nanoseconds and a
fraction whose denominator is the rate, so that nothing is ever rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.annotation import HeldBy
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.annotations.columns import Annotations
from freezingtime.device.latency.heap_kernels import replace_least
from freezingtime.device.trace_device import OperationClass

# A token bucket is one row of an int64 matrix, with these columns.
RATE = 0  # tokens per second
CAPACITY = 1  # tokens
COUNTS_BYTES = 2  # what a token stands for: 1 a byte, 0 an I/O
FULL_NS = 3  # when the bucket will be full: whole nanoseconds ...
FULL_FRACTION = 4  # ... and this many parts of a nanosecond divided by the rate
HELD_BY = 5  # what a request is held by that waits for it
BUCKET_COLUMNS = 6

# How far the queues are, in an int64 vector.
ADMITTED_NS = 0  # when the last request passed the shared buckets
WRITTEN_NS = 1  # when the last of the writes completes
ADMISSION_HELD_BY = 2  # what the last request was held by that the shared buckets held back
NOW_NS = 3  # when the last request arrived
PROGRESS_FIELDS = 4


class QueueState(NamedTuple):
    """The state of the queues, changed in place."""

    shared_buckets: NDArray[np.int64]
    read_buckets: NDArray[np.int64]
    write_buckets: NDArray[np.int64]
    servers_free_ns: NDArray[np.int64]
    """When each server is free, as a binary heap; empty: servers without limit."""
    progress: NDArray[np.int64]
    flush_waits: bool


@njit(cache=True)
def earning_time(tokens: int, rate: int) -> tuple[int, int]:
    """Return the time to earn ``tokens``: whole nanoseconds, and a fraction over ``rate``.

    A long division in three digits of base 1000: no product leaves 64 bits.
    """
    time_ns = tokens // rate
    rest = tokens % rate
    for _ in range(3):
        rest *= 1000
        time_ns = time_ns * 1000 + rest // rate
        rest %= rate
    return time_ns, rest


@njit(cache=True)
def ready_ns(bucket: NDArray[np.int64], tokens: int) -> int:
    """The first nanosecond at which the bucket holds ``tokens``, or is full."""
    time_ns: int = bucket[FULL_NS]
    fraction = bucket[FULL_FRACTION]
    spared = bucket[CAPACITY] - tokens
    if spared > 0:
        spared_ns, spared_fraction = earning_time(spared, bucket[RATE])
        time_ns -= spared_ns
        fraction -= spared_fraction
    # A fraction of less than 0 is one of the nanosecond before: rounded up, this one.
    return time_ns + 1 if fraction > 0 else time_ns


@njit(cache=True)
def take(bucket: NDArray[np.int64], tokens: int, now_ns: int) -> None:
    """Take tokens out at ``now_ns``, if need be into debt."""
    # What comes within the nanosecond in which the bucket fills is kept: times are rounded
    # up, and if each rounding lost tokens, the rate would be too low.
    if bucket[FULL_NS] < now_ns - 1 or (
        bucket[FULL_NS] == now_ns - 1 and bucket[FULL_FRACTION] == 0
    ):
        bucket[FULL_NS] = now_ns
        bucket[FULL_FRACTION] = 0
    rate = bucket[RATE]
    added_ns, added_fraction = earning_time(tokens, rate)
    fraction = bucket[FULL_FRACTION] + added_fraction
    carry = fraction >= rate
    bucket[FULL_NS] += added_ns + carry
    bucket[FULL_FRACTION] = fraction - rate if carry else fraction


@njit(cache=True)
def admit(
    buckets: NDArray[np.int64], earliest_ns: int, ios: int, length_bytes: int, held_by: int
) -> tuple[int, int]:
    """The time at which a request has its tokens from all buckets, which it takes then.

    And what held it until then: ``held_by`` if that was over at ``earliest_ns``.
    """
    admitted_ns = earliest_ns
    for row in range(buckets.shape[0]):
        tokens = length_bytes if buckets[row, COUNTS_BYTES] else ios
        if tokens:  # who needs nothing does not wait for a bucket in debt
            bucket_ns = ready_ns(buckets[row], tokens)
            if bucket_ns > admitted_ns:
                admitted_ns = bucket_ns
                held_by = buckets[row, HELD_BY]
    for row in range(buckets.shape[0]):
        tokens = length_bytes if buckets[row, COUNTS_BYTES] else ios
        take(buckets[row], tokens, admitted_ns)
    return admitted_ns, held_by


@njit(cache=True)
def serve(servers_free_ns: NDArray[np.int64], admitted_ns: int, service_ns: int) -> int:
    """The time at which the server that is free first starts; it is then taken."""
    count = servers_free_ns.size
    if count == 0:
        return admitted_ns
    start_ns: int = max(admitted_ns, servers_free_ns[0])
    replace_least(servers_free_ns, count, start_ns + service_ns)
    return start_ns


@njit(cache=True)
def complete(
    queues: QueueState,
    operation_class: int,
    arrival_ns: int,
    service_ns: int,
    ios: int,
    charged_bytes: int,
    annotations: Annotations,
    place: int,
) -> int:
    """Return the completion time of the next request; annotate it in ``annotations[place]``."""
    progress = queues.progress
    progress[NOW_NS] = arrival_ns
    if operation_class == OperationClass.FLUSH:
        start_ns = arrival_ns
        if queues.flush_waits:
            start_ns = max(start_ns, progress[WRITTEN_NS])
        held_by: int = HeldBy.WRITES
    elif operation_class == OperationClass.DISCARD:
        start_ns = serve(queues.servers_free_ns, arrival_ns, service_ns)
        held_by = HeldBy.REQUESTS
    else:
        earliest_ns = max(arrival_ns, progress[ADMITTED_NS])
        admitted_ns, held_by = admit(
            queues.shared_buckets, earliest_ns, ios, charged_bytes, progress[ADMISSION_HELD_BY]
        )
        progress[ADMITTED_NS] = admitted_ns
        progress[ADMISSION_HELD_BY] = held_by
        own_buckets = (
            queues.read_buckets if operation_class == OperationClass.READ else queues.write_buckets
        )
        released_ns, released_by = admit(own_buckets, arrival_ns, ios, charged_bytes, held_by)
        start_ns = serve(queues.servers_free_ns, admitted_ns, service_ns)
        if start_ns > admitted_ns:
            held_by = HeldBy.REQUESTS
        if released_ns > start_ns:
            start_ns = released_ns
            held_by = released_by
        if operation_class == OperationClass.WRITE:
            progress[WRITTEN_NS] = max(progress[WRITTEN_NS], start_ns + service_ns)
    annotation.start(annotations[place], start_ns)
    annotation.hold(annotations[place], held_by, start_ns - arrival_ns)
    return start_ns + service_ns


@njit(cache=True)
def complete_all(
    queues: QueueState,
    classes: NDArray[np.int64],
    arrivals_ns: NDArray[np.int64],
    services_ns: NDArray[np.int64],
    ios: NDArray[np.int64],
    charged_bytes: NDArray[np.int64],
    loop_ns: NDArray[np.int64],
    annotations: Annotations,
) -> NDArray[np.int64]:
    """Set the completion times of the next requests; a closed loop also sets their arrivals."""
    completions_ns = np.empty_like(arrivals_ns)
    for request in range(arrivals_ns.size):
        if loop_ns.size:
            arrivals_ns[request] = loop_ns[0]
        completions_ns[request] = complete(
            queues,
            classes[request],
            arrivals_ns[request],
            services_ns[request],
            ios[request],
            charged_bytes[request],
            annotations,
            request,
        )
        if loop_ns.size:
            replace_least(loop_ns, loop_ns.size, completions_ns[request])
    return completions_ns
