# SPDX-License-Identifier: GPL-2.0-or-later
"""A device driven by a trace or a workload, without a guest: guest time is only counted.

Open loop: requests arrive at their recorded times, whatever the device does. Closed loop:
a fixed number of requests is in flight; whenever one completes, the next one is issued at
that instant. Both keep the device's contract and the order of events that a guest sees:
requests that arrive at the nanosecond of an event arrive behind it, all together. Both check
what the device promises.

In a closed loop there may be a host between the application and the device: see
:class:`ClosedLoopHost`.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.annotations.columns import Annotations, new_annotations
from freezingtime.device.base import Device, Pause
from freezingtime.errors import RunError
from freezingtime.request import Operation
from freezingtime.simulate.drive import Drive
from freezingtime.simulate.statistics_sampler import NO_SAMPLES, StatisticsSampler
from freezingtime.trace.readers.columns import IntColumn, Trace, concatenate, queue_depths
from freezingtime.units import MAX_VALUE

Progress: TypeAlias = Callable[[int, int], None]

_OPERATIONS = {operation.value: operation.name.lower() for operation in Operation}

_Row: TypeAlias = tuple[int, int, int, bool]

_PROGRESS_PERIOD = 1 << 14
#: More requests than that at one instant of guest time: it is stuck.
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
        annotations: Annotations,
        /,
        *,
        pause: Pause | None = None,
    ) -> IntColumn:
        """The completion times that :meth:`submit` and :meth:`advance` would give, in ns.

        The initially empty annotations are filled in. ``pause`` is not given to a device without
        statistics.
        """


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
        *,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> tuple[IntColumn, IntColumn]:
        """The arrival and completion times with ``depth`` requests in flight, in ns."""


@dataclass(frozen=True, slots=True)
class ClosedLoopHost:
    """Host between an application that keeps requests in flight and the device."""

    queue_depth: int
    """How many requests the application keeps in flight."""
    device_depth: int | None = None
    """The most that the device is given at once, the others wait in order; None: all."""
    think_ns: int = 0
    """What a request costs the host's only CPU before the application sees it completed."""

    @property
    def is_transparent(self) -> bool:
        """Return whether all requests in flight are at the device."""
        return not self.think_ns and (self.device_depth or self.queue_depth) >= self.queue_depth


@dataclass(frozen=True, slots=True)
class Simulation:
    """Result of a simulation: the requests in order of arrival, and their completions."""

    trace: Trace
    completion_ns: IntColumn
    annotations: Annotations
    """The device's annotation of each request."""
    host_ns: IntColumn | None = None
    """How long they were in the host, before and after the device; None: no time."""
    fault_kinds: NDArray[np.int8] | None = None
    """What a device that fails on purpose did to each request; None: nothing to any."""

    @property
    def service_ns(self) -> IntColumn:
        """From arrival at the device to completion."""
        return self.completion_ns - self.trace.arrival_ns

    @property
    def latency_ns(self) -> IntColumn:
        """Return the application's latencies, in ns: service time and time in the host."""
        return self.service_ns if self.host_ns is None else self.service_ns + self.host_ns

    @property
    def duration_ns(self) -> int:
        """From the first arrival to the last completion; 0 without requests."""
        if not len(self.trace):
            return 0
        return int(self.completion_ns.max() - self.trace.arrival_ns[0])

    def queue_depth(self) -> IntColumn:
        """Return the queue depth at each arrival, the arriving request included."""
        return queue_depths(self.trace.arrival_ns, self.completion_ns)


def _ignore(_done: int, _total: int) -> None:
    pass


def simulate_open_loop(
    device: Device,
    trace: Trace,
    progress: Progress = _ignore,
    sampler: StatisticsSampler = NO_SAMPLES,
) -> Simulation:
    """Submit each request at its arrival time; return when all have completed.

    Uses the device's ``complete_all`` where it has one and no request has FUA, which that
    does not know. ``progress`` gets the requests submitted, and their total. ``sampler`` is that of
    the device.

    Raises:
        RunError: the device broke a promise: lost a request, completed one twice or before
            it arrived, or has events without end at one instant.
    """
    progress(0, len(trace))
    if isinstance(device, CompletesAll) and not trace.fua.any():
        simulation = _complete_all(device, trace, _paused(sampler, progress, len(trace)))
    else:
        simulation = _run_open_loop(Drive(device, sampler), trace, progress)
    progress(len(trace), len(trace))
    return _sampled(simulation, sampler)


def simulate_closed_loop(
    device: Device,
    batches: Iterable[Trace],
    host: ClosedLoopHost | int,
    *,
    count: int | None = None,
    end_ns: int | None = None,
    progress: Progress = _ignore,
    sampler: StatisticsSampler = NO_SAMPLES,
) -> Simulation:
    """Keep requests in flight; return when all have completed.

    ``host`` says how many, and what is between them and the device; a number is a host that
    keeps so many in flight and is nothing else.

    Requests are issued in the order of ``batches``, whose arrival times do not count,
    until they end or at ``end_ns``, when no further one is issued. Uses the device's
    ``complete_closed`` where it has one, the host is transparent, no time ends the loop, and
    no request has FUA.
    ``progress`` gets the requests issued and ``count``, or, without a count, guest time and
    ``end_ns``. ``sampler`` is that of the device.

    Raises:
        RunError: as for :func:`simulate_open_loop`; or guest time does not advance, since
            the device takes no time at all, and only ``end_ns`` would end the loop.
    """
    host = ClosedLoopHost(host) if isinstance(host, int) else host
    if isinstance(device, CompletesClosed) and end_ns is None and host.is_transparent:
        trace = concatenate(list(batches))
        if not trace.fua.any():
            paused = _paused(sampler, progress, len(trace))
            return _sampled(_complete_closed(device, trace, host.queue_depth, paused), sampler)
        batches = [trace]
    drive = Drive(device, sampler)
    return _sampled(_run_closed_loop(drive, batches, host, count, end_ns, progress), sampler)


def _paused(sampler: StatisticsSampler, progress: Progress, total: int) -> dict[str, Pause]:
    """The keyword with which a device works off a trace of so many requests at once."""

    def pause(done_count: int, now_ns: int) -> None:
        sampler.note(now_ns)
        progress(done_count, total)

    return {"pause": pause} if sampler.is_of_use else {}


def _sampled(simulation: Simulation, sampler: StatisticsSampler) -> Simulation:
    if len(simulation.trace):
        sampler.finish(int(simulation.completion_ns.max()))
    return simulation


def _complete_all(device: CompletesAll, trace: Trace, paused: Mapping[str, Pause]) -> Simulation:
    annotations = new_annotations(len(trace))
    completion_ns = device.complete_all(
        trace.arrival_ns,
        trace.operation.astype(np.int64),
        trace.offset_bytes,
        trace.length_bytes,
        annotations,
        **paused,
    )
    return _checked(Simulation(trace, completion_ns, annotations), device)


def _complete_closed(
    device: CompletesClosed, trace: Trace, queue_depth: int, paused: Mapping[str, Pause]
) -> Simulation:
    annotations = new_annotations(len(trace))
    arrival_ns, completion_ns = device.complete_closed(
        queue_depth,
        trace.operation.astype(np.int64),
        trace.offset_bytes,
        trace.length_bytes,
        annotations=annotations,
        **paused,
    )
    arrived = replace(trace, arrival_ns=arrival_ns)
    return _checked(Simulation(arrived, completion_ns, annotations), device)


def _checked(simulation: Simulation, device: object) -> Simulation:
    """The simulation, if it keeps what a device promises."""
    name, count = type(device).__name__, len(simulation.trace)
    if {len(simulation.trace.operation), len(simulation.completion_ns)} != {count}:
        raise RunError(
            f"the device {name} was given {len(simulation.trace.operation)} requests and "
            f"completed {len(simulation.completion_ns)}"
        )
    early = np.flatnonzero(simulation.latency_ns < 0)
    if len(early):
        row = simulation.trace.rows(int(early[0]), int(early[0]) + 1)
        raise RunError(
            f"the device {name} completed the {_OPERATIONS[int(row.operation[0])]} of "
            f"{row.length_bytes[0]} bytes at {row.offset_bytes[0]}, which arrived at "
            f"{row.arrival_ns[0]} ns, at {simulation.completion_ns[early[0]]} ns: early or never"
        )
    return simulation


def _run_open_loop(drive: Drive, trace: Trace, progress: Progress) -> Simulation:
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
    return Simulation(
        trace, drive.completion_ns(), drive.annotations(), fault_kinds=drive.fault_kinds()
    )


def _run_closed_loop(
    drive: Drive,
    batches: Iterable[Trace],
    host: ClosedLoopHost,
    count: int | None,
    end_ns: int | None,
    progress: Progress,
) -> Simulation:
    issued: list[Trace] = []
    application = _Application(_rows(batches, issued), host, end_ns)
    device_depth = host.device_depth or host.queue_depth
    arrival_ns = array("q")
    now_ns, first_of_instant = 0, 0
    while True:
        for row in application.take(now_ns, device_depth - drive.outstanding_count):
            drive.submit(*row, now_ns)
            arrival_ns.append(now_ns)
        next_issue_ns = application.next_issue_ns()
        if not drive.outstanding_count and next_issue_ns is None:
            break
        instant_ns = now_ns
        now_ns, free_count = drive.run_to_completion(next_issue_ns)
        application.complete(now_ns, free_count)
        if now_ns > instant_ns:
            first_of_instant = len(arrival_ns)
        elif count is None and len(arrival_ns) - first_of_instant > _STALL_MAX:
            raise RunError("the device takes no time, so time= never ends the loop; use count=")
        if len(arrival_ns) % _PROGRESS_PERIOD < free_count:
            progress(*((now_ns, end_ns or 0) if count is None else (len(arrival_ns), count)))
    trace = concatenate(issued).rows(0, len(arrival_ns))
    arrived = replace(trace, arrival_ns=np.frombuffer(arrival_ns, dtype=np.int64))
    host_ns = application.host_ns(arrived.arrival_ns, drive.completion_ns())
    completion_ns, annotations = drive.completion_ns(), drive.annotations()
    return Simulation(arrived, completion_ns, annotations, host_ns, drive.fault_kinds())


class _Application:
    """Issues requests through the host, which may hold them back; first come, first served."""

    def __init__(self, rows: Iterator[_Row], host: ClosedLoopHost, end_ns: int | None) -> None:
        self._rows = rows
        self._think_ns = host.think_ns
        self._end_ns = MAX_VALUE if end_ns is None else end_ns
        self._cpu_free_ns = 0
        self._coming_ns = deque([0] * host.queue_depth)
        self._waiting: deque[_Row] = deque()
        self._issue_ns = array("q")
        self._seen_ns = array("q")

    def complete(self, now_ns: int, count: int) -> None:
        """So many requests are completed; each lets another be issued when it is seen."""
        for _ in range(count):
            self._cpu_free_ns = max(self._cpu_free_ns, now_ns) + self._think_ns
            self._coming_ns.append(self._cpu_free_ns)
            self._seen_ns.append(self._cpu_free_ns)

    def next_issue_ns(self) -> int | None:
        """Return the next issue time, or None if that depends on a completion."""
        return self._coming_ns[0] if self._coming_ns else None

    def take(self, now_ns: int, count: int) -> Iterator[_Row]:
        """Up to ``count`` of the requests that have been issued by now."""
        coming_ns = self._coming_ns
        while coming_ns and coming_ns[0] <= now_ns:
            issue_ns = coming_ns.popleft()
            row = next(self._rows, None) if issue_ns < self._end_ns else None
            if row is None:
                coming_ns.clear()
                self._end_ns = 0
                break
            self._issue_ns.append(issue_ns)
            self._waiting.append(row)
        while count > 0 and self._waiting:
            yield self._waiting.popleft()
            count -= 1

    def host_ns(self, arrival_ns: IntColumn, completion_ns: IntColumn) -> IntColumn:
        """Return each request's time in the host, once all have completed."""
        seen_ns = np.empty_like(completion_ns)
        seen_ns[np.argsort(completion_ns, kind="stable")] = np.frombuffer(self._seen_ns, np.int64)
        before_ns = arrival_ns - np.frombuffer(self._issue_ns, np.int64)
        return before_ns + seen_ns - completion_ns


def _rows(batches: Iterable[Trace], taken: list[Trace] | None = None) -> Iterator[_Row]:
    """The requests of batches as Python values; a batch begun is added to ``taken``."""
    for batch in batches:
        if taken is not None:
            taken.append(batch)
        for start in range(0, len(batch), _PROGRESS_PERIOD):
            part = batch.rows(start, start + _PROGRESS_PERIOD)
            columns = (part.operation, part.offset_bytes, part.length_bytes, part.fua)
            yield from zip(*(column.tolist() for column in columns), strict=True)
