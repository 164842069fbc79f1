# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces as arrays: what the models share that take whole traces.

An open-loop trace is four arrays of 64-bit integers, one element per request in order of
arrival: arrival time in ns, operation (:class:`~freezingtime.request.Operation` values),
offset and length in bytes. In a closed loop the arrival times are the device's doing: a fixed
number of requests is in flight, and whenever one completes, the next one arrives. So the next
arrival is the least of as many times as there are places: a heap of them is all that it takes.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freezingtime.annotation import EMPTY_ANNOTATION, Annotation
from freezingtime.device import compile_cache
from freezingtime.device.annotations.columns import Annotations, new_annotations
from freezingtime.device.base import Pause, TimedDevice, pieces
from freezingtime.request import Operation

#: The longest request: 8 GiB. NBD's lengths have 32 bits.
MAX_LENGTH_BYTES = 2**33

#: Where the models are whose kernels call one another.
_ROOMS = ("latency", "volume", "empirical")


class OperationClass(IntEnum):
    """The operations that models tell apart, numbered without gaps."""

    READ = 0
    WRITE = 1
    FLUSH = 2
    DISCARD = 3


#: Writing zeros counts as a write.
CLASS_OF_OPERATION = {
    Operation.READ: OperationClass.READ,
    Operation.WRITE: OperationClass.WRITE,
    Operation.FLUSH: OperationClass.FLUSH,
    Operation.DISCARD: OperationClass.DISCARD,
    Operation.WRITE_ZEROES: OperationClass.WRITE,
}

_UNKNOWN = -1
_CLASS_BY_VALUE = np.array(
    [CLASS_OF_OPERATION.get(value, _UNKNOWN) for value in range(max(Operation) + 1)],  # type: ignore[call-overload]
    dtype=np.int64,
)


class DeviceTrace(NamedTuple):
    """A trace, checked; ``classes`` holds :class:`OperationClass` values."""

    arrivals_ns: NDArray[np.int64]
    classes: NDArray[np.int64]
    offsets_bytes: NDArray[np.int64]
    lengths_bytes: NDArray[np.int64]
    loop_ns: NDArray[np.int64]
    """Of a closed loop, when each place is free, a heap; the device then writes
    ``arrivals_ns``. Empty for an open loop."""
    annotations: Annotations
    """Where the device may say more of each request; it says nothing yet."""

    def rows(self, first: int, end: int) -> DeviceTrace:
        """Return a piece of it, whose arrays are parts of these."""
        rows = slice(first, end)
        return DeviceTrace(
            *(self.arrivals_ns[rows], self.classes[rows], self.offsets_bytes[rows]),
            *(self.lengths_bytes[rows], self.loop_ns, self.annotations[rows]),
        )


def check_trace(
    arrivals_ns: ArrayLike,
    operations: ArrayLike,
    offsets_bytes: ArrayLike,
    lengths_bytes: ArrayLike,
    annotations: Annotations | None = None,
) -> DeviceTrace:
    """The trace with its operations sorted into classes.

    ``annotations`` say nothing yet, one for each request; None: nobody wants them.

    Raises ValueError where the arrays differ in length, an arrival is before the one before
    it, an operation does not exist, or a length is not from 0 to 8 GiB.
    """
    columns = [
        np.ascontiguousarray(column, dtype=np.int64)
        for column in (arrivals_ns, operations, offsets_bytes, lengths_bytes)
    ]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise ValueError("the arrays of a trace must have one dimension and the same length")
    arrivals, values, offsets, lengths = columns
    if np.any(np.diff(arrivals) < 0):
        raise ValueError("arrival times must not decrease")
    if np.any((values < 0) | (values >= _CLASS_BY_VALUE.size)):
        raise ValueError(f"operations must be from 0 to {_CLASS_BY_VALUE.size - 1}")
    classes = _CLASS_BY_VALUE[values]
    if np.any(classes == _UNKNOWN):
        raise ValueError(f"operations must be one of {[int(operation) for operation in Operation]}")
    if np.any((lengths < 0) | (lengths > MAX_LENGTH_BYTES)):
        raise ValueError(f"lengths must be from 0 to {MAX_LENGTH_BYTES} bytes")
    if annotations is None:
        annotations = new_annotations(arrivals.size)
    return DeviceTrace(arrivals, classes, offsets, lengths, np.empty(0, np.int64), annotations)


class OneAnnotation:
    """The annotation of one request at a time, where kernels write it."""

    def __init__(self) -> None:
        self.records: Annotations = new_annotations(1)

    def take(self) -> Annotation:
        """Take the annotation, which leaves none."""
        annotation = Annotation._make(self.records[0].item())
        self.records[0] = EMPTY_ANNOTATION
        return annotation


class TraceDevice(TimedDevice):
    """A :class:`TimedDevice` that takes whole traces: write :meth:`complete_trace` as well."""

    def __init__(self) -> None:
        super().__init__()
        # The kernels call each other over files.
        compile_cache.forget_stale(*(Path(__file__).parent / room for room in _ROOMS))

    @abstractmethod
    def complete_trace(self, trace: DeviceTrace) -> NDArray[np.int64]:
        """Return what :meth:`completion_ns` would for the requests of ``trace``, in order."""

    def complete_all(
        self,
        arrivals_ns: ArrayLike,
        operations: ArrayLike,
        offsets_bytes: ArrayLike,
        lengths_bytes: ArrayLike,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> NDArray[np.int64]:
        """The completion time of each request of an open-loop trace.

        ``annotations`` get what the device says of each, if they are given; ``pause`` is called
        now and then.

        Exactly what :meth:`submit` would give them, and like it goes on from where the last
        call left the device: a trace may come in pieces. Raises ValueError for a trace that
        :func:`check_trace` refuses.
        """
        return self._complete_pieces(
            check_trace(arrivals_ns, operations, offsets_bytes, lengths_bytes, annotations), pause
        )

    def complete_closed(
        self,
        depth: int,
        operations: ArrayLike,
        offsets_bytes: ArrayLike,
        lengths_bytes: ArrayLike,
        start_ns: int = 0,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Arrival and completion times of a closed loop with ``depth`` (1 or more) in flight.

        Exactly what :meth:`submit` would give the requests if each arrived when one before it
        completes. Raises ValueError for a depth of 0, or what :func:`check_trace` refuses.
        """
        if depth < 1:
            raise ValueError(f"queue depth is {depth}; must be 1 or more")
        arrivals_ns = np.full(np.shape(operations), start_ns, np.int64)
        trace = check_trace(arrivals_ns, operations, offsets_bytes, lengths_bytes, annotations)
        places = min(depth, max(1, arrivals_ns.size))
        trace = trace._replace(loop_ns=np.full(places, start_ns, np.int64))
        return arrivals_ns, self._complete_pieces(trace, pause)

    def _complete_pieces(self, trace: DeviceTrace, pause: Pause | None) -> NDArray[np.int64]:
        completions_ns = np.empty_like(trace.arrivals_ns)
        for first, end in pieces(completions_ns.size, pause):
            completions_ns[first:end] = self.complete_trace(trace.rows(first, end))
            if pause is not None and end < completions_ns.size:
                pause(end, int(trace.arrivals_ns[end - 1]))
        return completions_ns
