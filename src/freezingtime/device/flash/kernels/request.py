# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests: what the host asks for, and which way it goes. Compiled."""

from __future__ import annotations

from freezingtime.annotation import HeldBy
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.completion import held, part_done
from freezingtime.device.flash.kernels.event import push
from freezingtime.device.flash.kernels.ftl.map import unmap
from freezingtime.device.flash.kernels.ftl.translation_cache import note_change
from freezingtime.device.flash.kernels.read import (
    read_done,
    resume_reads,
    start_read,
    translation_done,
)
from freezingtime.device.flash.kernels.write import flush, program_done, pump, start_write
from freezingtime.device.flash.kernels.zone import accept
from freezingtime.device.flash.layout import NONE, EventKind
from freezingtime.request import Operation


@inner
def submit(
    ssd: int,
    tag: int,
    operation: int,
    offset_bytes: int,
    length_bytes: int,
    fua: bool,
    arrival_ns: int,
    now_ns: int,
) -> bool:
    """Take in a request, unless its zone refuses; there must be a free one (``free_request``).

    If there was none when it arrived, that was before.
    """
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    link = memory.link(ssd)
    queue.refusal = accept(ssd, operation, offset_bytes, length_bytes)
    if queue.refusal:
        return False
    request_id = queue.free_request
    request = memory.requests(ssd)[request_id]
    queue.free_request = request.next
    queue.outstanding += 1
    request.next = NONE
    request.tag = tag
    request.operation = operation
    request.begin = offset_bytes
    request.end = offset_bytes + length_bytes
    request.cursor = offset_bytes
    request.remaining = 1  # until all parts are on their way
    request.data_ns = now_ns
    request.translation_page = NONE
    annotation.reset(request.annotation)
    annotation.hold(request.annotation, HeldBy.REQUESTS, now_ns - arrival_ns)
    unstable = config.buffered and not config.power_loss_protection
    request.through = operation == Operation.WRITE and (not config.buffered or (fua and unstable))
    queue.through += request.through
    start_ns = max(now_ns, link.controller_free_ns)
    link.controller_free_ns = start_ns + config.command_interval_ns
    dispatch_ns = start_ns + config.submission_ns
    if dispatch_ns == now_ns:
        dispatch(ssd, request_id, now_ns)
    else:
        push(ssd, dispatch_ns, EventKind.DISPATCH, request_id, 0)
    return True


@inner
def dispatch(ssd: int, request_id: int, now_ns: int) -> None:
    """The controller takes up a request, in its turn and if not too many writes wait for room."""
    queue = memory.queue(ssd)
    if queue.command_head == NONE and _may_take_up(ssd):
        _take_up(ssd, request_id, now_ns)
        return
    requests = memory.requests(ssd)
    request = requests[request_id]
    request.next = NONE
    request.waiting_since_ns = now_ns
    if queue.command_head == NONE:
        queue.command_head = request_id
    else:
        requests[queue.command_tail].next = request_id
    queue.command_tail = request_id


@inner
def resume_commands(ssd: int, now_ns: int) -> None:
    """Take up the requests that had to wait, as far as may be."""
    queue = memory.queue(ssd)
    requests = memory.requests(ssd)
    while queue.command_head != NONE and _may_take_up(ssd):
        request_id = queue.command_head
        request = requests[request_id]
        queue.command_head = request.next
        request.next = NONE
        held(ssd, request_id, HeldBy.WRITES, now_ns)
        _take_up(ssd, request_id, now_ns)


@inner
def _may_take_up(ssd: int) -> bool:
    return bool(memory.queue(ssd).writes_waiting < memory.config(ssd).writes_waiting_max)


@inner
def _take_up(ssd: int, request_id: int, now_ns: int) -> None:
    operation = memory.requests(ssd)[request_id].operation
    if operation == Operation.READ:
        start_read(ssd, request_id, now_ns)
    elif operation == Operation.WRITE or (
        operation != Operation.FLUSH and memory.config(ssd).zone_bytes
    ):
        start_write(ssd, request_id, now_ns)
    elif operation == Operation.FLUSH:
        flush(ssd, request_id, now_ns)
    else:
        _discard(ssd, request_id, now_ns)


@inner
def command_done(ssd: int, command_id: int, now_ns: int) -> None:
    """The host part of a command is done."""
    command = memory.commands(ssd)[command_id]
    if not command.is_read:
        program_done(ssd, command_id, now_ns)
    elif command.request == NONE:
        translation_done(ssd, command_id, now_ns)
        pump(ssd, now_ns)
    else:
        read_done(ssd, command_id, now_ns)
    resume_reads(ssd, now_ns)


@inner
def _discard(ssd: int, request_id: int, now_ns: int) -> None:
    """Unmap the units that are wholly inside the range, unless discards are ignored."""
    config = memory.config(ssd)
    request = memory.requests(ssd)[request_id]
    first = (request.begin + config.unit_bytes - 1) // config.unit_bytes
    end = request.end // config.unit_bytes
    annotation.start(request.annotation, now_ns)
    if config.honours_discard:
        counters = memory.counters(ssd)
        for unit in range(first, end):
            counters.discarded_units += unmap(ssd, unit) != NONE
            note_change(ssd, unit)
    part_done(ssd, request_id, now_ns)
