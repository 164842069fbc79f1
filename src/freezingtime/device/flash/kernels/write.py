# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes: into the controller, into slots, and to the cells; and flushes. Compiled.

A write waits for room, comes over the link into the controller's memory in pieces, is given
slots, and goes to the cells a program's worth at a time. With a write buffer it is complete
when it is in there; without, when it is in the cells.
"""

from __future__ import annotations

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.channel import transfer_ns
from freezingtime.device.flash.kernels.completion import (
    access_buffer,
    held,
    note_lane,
    part_done,
)
from freezingtime.device.flash.kernels.event import push
from freezingtime.device.flash.kernels.ftl.ftl import place
from freezingtime.device.flash.kernels.ftl.map import is_buffered, open_slot_of, slot_of
from freezingtime.device.flash.kernels.ftl.translation import (
    look_up_to_write,
    page_end_bytes,
    take_job,
)
from freezingtime.device.flash.kernels.program import end_epochs, program, program_open_slots
from freezingtime.device.flash.kernels.zone import reset_zones, write_to_zone
from freezingtime.device.flash.layout import NONE, EventKind
from freezingtime.request import Operation


@inner
def start_write(ssd: int, request_id: int, now_ns: int) -> None:
    """Let a write, or a discard of zones, wait for its turn and for room."""
    queue = memory.queue(ssd)
    requests = memory.requests(ssd)
    if queue.write_head == NONE:
        queue.write_head = request_id
    else:
        requests[queue.write_tail].next = request_id
    queue.write_tail = request_id
    queue.writes_waiting += 1
    requests[request_id].waiting_since_ns = now_ns
    pump(ssd, now_ns)


@inner
def admit_piece(ssd: int, now_ns: int) -> None:
    """The oldest piece of a write that is on the link has arrived in the controller."""
    queue = memory.queue(ssd)
    pieces = memory.pieces(ssd)
    piece = pieces[queue.piece_head]
    request_id = piece.request
    request = memory.requests(ssd)[request_id]
    if request.operation == Operation.WRITE:
        _place_range(ssd, request_id, piece.begin, piece.end, now_ns)
    else:
        reset_zones(ssd, piece.begin, piece.end)
    queue.piece_head = (queue.piece_head + 1) % pieces.size
    queue.pieces -= 1
    if piece.end == request.end:
        if request.through:
            program_open_slots(ssd, now_ns)
        part_done(ssd, request_id, now_ns)
    pump(ssd, now_ns)


@inner
def program_done(ssd: int, command_id: int, now_ns: int) -> None:
    """Finish a program of host data: note it, free its buffer, notify those waiting."""
    queue = memory.queue(ssd)
    ftl = memory.ftl(ssd)
    command = memory.commands(ssd)[command_id]
    block = memory.blocks(ssd)[command.block]
    if block.erases == command.generation:
        block.programmed = command.programmed
    queue.programs_pending -= 1
    queue.staged_units -= command.units
    ftl.translation_jobs -= command.translations
    if command.request != NONE:
        part_done(ssd, command.request, now_ns)
    epochs = memory.epochs(ssd)
    epochs[command.epoch % epochs.size].outstanding -= 1
    end_epochs(ssd, now_ns)
    pump(ssd, now_ns)


@inner
def flush(ssd: int, request_id: int, now_ns: int) -> None:
    """Let a flush wait until all that is in the write buffer is stable."""
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    request = memory.requests(ssd)[request_id]
    annotation.start(request.annotation, now_ns)
    if not config.buffered or config.power_loss_protection:
        part_done(ssd, request_id, now_ns)
        return
    program_open_slots(ssd, now_ns)
    request.waiting_since_ns = now_ns
    epochs = memory.epochs(ssd)
    epochs[queue.epoch % epochs.size].request = request_id
    queue.epoch += 1
    end_epochs(ssd, now_ns)


@inner
def pump(ssd: int, now_ns: int) -> None:
    """Let waiting writes in as far as there is room, first come first served."""
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    link = memory.link(ssd)
    requests = memory.requests(ssd)
    while queue.write_head != NONE and queue.pieces < memory.pieces(ssd).size:
        request_id = queue.write_head
        request = requests[request_id]
        if request.begin == request.end:
            _leave_queue(ssd, request_id)
            part_done(ssd, request_id, now_ns)
            continue
        if request.operation != Operation.WRITE:
            annotation.start(request.annotation, now_ns)
            held(ssd, request_id, HeldBy.BUFFER_FULL, now_ns)
            _leave_queue(ssd, request_id)
            arrived_ns = max(now_ns, link.in_free_ns, link.buffer_free_ns)
            _add_piece(ssd, request_id, request.begin, request.end, arrived_ns)
            continue
        room = config.staging_units - queue.staged_units
        if room == 0 or (config.cached_pages_max and not take_job(ssd)):
            break
        first_unit = request.cursor // config.unit_bytes
        end = min(request.end, (first_unit + room) * config.unit_bytes)
        if config.cached_pages_max:
            end = min(end, page_end_bytes(ssd, request.cursor))
        queue.staged_units += (end - 1) // config.unit_bytes + 1 - first_unit
        annotation.start(request.annotation, now_ns)
        held(ssd, request_id, HeldBy.BUFFER_FULL, now_ns)
        _fetch_piece(ssd, request_id, request.cursor, end, now_ns)
        request.cursor = end
        if end == request.end:
            _leave_queue(ssd, request_id)
    if queue.write_head != NONE and queue.pieces == 0 and queue.programs_pending == 0:
        program_open_slots(ssd, now_ns)  # they alone take up all the room


@inner
def _leave_queue(ssd: int, request_id: int) -> None:
    """The first of the writes that wait waits no more."""
    queue = memory.queue(ssd)
    queue.write_head = memory.requests(ssd)[request_id].next
    queue.writes_waiting -= 1


@inner
def _fetch_piece(ssd: int, request_id: int, begin: int, end: int, now_ns: int) -> None:
    """Bring a piece of a write over the link and into the controller's memory."""
    config = memory.config(ssd)
    link = memory.link(ssd)
    duration_ns = transfer_ns(end - begin, config.link_bytes_per_s)
    link.in_free_ns = max(now_ns, link.in_free_ns) + duration_ns
    arrived_ns = link.in_free_ns
    if config.buffered:
        arrived_ns = access_buffer(ssd, end - begin, arrived_ns)
    _add_piece(ssd, request_id, begin, end, arrived_ns)


@inner
def _add_piece(ssd: int, request_id: int, begin: int, end: int, arrived_ns: int) -> None:
    """Let a piece be in the controller at a time that is not before that of the last one."""
    queue = memory.queue(ssd)
    pieces = memory.pieces(ssd)
    piece = pieces[(queue.piece_head + queue.pieces) % pieces.size]
    queue.pieces += 1
    piece.request = request_id
    piece.begin = begin
    piece.end = end
    push(ssd, arrived_ns, EventKind.ADMISSION, NONE, 0)


@inner
def _place_range(ssd: int, request_id: int, begin: int, end: int, now_ns: int) -> None:
    config = memory.config(ssd)
    counters = memory.counters(ssd)
    counters.host_bytes += end - begin
    if config.zone_bytes:
        write_to_zone(ssd, begin, end, now_ns)
        return
    if config.cached_pages_max:  # a piece has one translation page
        unit = begin // config.unit_bytes
        look_up_to_write(ssd, unit // config.translation_entries, now_ns)
    for unit in range(begin // config.unit_bytes, (end - 1) // config.unit_bytes + 1):
        first = max(begin - unit * config.unit_bytes, 0)
        last = min(end - unit * config.unit_bytes, config.unit_bytes)
        _place_unit(ssd, request_id, unit, _sectors(ssd, first, last), now_ns)
        counters.host_units += 1


@inner
def _sectors(ssd: int, first: int, last: int) -> int:
    """The unit's sectors that are wholly inside the bytes first to last, as bits."""
    sector_bytes = memory.config(ssd).sector_bytes
    begin = (first + sector_bytes - 1) // sector_bytes
    end = last // sector_bytes
    if end <= begin:
        return 0
    return int((1 << end) - (1 << begin))


@inner
def _place_unit(ssd: int, request_id: int, unit: int, sectors: int, now_ns: int) -> None:
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    counters = memory.counters(ssd)
    open_slots = memory.open_slots(ssd)
    old_slot = slot_of(ssd, unit)
    open_id = NONE if old_slot == NONE else open_slot_of(ssd, old_slot)
    if open_id != NONE:  # not yet on its way to the cells: overwrite it in memory
        lane_id = open_id // config.slots_per_program
        open_slots[open_id].sectors |= sectors
        queue.staged_units -= 1
        counters.coalesced_units += 1
    else:
        old_on_flash = old_slot != NONE and not is_buffered(ssd, old_slot)
        lane_id = place(ssd, unit)
        open_id = open_slot_of(ssd, slot_of(ssd, unit))
        open_slots[open_id].sectors = sectors
        open_slots[open_id].old_on_flash = old_on_flash
    lane = memory.lanes(ssd)[lane_id]
    request = memory.requests(ssd)[request_id]
    if request.annotation.die == NONE:
        note_lane(ssd, request_id, lane_id)
    if request.through:
        annotation.serve(request.annotation, ServedFrom.MEDIA)
        lane.through = request_id
    else:
        annotation.serve(request.annotation, ServedFrom.WRITE_BUFFER)
    if lane.host_slot - lane.host_open == lane.host_program:
        program(ssd, lane_id, now_ns)
