# SPDX-License-Identifier: GPL-2.0-or-later
"""Static wear levelling: cold data leave the blocks that they keep from wearing. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.ftl.collection import empty
from freezingtime.device.flash.layout import NONE, Role


@inner
def level_wear(ssd: int, lane_id: int) -> None:
    """Let no block take what the host writes that is worn too far beyond the coldest one.

    The coldest is the least worn closed block. Its data are moved until the worn block, which
    is the next to be used, has taken such data in, and young blocks come free. Hot data then
    wear those, as with Chang's two pools ("On Efficient Wear Leveling for Large-Scale
    Flash-Memory Storage Systems", SAC 2007). The SLC cache, which empties itself, is left out.
    """
    config = memory.config(ssd)
    if config.wear_spread == NONE:
        return
    lane = memory.lanes(ssd)[lane_id]
    coldest_id = _coldest(ssd, lane_id)
    while coldest_id != NONE and _is_too_worn(ssd, lane_id, coldest_id):
        _swap_frontiers(ssd, lane_id)
        empty(ssd, lane_id, coldest_id)
        _swap_frontiers(ssd, lane_id)
        # The block that is to be opened bears the cost.
        lane.debt_share = max(lane.debt_share, config.slots_per_block // config.slots_per_program)
        memory.counters(ssd).wear_moves += 1
        coldest_id = _coldest(ssd, lane_id)


@inner
def _swap_frontiers(ssd: int, lane_id: int) -> None:
    """Cold data have a frontier of their own: what is hot would soon wear their block again."""
    lane = memory.lanes(ssd)[lane_id]
    lane.gc_block, lane.cold_block = lane.cold_block, lane.gc_block
    lane.gc_slot, lane.cold_slot = lane.cold_slot, lane.gc_slot


@inner
def _is_too_worn(ssd: int, lane_id: int, coldest_id: int) -> bool:
    """Whether the block that is next to be used is worn too far beyond the coldest."""
    blocks = memory.blocks(ssd)
    next_block = blocks[memory.lanes(ssd)[lane_id].free_head]
    ahead = next_block.erases - blocks[coldest_id].erases
    return bool(ahead > memory.config(ssd).wear_spread)


@inner
def _coldest(ssd: int, lane_id: int) -> int:
    config = memory.config(ssd)
    first = lane_id * config.blocks_per_lane
    coldest_id = NONE
    least_erases = 0
    blocks = memory.blocks(ssd)
    for block_id in range(first, first + config.blocks_per_lane):
        block = blocks[block_id]
        if block.role != Role.CLOSED or block.slc:
            continue
        if coldest_id == NONE or block.erases < least_erases:
            coldest_id = block_id
            least_erases = block.erases
    return coldest_id
