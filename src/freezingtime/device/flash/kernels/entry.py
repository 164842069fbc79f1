# SPDX-License-Identifier: GPL-2.0-or-later
"""The entry points: one request or event at a time, or a piece of a trace. Compiled.

They have their signatures given, so that they are compiled when this module is imported (once
per machine, as the result is kept), and not while somebody waits for the first request.
"""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import entry, inner
from freezingtime.device.flash.kernels import channel as channel_kernels
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels import request as request_kernels
from freezingtime.device.flash.kernels.advance import run_trace, run_until
from freezingtime.device.flash.layout import NONE, EventKind, ReadPhase
from freezingtime.units import NEVER_NS


@entry("int64(int64, int64, int64, int64, int64, int64, boolean, int64, int64)")
def step(
    ssd: int,
    now_ns: int,
    tag: int,
    operation: int,
    offset_bytes: int,
    length_bytes: int,
    fua: bool,
    arrival_ns: int,
    trace: int,
) -> int:
    """Bring the SSD to ``now_ns``, and give it a request then if ``tag`` is not NONE.

    The request may have arrived before, when the SSD had all that it takes. Returns how many
    requests are done (``done``). If there is a ``trace``, all that counts is what
    :func:`~freezingtime.device.flash.kernels.advance.run_trace` does with it. One function for all,
    since each entry point is compiled with all that it calls.
    """
    if trace:
        return run_trace(ssd, trace)
    run_until(ssd, now_ns)
    if tag != NONE:
        request_kernels.submit(
            ssd, tag, operation, offset_bytes, length_bytes, fua, arrival_ns, now_ns
        )
    return int(memory.queue(ssd).done)


@inner
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


@inner
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


@entry("int64(int64)")
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
