# SPDX-License-Identifier: GPL-2.0-or-later
"""Write frontiers: where the next unit goes. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.ftl.collection import close_block, collect, take_free_block
from freezingtime.device.flash.kernels.ftl.map import map_unit, unmap
from freezingtime.device.flash.kernels.ftl.wear import level_wear
from freezingtime.device.flash.layout import NONE, Role


@inner
def place(ssd: int, unit: int) -> int:
    """Give a unit the next slot of its lane's frontier; returns the lane.

    The caller takes the open slots away (:func:`take_open_slots`) when they fill a program.
    """
    config = memory.config(ssd)
    unmap(ssd, unit)
    lane_id = _lane_for(ssd, unit)
    lane = memory.lanes(ssd)[lane_id]
    if lane.host_block == NONE:
        _open_host_block(ssd, lane_id)
    map_unit(ssd, unit, lane.host_block * config.slots_per_block + lane.host_slot)
    lane.host_slot += 1
    return lane_id


@inner
def take_open_slots(ssd: int, lane_id: int) -> None:
    """Close the open slots of a lane; those that a program has beyond them stay empty."""
    lane = memory.lanes(ssd)[lane_id]
    lane.host_open += lane.host_program
    lane.host_slot = lane.host_open
    if lane.host_slot == lane.host_end:
        lane.slc_closed += memory.blocks(ssd)[lane.host_block].slc
        close_block(ssd, lane.host_block)
        lane.host_block = NONE
    if memory.config(ssd).dynamic:
        _stripe_on(ssd)


@inner
def _lane_for(ssd: int, unit: int) -> int:
    config = memory.config(ssd)
    if config.dynamic:
        return int(memory.ftl(ssd).stripe_lane)
    return int(unit // config.slots_per_sense % config.lanes)


@inner
def _stripe_on(ssd: int) -> None:
    """Go on to the next lane that may take a program's worth of valid slots."""
    config = memory.config(ssd)
    ftl = memory.ftl(ssd)
    lanes = memory.lanes(ssd)
    for _ in range(config.lanes):
        ftl.stripe_lane = (ftl.stripe_lane + 1) % config.lanes
        lane = lanes[ftl.stripe_lane]
        if lane.valid + config.slots_per_program <= config.lane_slots_max:
            break


@inner
def _open_host_block(ssd: int, lane_id: int) -> None:
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    level_wear(ssd, lane_id)
    lane.host_block = take_free_block(ssd, lane_id, Role.HOST)
    lane.host_slot = 0
    lane.host_open = 0
    lane.host_end = config.slots_per_block
    lane.host_program = config.slots_per_program
    if _may_cache(ssd, lane_id):
        lane.slc_blocks += 1
        memory.blocks(ssd)[lane.host_block].slc = 1
        lane.host_end = config.slc_slots_per_block
        lane.host_program = config.slots_per_sense
    collect(ssd, lane_id)


@inner
def _may_cache(ssd: int, lane_id: int) -> bool:
    """Whether the block that is opened may be one of the SLC cache.

    Besides blocks of its own, the cache takes others only where that leaves as many free as
    there must be: when they run short it gives blocks back instead (:func:`.collect`).
    """
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    if lane.slc_blocks < config.slc_blocks:
        return True
    most = config.slc_blocks + config.slc_dynamic_blocks
    return bool(lane.slc_blocks < most and lane.free_count >= config.gc_free_blocks)
