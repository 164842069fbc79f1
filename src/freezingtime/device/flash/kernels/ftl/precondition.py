# SPDX-License-Identifier: GPL-2.0-or-later
"""History of an SSD before time 0, applied without its time passing. Compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.ftl.collection import fold, take_debt
from freezingtime.device.flash.kernels.ftl.ftl import place, take_open_slots
from freezingtime.device.flash.kernels.ftl.map import map_unit
from freezingtime.device.flash.layout import NONE, Role


@njit(cache=True)
def write_sequentially(ssd: int) -> None:
    """Write every unit once, in order."""
    for unit in range(memory.config(ssd).units):
        _write(ssd, unit)


@njit(cache=True)
def write_randomly(ssd: int, generator: np.random.Generator, writes: int) -> None:
    """Overwrite units drawn uniformly."""
    units = memory.config(ssd).units
    for _ in range(writes):
        _write(ssd, _below(generator, units))


@njit(cache=True)
def fold_all(ssd: int) -> None:
    """Empty the SLC cache, but for open blocks."""
    for lane_id in range(memory.config(ssd).lanes):
        lane = memory.lanes(ssd)[lane_id]
        while lane.slc_closed:
            fold(ssd, lane_id)
        while lane.debt_share:
            take_debt(ssd, lane_id)


@njit(cache=True)
def scatter(ssd: int, generator: np.random.Generator, valid_share: NDArray[np.float64]) -> None:
    """Put all units in random places of closed blocks.

    ``valid_share`` says how full the blocks of each lane are to be, from the first on. The
    sum must be what a lane's units need or somewhat less; what is left fills the gaps.
    """
    config = memory.config(ssd)
    for lane_id in range(config.lanes):
        first = lane_id * config.blocks_per_lane
        for block_id in range(first, first + valid_share.size):
            _close_block(ssd, lane_id, block_id)
        slots = _draw_slots(ssd, generator, lane_id, valid_share)
        _shuffle(generator, slots)
        for index in range(slots.size):
            map_unit(ssd, _member(ssd, lane_id, index), slots[index])


@njit(cache=True)
def settle(ssd: int) -> None:
    """Nothing is on its way: all data are in the cells, and no block is worn."""
    config = memory.config(ssd)
    lanes = memory.lanes(ssd)
    for lane_id in range(config.lanes):
        lane = lanes[lane_id]
        if lane.host_block != NONE and lane.host_slot > lane.host_open:
            take_open_slots(ssd, lane_id)
    blocks = memory.blocks(ssd)
    for block_id in range(blocks.size):
        blocks[block_id].programmed = config.slots_per_block
        blocks[block_id].erases = 0
    for lane_id in range(config.lanes):
        lane = lanes[lane_id]
        if lane.host_block != NONE:
            blocks[lane.host_block].programmed = lane.host_open


@njit()
def _write(ssd: int, unit: int) -> None:
    lane_id = place(ssd, unit)
    lane = memory.lanes(ssd)[lane_id]
    memory.counters(ssd).host_units += 1
    if lane.host_slot - lane.host_open == lane.host_program:
        take_open_slots(ssd, lane_id)
        take_debt(ssd, lane_id)


@njit()
def _member_count(ssd: int, lane_id: int) -> int:
    """Return the number of units striped to a lane."""
    config = memory.config(ssd)
    stripe = config.slots_per_sense
    rows = config.units // (stripe * config.lanes)
    rest = config.units - rows * stripe * config.lanes - lane_id * stripe
    return int(rows * stripe + min(max(rest, 0), stripe))


@njit()
def _member(ssd: int, lane_id: int, index: int) -> int:
    """The unit that is the index-th of those striped to a lane."""
    config = memory.config(ssd)
    stripe = config.slots_per_sense
    return int((index // stripe * config.lanes + lane_id) * stripe + index % stripe)


@njit()
def _close_block(ssd: int, lane_id: int, block_id: int) -> None:
    """Take a block, which is the first of the free ones, as if it had been written."""
    lane = memory.lanes(ssd)[lane_id]
    block = memory.blocks(ssd)[block_id]
    block.role = Role.CLOSED
    lane.free_head = block.next
    lane.free_count -= 1


@njit()
def _draw_slots(
    ssd: int,
    generator: np.random.Generator,
    lane_id: int,
    valid_share: NDArray[np.float64],
) -> NDArray[np.int32]:
    """As many slots as a lane has units, from each block about the share that it is to hold."""
    config = memory.config(ssd)
    slots = np.empty(_member_count(ssd, lane_id), np.int32)
    drawn = 0
    first = lane_id * config.blocks_per_lane * config.slots_per_block
    end = first + valid_share.size * config.slots_per_block
    for slot in range(first, end):
        left = slots.size - drawn
        share = valid_share[(slot - first) // config.slots_per_block]
        # In the end there must be just enough: no slot may be passed over any more.
        if left and (left == end - slot or generator.random() < share):
            slots[drawn] = slot
            drawn += 1
    return slots


@njit()
def _shuffle(generator: np.random.Generator, values: NDArray[np.int32]) -> None:
    for last in range(values.size - 1, 0, -1):
        other = _below(generator, last + 1)
        value = values[last]
        values[last] = values[other]
        values[other] = value


@njit()
def _below(generator: np.random.Generator, limit: int) -> int:
    """A number from 0 to below ``limit``, up to 2**31: ``integers`` takes ten times as long."""
    return int(generator.random() * limit)
