# SPDX-License-Identifier: GPL-2.0-or-later
"""History of an SSD before time 0, applied without its time passing. Compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.flash.kernel_compiler import entry, inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.ftl.collection import fold, take_debt
from freezingtime.device.flash.kernels.ftl.ftl import place, take_open_slots
from freezingtime.device.flash.kernels.ftl.map import map_unit, put_into, unit_of
from freezingtime.device.flash.layout import NONE, Role

#: How many units a lane gets on average until the fullest is looked for again.
_DEALS_PER_LANE = 16


@entry()
def write_sequentially(ssd: int) -> None:
    """Write every unit once, in order."""
    for unit in range(memory.config(ssd).units):
        _write(ssd, unit)


@entry()
def write_randomly(ssd: int, generator: np.random.Generator, writes: int) -> None:
    """Overwrite units drawn uniformly."""
    units = memory.config(ssd).units
    for _ in range(writes):
        _write(ssd, _below(generator, units))


@entry()
def fold_all(ssd: int) -> None:
    """Empty the SLC cache, but for open blocks."""
    for lane_id in range(memory.config(ssd).lanes):
        lane = memory.lanes(ssd)[lane_id]
        while lane.slc_closed:
            fold(ssd, lane_id)
        while lane.debt_share:
            take_debt(ssd, lane_id)


@entry()
def scatter(
    ssd: int,
    generator: np.random.Generator,
    units_of_lane: NDArray[np.int64],
    oldest_share: NDArray[np.float64],
    left_share: float,
) -> None:
    """Put all units in random places of closed blocks.

    ``units_of_lane`` says how many units each lane takes: with static allocation, as many as
    are striped to it. With dynamic allocation a unit may be on any lane, but for a
    ``left_share``, which stays where it was striped to. ``oldest_share`` is the valid share of
    each lane's oldest block; from the youngest to that one it falls exponentially.
    """
    config = memory.config(ssd)
    _deal(ssd, generator, units_of_lane, left_share)
    for lane_id in range(config.lanes):
        _close_blocks(ssd, lane_id, oldest_share[lane_id])
        slots = _draw_slots(ssd, generator, lane_id, units_of_lane[lane_id], oldest_share[lane_id])
        _shuffle(generator, slots)
        units = _pick_up(ssd, lane_id, slots.size)
        for index in range(slots.size):
            map_unit(ssd, units[index], slots[index])


@entry()
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


@inner
def _write(ssd: int, unit: int) -> None:
    lane_id = place(ssd, unit)
    lane = memory.lanes(ssd)[lane_id]
    memory.counters(ssd).host_units += 1
    if lane.host_slot - lane.host_open == lane.host_program:
        take_open_slots(ssd, lane_id)
        take_debt(ssd, lane_id)


@inner
def _deal(
    ssd: int, generator: np.random.Generator, units_of_lane: NDArray[np.int64], left_share: float
) -> None:
    """Give each unit a lane; until they are mapped, a lane's units lie in its first slots.

    Going through the units in order, and later through the lanes, is what makes it fast: no
    part of the maps is visited at random that is larger than a lane's.
    """
    config = memory.config(ssd)
    end_of_lane = np.arange(config.lanes) * (config.blocks_per_lane * config.slots_per_block)
    # What is written in order goes to the next lane page by page, or program by program.
    stripe = config.slots_per_program if config.dynamic else config.slots_per_sense
    left = units_of_lane.copy()
    most_left = 0
    for unit in range(config.units):
        if unit % (_DEALS_PER_LANE * config.lanes) == 0:
            most_left = int(left.max())
        lane_id = unit // stripe % config.lanes
        if config.dynamic and (left[lane_id] == 0 or generator.random() >= left_share):
            lane_id = _draw_lane(generator, left, most_left)
        left[lane_id] -= 1
        put_into(ssd, end_of_lane[lane_id], unit)
        end_of_lane[lane_id] += 1


@inner
def _draw_lane(generator: np.random.Generator, left: NDArray[np.int64], most_left: int) -> int:
    """A lane, with the probability of its share of all that is left.

    Each lane has ``most_left`` tickets, of which as many win as are left of it.
    """
    while True:
        ticket = _below(generator, left.size * most_left)
        lane_id = ticket // most_left
        if ticket - lane_id * most_left < left[lane_id]:
            return int(lane_id)


@inner
def _pick_up(ssd: int, lane_id: int, count: int) -> NDArray[np.int64]:
    """The units that were dealt to a lane, in order; its slots are empty again."""
    config = memory.config(ssd)
    first = lane_id * config.blocks_per_lane * config.slots_per_block
    units = np.empty(count, np.int64)
    for index in range(count):
        units[index] = unit_of(ssd, first + index)
        put_into(ssd, first + index, NONE)
    return units


@inner
def _close_blocks(ssd: int, lane_id: int, oldest_share: float) -> None:
    """Take the first of a lane's free blocks as if they had been written, the youngest first.

    Of what was valid, a share of exp(-1) stays so while as many units are overwritten as there
    are: so their ages follow from their valid shares.
    """
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    blocks = memory.blocks(ssd)
    first = lane_id * config.blocks_per_lane
    for block_id in range(first, first + _closed_count(ssd)):
        block = blocks[block_id]
        block.role = Role.CLOSED
        valid_share = _valid_share(ssd, block_id - first, oldest_share)
        block.closed_at = int(np.log(valid_share) * config.units)
        lane.free_head = block.next
        lane.free_count -= 1


@inner
def _closed_count(ssd: int) -> int:
    """How many blocks of a lane are closed: all but free ones and a frontier."""
    config = memory.config(ssd)
    return int(config.lane_slots_max // config.slots_per_block + 1)


@inner
def _valid_share(ssd: int, number: int, oldest_share: float) -> float:
    """The valid share of the block with this number among a lane's, from the youngest on."""
    return float(oldest_share ** ((number + 0.5) / _closed_count(ssd)))


@inner
def _draw_slots(
    ssd: int, generator: np.random.Generator, lane_id: int, count: int, oldest_share: float
) -> NDArray[np.int64]:
    """So many of a lane's slots, from each block the share that it is to hold.

    The shares must come to about ``count`` slots: the last block makes up for the difference.
    Greedy collection lets the valid shares of blocks of an age differ little: it takes those
    that are emptier than others before they are as old as those.
    """
    config = memory.config(ssd)
    slots = np.empty(count, np.int64)
    drawn = 0
    first = lane_id * config.blocks_per_lane * config.slots_per_block
    end = first + _closed_count(ssd) * config.slots_per_block
    wanted = 0
    for slot in range(first, end):
        place = slot % config.slots_per_block
        if place == 0:
            share = _valid_share(ssd, (slot - first) // config.slots_per_block, oldest_share)
            wanted = min(count - drawn, int(share * config.slots_per_block + generator.random()))
        left = count - drawn
        # In the end there must be just enough: no slot may be passed over any more.
        if left == end - slot or generator.random() * (config.slots_per_block - place) < wanted:
            slots[drawn] = slot
            drawn += 1
            wanted -= 1
    return slots


@inner
def _shuffle(generator: np.random.Generator, values: NDArray[np.int64]) -> None:
    for last in range(values.size - 1, 0, -1):
        other = _below(generator, last + 1)
        value = values[last]
        values[last] = values[other]
        values[other] = value


@inner
def _below(generator: np.random.Generator, limit: int) -> int:
    """A number from 0 to below ``limit``, up to 2**52: ``integers`` takes ten times as long."""
    return int(generator.random() * limit)
