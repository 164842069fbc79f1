# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones: blocks over several lanes, written in order, erased together. Compiled.

The mapping is fixed: data go program by program over a zone's lanes, and from block to block.
The host's write pointer moves when a request is taken in (:func:`accept`); the zone itself
follows when the data are in the controller, in the same order.
"""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import entry, inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.ftl.map import map_unit, slot_of, unmap
from freezingtime.device.flash.kernels.program import begin_program
from freezingtime.device.flash.kernels.server import enqueue_job
from freezingtime.device.flash.layout import NONE, Refusal
from freezingtime.request import Operation


@inner
def accept(ssd: int, operation: int, offset_bytes: int, length_bytes: int) -> int:
    """Move write pointers as a request asks for, or say why not: a :class:`Refusal`."""
    zone_bytes = memory.config(ssd).zone_bytes
    if zone_bytes == 0 or length_bytes == 0:
        return Refusal.NONE
    if operation == Operation.WRITE:
        return _accept_write(ssd, offset_bytes, length_bytes)
    if operation in (Operation.DISCARD, Operation.WRITE_ZEROES):
        first, end = _whole_zones(ssd, offset_bytes, offset_bytes + length_bytes)
        for zone_id in range(first, end):
            _set_pointer(ssd, zone_id, 0)
    return Refusal.NONE


@inner
def write_to_zone(ssd: int, begin: int, end: int, now_ns: int) -> None:
    """Put data that are in the controller into their zone; at its beginning, reset it first."""
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    counters = memory.counters(ssd)
    zone_id = begin // config.zone_bytes
    zone = memory.zones(ssd)[zone_id]
    start = zone_id * config.zone_bytes
    if begin == start:
        _reset(ssd, zone_id)
    if begin % config.unit_bytes:  # the unit's first part is here already
        queue.staged_units -= 1
        counters.coalesced_units += 1
    for unit in range(begin // config.unit_bytes, (end - 1) // config.unit_bytes + 1):
        if slot_of(ssd, unit) == NONE:
            map_unit(ssd, unit, _slot(ssd, zone_id, unit - start // config.unit_bytes))
        counters.host_units += 1
    zone.filled_bytes = end - start
    program_bytes = config.slots_per_program * config.unit_bytes
    while zone.filled_bytes - zone.taken_bytes >= program_bytes:
        _program(ssd, zone_id, program_bytes, now_ns)
    if zone.filled_bytes == config.zone_capacity_bytes and zone.taken_bytes < zone.filled_bytes:
        _program(ssd, zone_id, zone.filled_bytes - zone.taken_bytes, now_ns)


@inner
def reset_zones(ssd: int, begin: int, end: int) -> None:
    """Reset the zones that are wholly inside a range."""
    first, last = _whole_zones(ssd, begin, end)
    for zone_id in range(first, last):
        _reset(ssd, zone_id)


@entry()
def fill_zones(ssd: int) -> None:
    """Let all zones be full, without time passing."""
    config = memory.config(ssd)
    zones = memory.zones(ssd)
    for zone_id in range(zones.size):
        zone = zones[zone_id]
        first_unit = zone_id * config.zone_bytes // config.unit_bytes
        for offset in range(config.zone_capacity_bytes // config.unit_bytes):
            map_unit(ssd, first_unit + offset, _slot(ssd, zone_id, offset))
        zone.accepted_bytes = config.zone_capacity_bytes
        zone.filled_bytes = config.zone_capacity_bytes
        zone.taken_bytes = config.zone_capacity_bytes


@inner
def _accept_write(ssd: int, offset_bytes: int, length_bytes: int) -> int:
    config = memory.config(ssd)
    zone_id = offset_bytes // config.zone_bytes
    accepted_bytes = memory.zones(ssd)[zone_id].accepted_bytes
    begin = offset_bytes - zone_id * config.zone_bytes
    if begin not in (0, accepted_bytes):
        return Refusal.POINTER
    if begin + length_bytes > config.zone_capacity_bytes:
        return Refusal.CAPACITY
    is_open = 0 < accepted_bytes < config.zone_capacity_bytes
    if not is_open and memory.ftl(ssd).open_zones == config.open_zones_max:
        return Refusal.OPEN_ZONES
    _set_pointer(ssd, zone_id, begin + length_bytes)
    return Refusal.NONE


@inner
def _set_pointer(ssd: int, zone_id: int, accepted_bytes: int) -> None:
    """Move a zone's write pointer; a zone that is partly written is open."""
    ftl = memory.ftl(ssd)
    zone = memory.zones(ssd)[zone_id]
    capacity_bytes = memory.config(ssd).zone_capacity_bytes
    ftl.open_zones -= 0 < zone.accepted_bytes < capacity_bytes
    zone.accepted_bytes = accepted_bytes
    ftl.open_zones += 0 < zone.accepted_bytes < capacity_bytes


@inner
def _whole_zones(ssd: int, begin: int, end: int) -> tuple[int, int]:
    """The zones that are wholly inside a range: the first, and the one behind the last."""
    zone_bytes = memory.config(ssd).zone_bytes
    return (begin + zone_bytes - 1) // zone_bytes, end // zone_bytes


@inner
def _slot(ssd: int, zone_id: int, offset_units: int) -> int:
    """The slot of a zone's unit."""
    config = memory.config(ssd)
    groups = config.lanes // config.zone_lanes
    program, place = divmod(offset_units, config.slots_per_program)
    row, lane = divmod(program, config.zone_lanes)
    lane += zone_id % groups * config.zone_lanes
    slot = row * config.slots_per_program + place
    first_block = lane * config.blocks_per_lane + zone_id // groups * config.zone_blocks
    return int(first_block * config.slots_per_block + slot)


@inner
def _program(ssd: int, zone_id: int, length_bytes: int, now_ns: int) -> None:
    """Make a program of the next bytes of a zone; the first one of a block may erase it."""
    config = memory.config(ssd)
    zone = memory.zones(ssd)[zone_id]
    slot = _slot(ssd, zone_id, zone.taken_bytes // config.unit_bytes)
    block_id, first = divmod(slot, config.slots_per_block)
    block = memory.blocks(ssd)[block_id]
    lane_id = block_id // config.blocks_per_lane
    command_id = begin_program(ssd, lane_id, block_id, first, config.slots_per_program)
    command = memory.commands(ssd)[command_id]
    command.units = length_bytes // config.unit_bytes
    command.gc_reads = 0
    command.gc_programs = 0
    command.erases = 0
    command.erases_before = block.erase_due
    block.erase_due = 0
    zone.taken_bytes += length_bytes
    enqueue_job(ssd, command_id, now_ns)


@inner
def _reset(ssd: int, zone_id: int) -> None:
    """Empty a zone. Its blocks are erased when they are written to again."""
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    counters = memory.counters(ssd)
    zone = memory.zones(ssd)[zone_id]
    if zone.filled_bytes == 0:
        return
    filled_units = (zone.filled_bytes - 1) // config.unit_bytes + 1
    taken_units = zone.taken_bytes // config.unit_bytes
    queue.staged_units -= filled_units - taken_units
    first_unit = zone_id * config.zone_bytes // config.unit_bytes
    for unit in range(first_unit, first_unit + filled_units):
        unmap(ssd, unit)
    for offset in range(0, taken_units, config.slots_per_program):
        block_id, first = divmod(_slot(ssd, zone_id, offset), config.slots_per_block)
        if first == 0:
            _mark_for_erase(ssd, block_id)
    zone.filled_bytes = 0
    zone.taken_bytes = 0
    counters.zone_resets += 1


@inner
def _mark_for_erase(ssd: int, block_id: int) -> None:
    block = memory.blocks(ssd)[block_id]
    block.erases += 1
    block.erase_due = 1
    block.programmed = 0
    memory.counters(ssd).erases += 1
