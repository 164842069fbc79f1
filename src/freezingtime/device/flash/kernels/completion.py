# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion of requests: their parts, the link to the host, the buffer memory. Compiled."""

from __future__ import annotations

from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.channel import transfer_ns
from freezingtime.device.flash.kernels.event import push
from freezingtime.device.flash.layout import EventKind
from freezingtime.request import Operation


@inner
def part_done(ssd: int, request_id: int, now_ns: int) -> None:
    """One part of a request is done; with the last one, it is on its way to complete."""
    config = memory.config(ssd)
    request = memory.requests(ssd)[request_id]
    request.remaining -= 1
    if request.remaining:
        return
    if request.operation == Operation.READ:
        if config.link_whole:
            start_ns = max(now_ns, request.data_ns)
            request.data_ns = send_to_host(ssd, request.end - request.begin, start_ns)
        end_ns = max(now_ns, request.data_ns) + config.read_overhead_ns
    elif request.operation == Operation.WRITE:
        end_ns = now_ns + config.write_overhead_ns
    elif request.operation == Operation.FLUSH:
        end_ns = now_ns + config.flush_ns
    else:
        end_ns = now_ns + config.discard_ns
    push(ssd, end_ns, EventKind.COMPLETION, request_id, 0)


@inner
def complete(ssd: int, request_id: int, now_ns: int) -> None:
    """The request is complete: note it and free its place."""
    queue = memory.queue(ssd)
    request = memory.requests(ssd)[request_id]
    done = memory.done(ssd)[queue.done]
    done.tag = request.tag
    done.time_ns = now_ns
    annotation.copy(request.annotation, done.annotation)
    queue.done += 1
    queue.outstanding -= 1
    queue.through -= request.through
    request.next = queue.free_request
    queue.free_request = request_id


@inner
def held(ssd: int, request_id: int, held_by: int, now_ns: int) -> None:
    """The request has waited for something, which is over."""
    request = memory.requests(ssd)[request_id]
    annotation.hold(request.annotation, held_by, now_ns - request.waiting_since_ns)
    request.waiting_since_ns = now_ns


@inner
def note_lane(ssd: int, request_id: int, lane_id: int) -> None:
    """Note the die and the channel that a request goes to, those of its lane."""
    note = memory.requests(ssd)[request_id].annotation
    lane = memory.lanes(ssd)[lane_id]
    note.die = lane.server
    note.channel = lane.channel


@inner
def send_to_host(ssd: int, length_bytes: int, ready_ns: int) -> int:
    link = memory.link(ssd)
    duration_ns = transfer_ns(length_bytes, memory.config(ssd).link_bytes_per_s)
    link.out_free_ns = max(ready_ns, link.out_free_ns) + duration_ns
    return int(link.out_free_ns)


@inner
def access_buffer(ssd: int, length_bytes: int, ready_ns: int) -> int:
    config = memory.config(ssd)
    link = memory.link(ssd)
    duration_ns = config.buffer_access_ns + transfer_ns(length_bytes, config.buffer_bytes_per_s)
    link.buffer_free_ns = max(ready_ns, link.buffer_free_ns) + duration_ns
    return int(link.buffer_free_ns)
