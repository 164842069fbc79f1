# SPDX-License-Identifier: GPL-2.0-or-later
"""The entry points: one request or event at a time, and whole traces. Compiled.

What a guest needs has its signature given, so that it is compiled when this module is imported
(once per machine, as the result is kept), and not while somebody waits for the first request.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.annotations.columns import Annotations
from freezingtime.device.flash.kernels import channel as channel_kernels
from freezingtime.device.flash.kernels import completion as completion_kernels
from freezingtime.device.flash.kernels import event as event_kernels
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels import read as read_kernels
from freezingtime.device.flash.kernels import reader as reader_kernels
from freezingtime.device.flash.kernels import request as request_kernels
from freezingtime.device.flash.kernels import server as server_kernels
from freezingtime.device.flash.kernels import write as write_kernels
from freezingtime.device.flash.kernels.ftl import idle as idle_kernels
from freezingtime.device.flash.layout import NONE, EventKind, ReadPhase, ServerPhase
from freezingtime.units import NEVER_NS


@njit()
def _run_one(ssd: int) -> None:
    """Let the next event happen; there must be one."""
    time_ns, kind, target, generation = event_kernels.pop(ssd)
    memory.queue(ssd).now_ns = time_ns
    if kind == EventKind.SERVER:
        server = memory.servers(ssd)[target]
        if server.generation == generation:
            command_id = server_kernels.end_phase(ssd, target, time_ns)
            if command_id != NONE:
                request_kernels.command_done(ssd, command_id, time_ns)
            if server.phase == ServerPhase.DECIDING:
                server_kernels.start_next(ssd, target, time_ns)
    elif kind == EventKind.READER:
        command_id = reader_kernels.end_read_phase(ssd, target, time_ns)
        if command_id != NONE:
            request_kernels.command_done(ssd, command_id, time_ns)
            server_kernels.read_ended(ssd, target, time_ns)
    elif kind == EventKind.DISPATCH:
        request_kernels.dispatch(ssd, target, time_ns)
    elif kind == EventKind.ADMISSION:
        write_kernels.admit_piece(ssd, time_ns)
        read_kernels.resume_reads(ssd, time_ns)
    elif kind == EventKind.IDLE:
        idle_kernels.work_if_idle(ssd, target, time_ns)
    else:
        completion_kernels.complete(ssd, target, time_ns)
    request_kernels.resume_commands(ssd, time_ns)


@njit()
def _run_until(ssd: int, now_ns: int) -> None:
    while event_kernels.next_time_ns(ssd) <= now_ns:
        _run_one(ssd)
    memory.queue(ssd).now_ns = now_ns


@njit()
def _collect_done(ssd: int, completions_ns: NDArray[np.int64], annotations: Annotations) -> None:
    queue = memory.queue(ssd)
    requests_done = memory.done(ssd)
    for place in range(queue.done):
        done = requests_done[place]
        completions_ns[done.tag] = done.time_ns
        if annotations.size:
            annotation.copy(done.annotation, annotations[done.tag])
    queue.done = 0


@njit("int64(int64, int64, int64, int64, int64, int64, boolean, int64)", cache=True)
def step(
    ssd: int,
    now_ns: int,
    tag: int,
    operation: int,
    offset_bytes: int,
    length_bytes: int,
    fua: bool,
    arrival_ns: int,
) -> int:
    """Bring the SSD to ``now_ns``, and give it a request then if ``tag`` is not NONE.

    The request may have arrived before, when the SSD had all that it takes. Returns how many
    requests are done (``done``). One function for both, since each entry point is compiled with
    all that it calls.
    """
    _run_until(ssd, now_ns)
    if tag != NONE:
        request_kernels.submit(
            ssd, tag, operation, offset_bytes, length_bytes, fua, arrival_ns, now_ns
        )
    return int(memory.queue(ssd).done)


@njit(cache=True)
def complete_all(
    ssd: int,
    first: int,
    end: int,
    arrivals_ns: NDArray[np.int64],
    operations: NDArray[np.int64],
    offsets_bytes: NDArray[np.int64],
    lengths_bytes: NDArray[np.int64],
    completions_ns: NDArray[np.int64],
    annotations: Annotations,
) -> int:
    """Take in a piece of an open-loop trace, and complete what is then due; all, with the last one.

    Ends at a request that is refused. The pieces of a trace come in order, one behind the other,
    each with all of the arrays. ``annotations`` may be empty, if nobody wants them. Returns how
    many requests of the trace were taken in.
    """
    queue = memory.queue(ssd)
    for tag in range(first, end):
        arrival_ns = max(arrivals_ns[tag], queue.now_ns)
        _run_until(ssd, arrival_ns)
        while queue.free_request == NONE:
            _run_one(ssd)
            _run_until(ssd, queue.now_ns)  # a place is taken behind all that goes on at that time
        if not request_kernels.submit(
            ssd,
            tag,
            operations[tag],
            offsets_bytes[tag],
            lengths_bytes[tag],
            False,
            arrivals_ns[tag],
            queue.now_ns,
        ):
            return tag
        _collect_done(ssd, completions_ns, annotations)
    while end == arrivals_ns.size and queue.outstanding:
        _run_one(ssd)
        _collect_done(ssd, completions_ns, annotations)
    return end


@njit()
def _completion_due_ns(ssd: int, place: int) -> int:
    """The earliest time at which a request can complete because of an event, or NEVER_NS."""
    event = memory.events(ssd)[place]
    if event.kind == EventKind.IDLE:
        return NEVER_NS
    queue = memory.queue(ssd)
    if event.kind not in (EventKind.SERVER, EventKind.READER) or queue.read_wait_head != NONE:
        return int(event.time_ns)
    if queue.through or queue.write_head != NONE or queue.epoch_done < queue.epoch:
        return int(event.time_ns)  # a program may end at once, whose end something waits for
    if event.kind == EventKind.READER:
        return int(event.time_ns + _least_read_ns(ssd, event.target))
    server = memory.servers(ssd)[event.target]
    if server.generation != event.generation or not server.reads_waiting:
        return NEVER_NS
    return int(event.time_ns + memory.config(ssd).read_command_ns)


@njit()
def _least_read_ns(ssd: int, reader_id: int) -> int:
    """Return the least time from the end of a reader's phase to the completion of its read."""
    config = memory.config(ssd)
    reader = memory.readers(ssd)[reader_id]
    command = memory.commands(ssd)[reader.read]
    delay_ns = config.read_overhead_ns
    if command.request != NONE:
        delay_ns += channel_kernels.transfer_ns(command.bytes, config.link_bytes_per_s)
    if reader.phase == ReadPhase.SENSE:
        delay_ns += config.transfer_setup_ns
        delay_ns += channel_kernels.transfer_ns(command.bytes, config.channel_bytes_per_s)
    if memory.servers(ssd)[reader.server].reads_waiting:  # a shorter one may come next
        delay_ns = min(delay_ns, config.read_command_ns)
    return int(delay_ns)


@njit("int64(int64)", cache=True)
def next_event_ns(ssd: int) -> int:
    """The earliest time at which a request can complete; NEVER_NS if none is there.

    A lower bound: what happens inside and cannot complete a request is passed over, so that
    who waits is not woken for nothing.
    """
    queue = memory.queue(ssd)
    if queue.done:
        return int(queue.now_ns)
    if queue.outstanding == 0:
        return NEVER_NS
    earliest_ns = NEVER_NS
    events = memory.events(ssd)
    for place in range(queue.events):
        event = events[place]
        if event.time_ns < earliest_ns:
            earliest_ns = min(earliest_ns, _completion_due_ns(ssd, place))
    return earliest_ns
