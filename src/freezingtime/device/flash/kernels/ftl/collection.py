# SPDX-License-Identifier: GPL-2.0-or-later
"""Garbage collection, folding, and the free blocks that come of them. Compiled.

Everything here happens at once; what it costs is booked on the lane as debt, which the host's
programs take with them bit by bit. Nothing that is moved leaves its lane.
"""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.ftl.map import map_unit, unit_of, unmap
from freezingtime.device.flash.kernels.ftl.translation_cache import note_change
from freezingtime.device.flash.layout import NONE, Role


@inner
def collect(ssd: int, lane_id: int) -> None:
    """Make blocks free until there are as many as there must be."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    while lane.free_count < config.gc_free_blocks:
        victim_id = _victim(ssd, lane_id)
        if lane.slc_closed and lane.slc_blocks > config.slc_blocks:
            victim_id = _emptier(ssd, victim_id, _oldest_cached(ssd, lane_id))
        if victim_id == NONE:
            raise RuntimeError("a lane of the SSD has neither free space nor garbage")
        victim = memory.blocks(ssd)[victim_id]
        if victim.slc:
            memory.counters(ssd).folds += 1
        else:
            memory.counters(ssd).collections += 1
        garbage = config.slots_per_block - victim.valid
        lane.debt_share += garbage // config.slots_per_program
        empty(ssd, lane_id, victim_id)


@inner
def _emptier(ssd: int, block_id: int, cached_id: int) -> int:
    """The one of a block, or NONE, and one of the SLC cache that has less to be moved."""
    if block_id == NONE:
        return cached_id
    blocks = memory.blocks(ssd)
    return cached_id if blocks[cached_id].valid <= blocks[block_id].valid else block_id


@inner
def has_garbage(ssd: int, lane_id: int) -> bool:
    """Whether there is a block to be collected."""
    return _victim(ssd, lane_id) != NONE


@inner
def collect_ahead(ssd: int, lane_id: int) -> None:
    """Make one more block free, in steps of about a program; there must be garbage."""
    victim_id = _victim(ssd, lane_id)
    valid = memory.blocks(ssd)[victim_id].valid
    lane = memory.lanes(ssd)[lane_id]
    lane.debt_share += valid // memory.config(ssd).slots_per_program + 1
    empty(ssd, lane_id, victim_id)
    counters = memory.counters(ssd)
    counters.collections += 1
    counters.idle_collections += 1


@inner
def fold(ssd: int, lane_id: int) -> None:
    """Move what is in the oldest closed block of the SLC cache into ordinary blocks."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    oldest_id = _oldest_cached(ssd, lane_id)
    valid = memory.blocks(ssd)[oldest_id].valid
    lane.debt_share += valid // config.slots_per_program + 1
    empty(ssd, lane_id, oldest_id)
    collect(ssd, lane_id)
    memory.counters(ssd).folds += 1


@inner
def take_free_block(ssd: int, lane_id: int, role: int) -> int:
    """The block that has been free for longest: erasures go round."""
    lane = memory.lanes(ssd)[lane_id]
    block_id = lane.free_head
    block = memory.blocks(ssd)[block_id]
    lane.free_head = block.next
    lane.free_count -= 1
    block.role = role
    block.moved = role == Role.GC
    block.slc = 0
    block.programmed = 0
    return int(block_id)


@inner
def close_block(ssd: int, block_id: int) -> None:
    block = memory.blocks(ssd)[block_id]
    block.role = Role.CLOSED
    block.closed_at = memory.counters(ssd).host_units


@inner
def take_debt(ssd: int, lane_id: int) -> tuple[int, int, int, int, int]:
    """The lane's garbage collection that falls to the next program of the host.

    Page reads, units in them, programs, those that fold, erases. All of it, or spread evenly
    over as many programs as the freed space serves.
    """
    lane = memory.lanes(ssd)[lane_id]
    share = 1 if memory.config(ssd).gc_burst else max(1, lane.debt_share)
    reads = _portion(lane.debt_reads, share)
    units = _portion(lane.debt_units, share)
    programs = _portion(lane.debt_programs, share)
    folds = _portion(lane.debt_folds, share)
    erases = _portion(lane.debt_erases, share)
    lane.debt_reads -= reads
    lane.debt_units -= units
    lane.debt_programs -= programs
    lane.debt_folds -= folds
    lane.debt_erases -= erases
    lane.debt_share = share - 1
    return reads, units, programs, folds, erases


@inner
def _portion(debt: int, share: int) -> int:
    """A share of a debt, rounded now up, now down; the last share is all of it.

    Multiples of the golden ratio are evenly spread: so are the portions.
    """
    whole = debt // share
    rest = debt - whole * share
    threshold = share * 40503 % 65536
    return int(whole + (rest * 65536 > threshold * share))


@inner
def _victim(ssd: int, lane_id: int) -> int:
    """The closed block to be collected, or NONE if all are full of valid units.

    Greedy: the one with the fewest valid units. Cost-benefit: the greatest
    age x (1 - u) / 2u with u the valid share (Kawaguchi et al., "A Flash-Memory Based File
    System", USENIX 1995).
    """
    config = memory.config(ssd)
    first = lane_id * config.blocks_per_lane
    best_id = NONE
    best_score = -1.0
    blocks = memory.blocks(ssd)
    counters = memory.counters(ssd)
    for block_id in range(first, first + config.blocks_per_lane):
        block = blocks[block_id]
        garbage = config.slots_per_block - block.valid
        if block.role != Role.CLOSED or garbage == 0 or block.slc:
            continue
        if config.cost_benefit:
            age = counters.host_units - block.closed_at + 1
            score = age * garbage / (2 * block.valid + 1e-9)
        else:
            score = float(garbage)
        if score > best_score:
            best_score = score
            best_id = block_id
    return best_id


@inner
def _oldest_cached(ssd: int, lane_id: int) -> int:
    """The closed block of the SLC cache that was closed first."""
    config = memory.config(ssd)
    first = lane_id * config.blocks_per_lane
    oldest_id = NONE
    closed_at = 0
    blocks = memory.blocks(ssd)
    for block_id in range(first, first + config.blocks_per_lane):
        block = blocks[block_id]
        if (
            block.slc
            and block.role == Role.CLOSED
            and (oldest_id == NONE or block.closed_at < closed_at)
        ):
            oldest_id = block_id
            closed_at = block.closed_at
    return oldest_id


@inner
def empty(ssd: int, lane_id: int, victim_id: int) -> None:
    """Move the valid units out of a block and erase it."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    valid = memory.blocks(ssd)[victim_id].valid
    first = victim_id * config.slots_per_block
    sensed = NONE
    for slot in range(first, first + config.slots_per_block):
        unit = unit_of(ssd, slot)
        if unit == NONE:
            continue
        if slot // config.slots_per_sense != sensed:
            sensed = slot // config.slots_per_sense
            lane.debt_reads += 1
        _move(ssd, lane_id, unit, memory.blocks(ssd)[victim_id].slc)
    lane.debt_units += valid
    _erase(ssd, lane_id, victim_id)


@inner
def _move(ssd: int, lane_id: int, unit: int, folds: int) -> None:
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    unmap(ssd, unit)
    note_change(ssd, unit)
    if lane.gc_block == NONE:
        lane.gc_block = take_free_block(ssd, lane_id, Role.GC)
        lane.gc_slot = 0
    map_unit(ssd, unit, lane.gc_block * config.slots_per_block + lane.gc_slot)
    lane.gc_slot += 1
    if lane.gc_slot % config.slots_per_program == 0:
        if folds:
            lane.debt_folds += 1
        else:
            lane.debt_programs += 1
    if lane.gc_slot == config.slots_per_block:
        close_block(ssd, lane.gc_block)
        lane.gc_block = NONE


@inner
def _erase(ssd: int, lane_id: int, block_id: int) -> None:
    lane = memory.lanes(ssd)[lane_id]
    blocks = memory.blocks(ssd)
    block = blocks[block_id]
    block.role = Role.FREE
    block.erases += 1
    block.next = NONE
    lane.slc_blocks -= block.slc
    lane.slc_closed -= block.slc
    if lane.free_count == 0:
        lane.free_head = block_id
    else:
        blocks[lane.free_tail].next = block_id
    lane.free_tail = block_id
    lane.free_count += 1
    lane.debt_erases += 1
