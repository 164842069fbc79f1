# SPDX-License-Identifier: GPL-2.0-or-later
"""Events in order of time, those of the same time in order of their making. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.units import NEVER_NS


@inner
def next_time_ns(ssd: int) -> int:
    """Return the time of the next event; NEVER_NS if there is none."""
    if memory.queue(ssd).events == 0:
        return NEVER_NS
    return int(memory.events(ssd)[0].time_ns)


@inner
def push(ssd: int, time_ns: int, kind: int, target: int, generation: int) -> None:
    """Let something happen at a time that is not past."""
    queue = memory.queue(ssd)
    events = memory.events(ssd)
    place = queue.events
    queue.events += 1
    queue.order += 1
    while place > 0:  # the newest goes before its parent only if it is earlier
        parent = (place - 1) >> 1
        if events[parent].time_ns <= time_ns:
            break
        _copy(ssd, parent, place)
        place = parent
    event = events[place]
    event.time_ns = time_ns
    event.order = queue.order
    event.kind = kind
    event.target = target
    event.generation = generation


@inner
def pop(ssd: int) -> tuple[int, int, int, int]:
    """Take the next event out: its time, kind, target and generation."""
    queue = memory.queue(ssd)
    events = memory.events(ssd)
    first = events[0]
    popped = (first.time_ns, first.kind, first.target, first.generation)
    queue.events -= 1
    last = queue.events
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        if child + 1 < last and _before(ssd, child + 1, child):
            child += 1
        if not _before(ssd, child, last):
            break
        _copy(ssd, child, place)
        place = child
    _copy(ssd, last, place)
    return popped


@inner
def _before(ssd: int, one: int, other: int) -> bool:
    events = memory.events(ssd)
    first = events[one]
    second = events[other]
    if first.time_ns != second.time_ns:
        return bool(first.time_ns < second.time_ns)
    return bool(first.order < second.order)


@inner
def _copy(ssd: int, source: int, target: int) -> None:
    events = memory.events(ssd)
    origin = events[source]
    copy = events[target]
    copy.time_ns = origin.time_ns
    copy.order = origin.order
    copy.kind = origin.kind
    copy.target = origin.target
    copy.generation = origin.generation
