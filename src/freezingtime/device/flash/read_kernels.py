"""Reads: from the map to commands, a page of the flash at a time. Compiled.

What is still in the write buffer comes from there; what is mapped nowhere comes at once.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.flash import memory_kernels as memory
from freezingtime.device.flash.command_kernels import release_command, take_command
from freezingtime.device.flash.completion_kernels import access_buffer, part_done, send_to_host
from freezingtime.device.flash.layout import NONE
from freezingtime.device.flash.map_kernels import is_buffered, slot_of
from freezingtime.device.flash.server_kernels import enqueue_read


@njit()
def start_read(ssd: int, request_id: int, now_ns: int) -> None:
    """Read what a request asks for, after those that wait for commands."""
    totals = memory.totals(ssd)
    totals.host_reads += 1
    if totals.read_wait_head != NONE or not _issue(ssd, request_id, now_ns):
        _wait(ssd, request_id)


@njit()
def read_done(ssd: int, command_id: int, now_ns: int) -> None:
    """A command's data are in the controller: send them on, let the next read in."""
    command = memory.commands(ssd)[command_id]
    request = memory.requests(ssd)[command.request]
    if not memory.config(ssd).link_whole:
        request.data_ns = send_to_host(ssd, command.bytes, now_ns)
    part_done(ssd, command.request, now_ns)
    release_command(ssd, command_id)
    _resume(ssd, now_ns)


@njit()
def _issue(ssd: int, request_id: int, now_ns: int) -> bool:
    """Read from the cursor on; false if there are not enough commands, to be called again."""
    config = memory.config(ssd)
    request = memory.requests(ssd)[request_id]
    ready_bytes = 0  # unmapped, or in the write buffer
    buffered_bytes = 0
    issued = True
    while request.cursor < request.end:
        unit = request.cursor // config.unit_bytes
        unit_end = min(request.end, (unit + 1) * config.unit_bytes)
        slot = slot_of(ssd, unit)
        if slot != NONE and not is_buffered(ssd, slot):
            if not _may_read(ssd):
                issued = False
                break
            unit_end = _end_of_run(ssd, unit, slot, request.end)
            _read_slot(ssd, request_id, slot, unit_end - request.cursor, now_ns)
        else:
            ready_bytes += unit_end - request.cursor
            if slot != NONE:
                buffered_bytes += unit_end - request.cursor
                memory.totals(ssd).buffer_hits += 1
        request.cursor = unit_end
    ready_ns = now_ns
    if buffered_bytes:
        ready_ns = access_buffer(ssd, buffered_bytes, now_ns)
    if ready_bytes:
        request.data_ns = max(request.data_ns, ready_ns)
        if not config.link_whole:
            request.data_ns = send_to_host(ssd, ready_bytes, ready_ns)
    if issued:
        part_done(ssd, request_id, now_ns)
    return issued


@njit()
def _may_read(ssd: int) -> bool:
    """Whether there is a command besides those that writes may need."""
    totals = memory.totals(ssd)
    reserved = memory.config(ssd).staging_units + memory.servers(ssd).size - totals.programs
    return bool(totals.free_commands > reserved)


@njit()
def _end_of_run(ssd: int, unit: int, slot: int, end: int) -> int:
    """Where a read from ``unit`` on leaves its page or the order of the page's slots."""
    config = memory.config(ssd)
    page = slot // config.slots_per_sense
    while (unit + 1) * config.unit_bytes < end:
        unit += 1
        slot += 1
        if slot_of(ssd, unit) != slot or slot // config.slots_per_sense != page:
            return unit * int(config.unit_bytes)
    return end


@njit()
def _read_slot(ssd: int, request_id: int, slot: int, length_bytes: int, now_ns: int) -> None:
    config = memory.config(ssd)
    command_id = take_command(ssd)
    command = memory.commands(ssd)[command_id]
    page = slot % config.slots_per_block // config.slots_per_sense
    command.is_read = 1
    command.request = request_id
    command.lane = slot // (config.slots_per_block * config.blocks_per_lane)
    command.bytes = length_bytes
    if memory.blocks(ssd)[slot // config.slots_per_block].slc:
        command.array_ns = config.slc_read_ns
    else:
        command.array_ns = config.read_ns[page % config.read_kinds]
    memory.requests(ssd)[request_id].remaining += 1
    enqueue_read(ssd, command_id, now_ns)


@njit()
def _wait(ssd: int, request_id: int) -> None:
    totals = memory.totals(ssd)
    if totals.read_wait_head == NONE:
        totals.read_wait_head = request_id
    else:
        memory.requests(ssd)[totals.read_wait_tail].next = request_id
    totals.read_wait_tail = request_id


@njit()
def _resume(ssd: int, now_ns: int) -> None:
    totals = memory.totals(ssd)
    while totals.read_wait_head != NONE and _may_read(ssd):
        request = memory.requests(ssd)[totals.read_wait_head]
        next_id = request.next
        if not _issue(ssd, totals.read_wait_head, now_ns):
            break
        totals.read_wait_head = next_id
