"""A device driven by a trace or a workload, without a guest: guest time is only counted.

Open loop: requests arrive at their recorded times, whatever the device does. Closed loop:
a fixed number of requests is in flight; whenever one completes, the next one is issued at
that instant. Both keep the device's contract and the order of events that a guest sees:
requests that arrive at the nanosecond of an event arrive behind it, all together. Both check
what the device promises.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from freezingtime.device.base import Device
from freezingtime.errors import RunError
from freezingtime.request import Operation, Request
from freezingtime.trace.readers.columns import IntColumn, Trace, concatenate

Progress: TypeAlias = Callable[[int, int], None]

_Row: TypeAlias = tuple[int, int, int, bool]

_OPERATIONS = {operation.value: operation for operation in Operation}
_OUTSTANDING = -1
_PROGRESS_PERIOD = 1 << 14
# More events or requests than that at one instant of guest time: it does not go on.
_STALL_MAX = 1_000_000


@runtime_checkable
class CompletesAll(Protocol):
    """A device that can work off an open-loop trace at once, faster than event by event."""

    def complete_all(
        self,
        arrivals_ns: IntColumn,
        operations: IntColumn,
        offsets_bytes: IntColumn,
        lengths_bytes: IntColumn,
        /,
    ) -> IntColumn:
        """The completion times that :meth:`submit` and :meth:`advance` would give, in ns."""


@runtime_checkable
class CompletesClosed(Protocol):
    """A device that can work off a closed loop at once."""

    def complete_closed(
        self,
        depth: int,
        operations: IntColumn,
        offsets_bytes: IntColumn,
        lengths_bytes: IntColumn,
        /,
    ) -> tuple[IntColumn, IntColumn]:
        """The arrival and completion times with ``depth`` requests in flight, in ns."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What became of the requests: ``trace`` as they arrived, and their completions."""

    trace: Trace
    completion_ns: IntColumn

    @property
    def latency_ns(self) -> IntColumn:
        """From arrival to completion."""
        return self.completion_ns - self.trace.arrival_ns

    @property
    def duration_ns(self) -> int:
        """From the first arrival to the last completion; 0 without requests."""
        if not len(self.trace):
            return 0
        return int(self.completion_ns.max() - self.trace.arrival_ns[0])

    def queue_depth(self) -> IntColumn:
        """How many requests the device had when each arrived, itself included.

        One that completes at the very nanosecond of an arrival is no longer counted.
        """
        gone = np.searchsorted(np.sort(self.completion_ns), self.trace.arrival_ns, side="right")
        # Without a latency a request, and those behind it, go at the instant of its arrival.
        depth: IntColumn = np.maximum(np.arange(1, len(gone) + 1) - gone, 1)
        return depth


def _ignore(_done: int, _total: int) -> None:
    pass


def simulate_open_loop(device: Device, trace: Trace, progress: Progress = _ignore) -> Simulation:
    """Submit each request at its arrival time; return when all have completed.

    Uses the device's ``complete_all`` where it has one and no request has FUA, which that
    does not know. ``progress`` is told requests submitted and in all.

    Raises:
        RunError: the device broke a promise: lost a request, completed one twice or before
            it arrived, or has events without end at one instant.
    """
    progress(0, len(trace))
    if isinstance(device, CompletesAll) and not trace.fua.any():
        completion_ns = _complete_all(device, trace)
    else:
        completion_ns = _run_open_loop(_Drive(device), trace, progress)
    progress(len(trace), len(trace))
    return Simulation(trace, completion_ns)


def simulate_closed_loop(
    device: Device,
    batches: Iterable[Trace],
    queue_depth: int,
    *,
    count: int | None = None,
    end_ns: int | None = None,
    progress: Progress = _ignore,
) -> Simulation:
    """Keep ``queue_depth`` requests in flight; return when all have completed.

    Requests are issued in the order of ``batches``, whose arrival times do not count,
    until they end or at ``end_ns``, when no further one is issued. Uses the device's
    ``complete_closed`` where it has one, no time ends the loop, and no request has FUA.
    ``progress`` is told requests issued and ``count``, or, without a count, guest time and
    ``end_ns``.

    Raises:
        RunError: as for :func:`simulate_open_loop`; or guest time does not go on, since
            the device takes no time at all, and only ``end_ns`` would end the loop.
    """
    if isinstance(device, CompletesClosed) and end_ns is None:
        trace = concatenate(list(batches))
        if not trace.fua.any():
            return _complete_closed(device, trace, queue_depth)
        batches = [trace]
    return _run_closed_loop(_Drive(device), batches, queue_depth, count, end_ns, progress)


def _complete_all(device: CompletesAll, trace: Trace) -> IntColumn:
    completion_ns = device.complete_all(
        trace.arrival_ns,
        trace.operation.astype(np.int64),
        trace.offset_bytes,
        trace.length_bytes,
    )
    return _checked(Simulation(trace, completion_ns), device).completion_ns


def _complete_closed(device: CompletesClosed, trace: Trace, queue_depth: int) -> Simulation:
    arrival_ns, completion_ns = device.complete_closed(
        queue_depth, trace.operation.astype(np.int64), trace.offset_bytes, trace.length_bytes
    )
    return _checked(Simulation(replace(trace, arrival_ns=arrival_ns), completion_ns), device)


def _checked(simulation: Simulation, device: object) -> Simulation:
    """The simulation, if it keeps what a device promises."""
    counts = {len(simulation.trace), len(simulation.trace.operation), len(simulation.completion_ns)}
    if len(counts) > 1 or np.any(simulation.latency_ns < 0):
        raise RunError(f"the device {type(device).__name__} completed a request early or never")
    return simulation


def _run_open_loop(drive: _Drive, trace: Trace, progress: Progress) -> IntColumn:
    submitted_ns = -1
    for start in range(0, len(trace), _PROGRESS_PERIOD):
        part = trace.rows(start, start + _PROGRESS_PERIOD)
        for arrival_ns, row in zip(part.arrival_ns.tolist(), _rows([part]), strict=True):
            if arrival_ns > submitted_ns:
                drive.run_until(arrival_ns)
                submitted_ns = arrival_ns
            drive.submit(*row, arrival_ns)
        progress(start + len(part), len(trace))
    while drive.outstanding_count:
        drive.run_to_completion()
    return drive.completion_ns()


def _run_closed_loop(
    drive: _Drive,
    batches: Iterable[Trace],
    queue_depth: int,
    count: int | None,
    end_ns: int | None,
    progress: Progress,
) -> Simulation:
    issued: list[Trace] = []
    rows = _rows(batches, issued)
    issue_ns = array("q")
    now_ns, free_count, first_of_instant = 0, queue_depth, 0
    while True:
        if end_ns is None or now_ns < end_ns:
            for row in islice(rows, free_count):
                drive.submit(*row, now_ns)
                issue_ns.append(now_ns)
        if not drive.outstanding_count:
            break
        instant_ns = now_ns
        now_ns, free_count = drive.run_to_completion()
        if now_ns > instant_ns:
            first_of_instant = len(issue_ns)
        elif count is None and len(issue_ns) - first_of_instant > _STALL_MAX:
            raise RunError("the device takes no time, so that no time ends the loop; use count=")
        if len(issue_ns) % _PROGRESS_PERIOD < free_count:
            progress(*((now_ns, end_ns or 0) if count is None else (len(issue_ns), count)))
    trace = concatenate(issued).rows(0, len(issue_ns))
    arrival_ns = np.frombuffer(issue_ns, dtype=np.int64)
    return Simulation(replace(trace, arrival_ns=arrival_ns), drive.completion_ns())


def _rows(batches: Iterable[Trace], taken: list[Trace] | None = None) -> Iterator[_Row]:
    """The requests of batches as Python values; a batch begun is added to ``taken``."""
    for batch in batches:
        if taken is not None:
            taken.append(batch)
        for start in range(0, len(batch), _PROGRESS_PERIOD):
            part = batch.rows(start, start + _PROGRESS_PERIOD)
            columns = (part.operation, part.offset_bytes, part.length_bytes, part.fua)
            yield from zip(*(column.tolist() for column in columns), strict=True)


class _Drive:
    """One device and its requests in flight; checks what the device promises."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._completion_ns = array("q")
        self._now_ns = 0
        self._fruitless_count = 0
        self.outstanding_count = 0

    def submit(
        self, operation: int, offset_bytes: int, length_bytes: int, fua: bool, now_ns: int
    ) -> None:
        """Submit the next request; its cookie is its index."""
        index = len(self._completion_ns)
        request = Request(_OPERATIONS[operation], offset_bytes, length_bytes, None, fua, index)
        self._completion_ns.append(_OUTSTANDING)
        self.outstanding_count += 1
        self._now_ns = now_ns
        self._device.submit(request, now_ns)

    def run_until(self, time_ns: int) -> None:
        """Run the device's events up to a time."""
        next_event_ns = self._device.next_event_ns
        while (event_ns := next_event_ns()) is not None and event_ns <= time_ns:
            self._advance(event_ns)

    def run_to_completion(self) -> tuple[int, int]:
        """Run the device until requests complete; return the time and how many did."""
        next_event_ns = self._device.next_event_ns
        completed_count = 0
        while not completed_count:
            event_ns = next_event_ns()
            if event_ns is None:
                raise self._broken(f"lost {self.outstanding_count} requests: it has no next event")
            completed_count = self._advance(event_ns)
        while (event_ns := next_event_ns()) is not None and event_ns <= self._now_ns:
            completed_count += self._advance(event_ns)
        return self._now_ns, completed_count

    def completion_ns(self) -> IntColumn:
        """The completion times in the order of submission."""
        return np.frombuffer(self._completion_ns, dtype=np.int64)

    def _advance(self, event_ns: int) -> int:
        """Bring the device to an event; return how many requests completed."""
        now_ns = max(event_ns, self._now_ns)
        completed = self._device.advance(now_ns)
        if completed or now_ns > self._now_ns:
            self._fruitless_count = 0
        elif (count := self._fruitless_count + 1) > _STALL_MAX:
            raise self._broken(f"has had {count} events at {now_ns} ns that completed nothing")
        else:
            self._fruitless_count = count
        self._now_ns = now_ns
        for request in completed:
            if self._completion_ns[request.cookie] != _OUTSTANDING:
                raise self._broken(f"completed request {request.cookie} twice, at {now_ns} ns")
            self._completion_ns[request.cookie] = now_ns
        self.outstanding_count -= len(completed)
        return len(completed)

    def _broken(self, promise: str) -> RunError:
        return RunError(f"the device {type(self._device).__name__} {promise}")
