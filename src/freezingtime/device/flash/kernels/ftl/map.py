# SPDX-License-Identifier: GPL-2.0-or-later
"""The map: which slot of the flash holds which unit, and what is still in memory. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.layout import CHUNK_UNITS, NONE


@inner
def slot_of(ssd: int, unit: int) -> int:
    """Return the slot of a unit, or NONE."""
    config = memory.config(ssd)
    place = unit
    if config.sparse_map:
        place = _place_of(ssd, unit)
        if place == NONE:
            return NONE
    if config.wide_map:
        return int(memory.wide_slot_of_unit(ssd)[place]) - 1
    return int(memory.slot_of_unit(ssd)[place]) - 1


@inner
def unit_of(ssd: int, slot: int) -> int:
    """Return the unit in a slot, or NONE."""
    if memory.config(ssd).wide_map:
        return int(memory.wide_unit_of_slot(ssd)[slot]) - 1
    return int(memory.unit_of_slot(ssd)[slot]) - 1


@inner
def put_into(ssd: int, slot: int, unit: int) -> None:
    """Note which unit is in a slot, or NONE."""
    if memory.config(ssd).wide_map:
        memory.wide_unit_of_slot(ssd)[slot] = unit + 1
    else:
        memory.unit_of_slot(ssd)[slot] = unit + 1


@inner
def _place_of(ssd: int, unit: int) -> int:
    """Return the place of a unit in a map of chunks, or NONE if its chunk has none."""
    chunk = int(memory.chunks(ssd)[1 + unit // CHUNK_UNITS])
    return (chunk - 1) * CHUNK_UNITS + unit % CHUNK_UNITS if chunk else NONE


@inner
def _set_slot(ssd: int, unit: int, slot: int) -> None:
    """Note the slot of a unit, or NONE; its chunk gets a place if it has none."""
    config = memory.config(ssd)
    place = unit
    if config.sparse_map:
        chunks = memory.chunks(ssd)
        if chunks[1 + unit // CHUNK_UNITS] == 0:
            chunks[0] += 1
            chunks[1 + unit // CHUNK_UNITS] = chunks[0]
        place = _place_of(ssd, unit)
    if config.wide_map:
        memory.wide_slot_of_unit(ssd)[place] = slot + 1
    else:
        memory.slot_of_unit(ssd)[place] = slot + 1


@inner
def is_buffered(ssd: int, slot: int) -> bool:
    """Whether the slot's data are still in the write buffer.

    What is being moved by garbage collection still lies in its old place, on the same die.
    """
    slots_per_block = memory.config(ssd).slots_per_block
    block = memory.blocks(ssd)[slot // slots_per_block]
    return not block.moved and slot % slots_per_block >= block.programmed


@inner
def open_slot_of(ssd: int, slot: int) -> int:
    """The slot's place among the open slots, which no program has taken yet, or NONE."""
    config = memory.config(ssd)
    lane_id = slot // (config.slots_per_block * config.blocks_per_lane)
    lane = memory.lanes(ssd)[lane_id]
    if lane.host_block == NONE:
        return NONE
    place = slot - lane.host_block * config.slots_per_block - lane.host_open
    if 0 <= place < lane.host_slot - lane.host_open:
        return int(lane_id * config.slots_per_program + place)
    return NONE


@inner
def unmap(ssd: int, unit: int) -> int:
    """Forget where a unit is; its slot, which is returned, becomes garbage."""
    slot = slot_of(ssd, unit)
    if slot != NONE:
        config = memory.config(ssd)
        block_id = slot // config.slots_per_block
        _set_slot(ssd, unit, NONE)
        put_into(ssd, slot, NONE)
        memory.blocks(ssd)[block_id].valid -= 1
        memory.lanes(ssd)[block_id // config.blocks_per_lane].valid -= 1
    return slot


@inner
def map_unit(ssd: int, unit: int, slot: int) -> None:
    """Let a unit that is nowhere be in a slot that is empty."""
    config = memory.config(ssd)
    block_id = slot // config.slots_per_block
    _set_slot(ssd, unit, slot)
    put_into(ssd, slot, unit)
    memory.blocks(ssd)[block_id].valid += 1
    memory.lanes(ssd)[block_id // config.blocks_per_lane].valid += 1
