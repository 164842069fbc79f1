# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads: from the map to commands, a page of the flash at a time. Compiled.

What is still in the write buffer comes from there; what is mapped nowhere comes at once, or
from where it would lie if it had been written in order.
"""

from __future__ import annotations

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.command import release_command, take_read_command
from freezingtime.device.flash.kernels.completion import (
    access_buffer,
    held,
    note_lane,
    part_done,
    send_to_host,
)
from freezingtime.device.flash.kernels.ftl.map import is_buffered, slot_of
from freezingtime.device.flash.kernels.ftl.translation import (
    look_up_to_read,
    page_end_bytes,
    take_job,
    translation_read,
)
from freezingtime.device.flash.kernels.server import enqueue_read
from freezingtime.device.flash.layout import NONE

#: How far a read has come: all of it is on its way, ...
_ISSUED = 0
#: ... it needs a command or job that there is not, or ...
_MUST_WAIT = 1
#: ... it is in the list of those that wait for a translation page.
_MAP_MISSED = 2


@inner
def start_read(ssd: int, request_id: int, now_ns: int) -> None:
    """Read what a request asks for, after those that wait for commands."""
    queue = memory.queue(ssd)
    if queue.read_wait_head != NONE:
        _wait(ssd, request_id, now_ns)
    else:
        _go_on(ssd, request_id, now_ns)


@inner
def read_done(ssd: int, command_id: int, now_ns: int) -> None:
    """A command's data are in the controller: send them on."""
    command = memory.commands(ssd)[command_id]
    request = memory.requests(ssd)[command.request]
    if not memory.config(ssd).link_whole:
        request.data_ns = send_to_host(ssd, command.bytes, now_ns)
    part_done(ssd, command.request, now_ns)
    release_command(ssd, command_id)


@inner
def translation_done(ssd: int, command_id: int, now_ns: int) -> None:
    """A translation page is here: the reads that wait for it go on."""
    request_id = translation_read(ssd, command_id, now_ns)
    while request_id != NONE:
        next_id = memory.requests(ssd)[request_id].next
        held(ssd, request_id, HeldBy.MAP, now_ns)
        _go_on(ssd, request_id, now_ns)
        request_id = next_id


@inner
def resume_reads(ssd: int, now_ns: int) -> None:
    """Let the reads in that wait, as far as there is now something to read with."""
    queue = memory.queue(ssd)
    while queue.read_wait_head != NONE and _may_read(ssd):
        request_id = queue.read_wait_head
        next_id = memory.requests(ssd)[request_id].next
        held(ssd, request_id, HeldBy.REQUESTS, now_ns)
        if _issue(ssd, request_id, now_ns) == _MUST_WAIT:
            break
        queue.read_wait_head = next_id


@inner
def _go_on(ssd: int, request_id: int, now_ns: int) -> None:
    if _issue(ssd, request_id, now_ns) == _MUST_WAIT:
        _wait(ssd, request_id, now_ns)


@inner
def _issue(ssd: int, request_id: int, now_ns: int) -> int:
    """Read from the cursor on; to be called again if not all of it is issued."""
    config = memory.config(ssd)
    request = memory.requests(ssd)[request_id]
    ready_bytes = 0  # unmapped, or in the write buffer
    buffered_bytes = 0
    result = _ISSUED
    while request.cursor < request.end:
        unit = request.cursor // config.unit_bytes
        unit_end = min(request.end, (unit + 1) * config.unit_bytes)
        slot = slot_of(ssd, unit)
        is_written = slot != NONE
        if config.unwritten_on_flash and not is_written:
            slot = _slot_in_order(ssd, unit)
        if is_written and is_buffered(ssd, slot):
            ready_bytes += unit_end - request.cursor
            buffered_bytes += unit_end - request.cursor
            memory.counters(ssd).buffer_hits += 1
        else:
            result = _translate(ssd, request_id, unit, now_ns)
            if result == _ISSUED and slot != NONE and not _may_read(ssd):
                result = _MUST_WAIT
            if result != _ISSUED:
                break
            if slot == NONE:
                ready_bytes += unit_end - request.cursor
            else:
                unit_end = _end_of_run(ssd, unit, slot, request.end, is_written)
                length_bytes = unit_end - request.cursor
                _read_slot(ssd, request_id, slot, length_bytes, is_written, now_ns)
        request.cursor = unit_end
    ready_ns = now_ns
    if buffered_bytes:
        ready_ns = access_buffer(ssd, buffered_bytes, now_ns)
        annotation.serve(request.annotation, ServedFrom.WRITE_BUFFER)
    if ready_bytes:
        annotation.start(request.annotation, now_ns)
        annotation.serve(request.annotation, ServedFrom.UNMAPPED)
        request.data_ns = max(request.data_ns, ready_ns)
        if not config.link_whole:
            request.data_ns = send_to_host(ssd, ready_bytes, ready_ns)
    if result == _ISSUED:
        part_done(ssd, request_id, now_ns)
    return result


@inner
def _translate(ssd: int, request_id: int, unit: int, now_ns: int) -> int:
    """Look a unit up in the map, once for each of its translation pages."""
    config = memory.config(ssd)
    if config.cached_pages_max == 0:
        return _ISSUED
    page_id = unit // config.translation_entries
    if page_id == memory.requests(ssd)[request_id].translation_page:
        return _ISSUED
    if not take_job(ssd):
        return _MUST_WAIT
    return _ISSUED if look_up_to_read(ssd, request_id, page_id, now_ns) else _MAP_MISSED


@inner
def _may_read(ssd: int) -> bool:
    """Whether there is a command besides those that writes may need."""
    queue = memory.queue(ssd)
    config = memory.config(ssd)
    others = config.staging_units + config.translation_jobs_max + memory.servers(ssd).size
    return bool(queue.free_commands > others - queue.programs)


@inner
def _slot_in_order(ssd: int, unit: int) -> int:
    """The slot where a unit would be if all had been written in order, program by program."""
    config = memory.config(ssd)
    program_number, place = divmod(unit, config.slots_per_program)
    row, lane_id = divmod(program_number, config.lanes)
    slots_per_lane = config.slots_per_block * config.blocks_per_lane
    return int(lane_id * slots_per_lane + row * config.slots_per_program + place)


@inner
def _end_of_run(ssd: int, unit: int, slot: int, end: int, is_written: bool) -> int:
    """Return where a read from ``unit`` on leaves its page or the order of the page's slots."""
    config = memory.config(ssd)
    page = slot // config.slots_per_read
    if config.cached_pages_max:
        end = min(end, page_end_bytes(ssd, unit * config.unit_bytes))
    while (unit + 1) * config.unit_bytes < end:
        unit += 1
        slot += 1
        in_order = slot_of(ssd, unit) == (slot if is_written else NONE)
        if not in_order or slot // config.slots_per_read != page:
            return unit * int(config.unit_bytes)
    return end


@inner
def _read_slot(
    ssd: int, request_id: int, slot: int, length_bytes: int, is_written: bool, now_ns: int
) -> None:
    command_id = take_read_command(ssd, slot, length_bytes, is_written)
    command = memory.commands(ssd)[command_id]
    command.request = request_id
    request = memory.requests(ssd)[request_id]
    request.remaining += 1
    annotation.serve(request.annotation, ServedFrom.MEDIA)
    if request.annotation.die == NONE:
        note_lane(ssd, request_id, command.lane)
    enqueue_read(ssd, command_id, now_ns)


@inner
def _wait(ssd: int, request_id: int, now_ns: int) -> None:
    queue = memory.queue(ssd)
    requests = memory.requests(ssd)
    requests[request_id].next = NONE
    requests[request_id].waiting_since_ns = now_ns
    if queue.read_wait_head == NONE:
        queue.read_wait_head = request_id
    else:
        requests[queue.read_wait_tail].next = request_id
    queue.read_wait_tail = request_id
