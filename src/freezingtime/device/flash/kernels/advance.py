# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest time goes on: events happen one after the other, for whole traces, too. Compiled.

A trace goes exactly as one request or event at a time would. In a closed loop arrival times are
the SSD's doing: a number of requests is in flight, and whenever one completes, the next one
arrives. So the request that arrives with a completion is known when that completes, and when it
arrives is written into the trace then.
"""

from __future__ import annotations

from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import completion as completion_kernels
from freezingtime.device.flash.kernels import event as event_kernels
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels import read as read_kernels
from freezingtime.device.flash.kernels import reader as reader_kernels
from freezingtime.device.flash.kernels import request as request_kernels
from freezingtime.device.flash.kernels import server as server_kernels
from freezingtime.device.flash.kernels import write as write_kernels
from freezingtime.device.flash.kernels.ftl import idle as idle_kernels
from freezingtime.device.flash.layout import NONE, EventKind, ServerPhase


@inner
def run_one(ssd: int) -> None:
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


@inner
def run_until(ssd: int, now_ns: int) -> None:
    """Let all happen that is due by a time."""
    while event_kernels.next_time_ns(ssd) <= now_ns:
        run_one(ssd)
    memory.queue(ssd).now_ns = now_ns


@inner
def run_trace(ssd: int, trace_address: int) -> int:
    """Take in a piece of a trace, and complete what is then due; all, with the last piece.

    Ends at a request that is refused. The pieces of a trace (:data:`.layout.TRACE`) come in
    order, one behind the other, each with all of the columns. Returns how many requests of the
    trace were taken in.
    """
    queue = memory.queue(ssd)
    trace = memory.trace(trace_address)
    size = trace.size
    arrivals_ns = memory.column(trace.arrivals_ns, size)
    operations = memory.column(trace.operations, size)
    offsets_bytes = memory.column(trace.offsets_bytes, size)
    lengths_bytes = memory.column(trace.lengths_bytes, size)
    for tag in range(trace.first, trace.end):
        while trace.depth and tag >= trace.depth + trace.completed:  # it has not arrived
            run_one(ssd)
            _collect_done(ssd, trace_address)
        run_until(ssd, max(arrivals_ns[tag], queue.now_ns))
        while queue.free_request == NONE:
            run_one(ssd)
            run_until(ssd, queue.now_ns)  # a place is taken behind all that goes on at that time
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
        if queue.done:
            _collect_done(ssd, trace_address)
    while trace.end == size and queue.outstanding:
        run_one(ssd)
        _collect_done(ssd, trace_address)
    if trace.end == size and trace.depth:
        run_until(ssd, queue.now_ns)
    return int(trace.end)


@inner
def _collect_done(ssd: int, trace_address: int) -> None:
    """Note the requests that are done; in a closed loop, as many arrive."""
    queue = memory.queue(ssd)
    trace = memory.trace(trace_address)
    requests_done = memory.done(ssd)
    completions_ns = memory.column(trace.completions_ns, trace.size)
    arrivals_ns = memory.column(trace.arrivals_ns, trace.size)
    annotations = memory.annotation_column(trace.annotations, trace.size)
    for place in range(queue.done):
        done = requests_done[place]
        completions_ns[done.tag] = done.time_ns
        if trace.annotations:
            annotation.copy(done.annotation, annotations[done.tag])
        arriving = trace.depth + trace.completed
        if trace.depth and arriving < trace.size:
            arrivals_ns[arriving] = done.time_ns
        trace.completed += 1
    queue.done = 0
