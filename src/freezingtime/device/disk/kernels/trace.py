# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole traces through a drive in one compiled call: open loop and closed loop."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.annotations.columns import Annotations
from freezingtime.device.disk.kernels.entry import admit, advance, next_event_ns
from freezingtime.device.disk.state import DiskState

#: How far a trace is: the requests that have arrived, been admitted and completed; when the last
#: one arrived, when the drive has next something to do, and guest time, in ns.
_ARRIVED, _ADMITTED, _COMPLETED, _ARRIVED_NS, _EVENT_NS, NOW_NS, _PLACES = range(7)


@njit(cache=True)
def _note_done(
    tags: NDArray[np.int64],
    now_ns: int,
    done: Annotations,
    completions_ns: NDArray[np.int64],
    annotations: Annotations,
) -> None:
    """Requests have completed, of which ``done`` says more; ``annotations`` may be empty."""
    for place in range(len(tags)):
        completions_ns[tags[place]] = now_ns
        if annotations.size:
            annotation.copy(done[place], annotations[tags[place]])


@njit(cache=True)
def _admit(
    disk: DiskState,
    index: int,
    operations: NDArray[np.int64],
    lbas: NDArray[np.int64],
    sectors: NDArray[np.int64],
    arrivals_ns: NDArray[np.int64],
    now_ns: int,
) -> int:
    """A trace's request enters the queue; returns when the drive has next something to do."""
    return admit(
        disk,
        index,
        operations[index],
        lbas[index],
        sectors[index],
        False,
        arrivals_ns[index],
        now_ns,
    )


@njit(cache=True)
def begin(disk: DiskState, start_ns: int) -> NDArray[np.int64]:
    """Return how far a trace is that begins: what :func:`run_open` or :func:`run_closed` takes."""
    progress = np.zeros(_PLACES, np.int64)
    progress[NOW_NS] = start_ns
    progress[_ARRIVED_NS] = -1
    progress[_EVENT_NS] = next_event_ns(disk)
    return progress


@njit(cache=True)
def run_open(
    disk: DiskState,
    progress: NDArray[np.int64],
    end: int,
    arrivals_ns: NDArray[np.int64],
    operations: NDArray[np.int64],
    lbas: NDArray[np.int64],
    sectors: NDArray[np.int64],
    completions_ns: NDArray[np.int64],
    annotations: Annotations,
    done: Annotations,
) -> None:
    """Each request comes at its own time; those beyond the queue wait in order of arrival.

    Runs until ``end`` requests are completed; ``progress`` is that of :func:`begin`, and goes on
    from one call to the next. ``annotations`` has a place for each, or none if nobody wants them;
    ``done`` is for use here.

    Requests that arrive at the time of an event come behind it, all together.
    """
    total = len(arrivals_ns)
    tags = np.empty(len(disk.slots), np.int64)
    arrived, admitted, completed = progress[_ARRIVED], progress[_ADMITTED], progress[_COMPLETED]
    arrived_ns, event_ns, now_ns = progress[_ARRIVED_NS], progress[_EVENT_NS], progress[NOW_NS]
    while completed < end:
        if arrived < total and (
            arrivals_ns[arrived] < event_ns or arrivals_ns[arrived] == arrived_ns
        ):
            now_ns = arrived_ns = arrivals_ns[arrived]
            arrived += 1
        else:
            now_ns = event_ns
            count, event_ns = advance(disk, now_ns, tags, done)
            _note_done(tags[:count], now_ns, done, completions_ns, annotations)
            completed += count
        while admitted < arrived and admitted - completed < len(disk.slots):
            admitted_ns = _admit(disk, admitted, operations, lbas, sectors, arrivals_ns, now_ns)
            event_ns = min(event_ns, admitted_ns)
            admitted += 1
    progress[_ARRIVED], progress[_ADMITTED], progress[_COMPLETED] = arrived, admitted, completed
    progress[_ARRIVED_NS], progress[_EVENT_NS], progress[NOW_NS] = arrived_ns, event_ns, now_ns


@njit(cache=True)
def run_closed(
    disk: DiskState,
    progress: NDArray[np.int64],
    end: int,
    depth: int,
    operations: NDArray[np.int64],
    lbas: NDArray[np.int64],
    sectors: NDArray[np.int64],
    arrivals_ns: NDArray[np.int64],
    completions_ns: NDArray[np.int64],
    annotations: Annotations,
    done: Annotations,
) -> None:
    """``depth`` requests are kept in flight: each completion brings the next arrival.

    Runs until ``end`` requests are completed, as :func:`run_open` does.
    """
    total = len(operations)
    tags = np.empty(len(disk.slots), np.int64)
    arrived, admitted, completed = progress[_ARRIVED], progress[_ADMITTED], progress[_COMPLETED]
    event_ns, now_ns = progress[_EVENT_NS], progress[NOW_NS]
    while completed < end:
        while arrived < total and arrived - completed < depth:
            arrivals_ns[arrived] = now_ns
            arrived += 1
        while admitted < arrived and admitted - completed < len(disk.slots):
            admitted_ns = _admit(disk, admitted, operations, lbas, sectors, arrivals_ns, now_ns)
            event_ns = min(event_ns, admitted_ns)
            admitted += 1
        now_ns = event_ns
        count, event_ns = advance(disk, now_ns, tags, done)
        _note_done(tags[:count], now_ns, done, completions_ns, annotations)
        completed += count
    progress[_ARRIVED], progress[_ADMITTED], progress[_COMPLETED] = arrived, admitted, completed
    progress[_EVENT_NS], progress[NOW_NS] = event_ns, now_ns
