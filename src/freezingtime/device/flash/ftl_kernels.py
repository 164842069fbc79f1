"""The flash translation layer: where units are, write frontiers, garbage collection. Compiled.

Everything here happens at once; what it costs is booked on the lane as debt, which the
timing kernels give to the server bit by bit. Garbage collection stays inside its lane.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.flash import memory_kernels as memory
from freezingtime.device.flash.state import NONE, Role

_FREE = int(Role.FREE)
_HOST = int(Role.HOST)
_GC = int(Role.GC)
_CLOSED = int(Role.CLOSED)


@njit()
def slot_of(ssd: int, unit: int) -> int:
    """Where a unit is, or NONE."""
    return int(memory.slot_of_unit(ssd)[unit]) - 1


@njit()
def is_buffered(ssd: int, slot: int) -> bool:
    """Whether the slot's data are still in the write buffer.

    What is being moved by garbage collection still lies in its old place, on the same die.
    """
    slots_per_block = memory.config(ssd).slots_per_block
    block = memory.blocks(ssd)[slot // slots_per_block]
    return not block.moved and slot % slots_per_block >= block.programmed


@njit()
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


@njit()
def unmap(ssd: int, unit: int) -> int:
    """Forget where a unit is; its slot, which is returned, becomes garbage."""
    slot = slot_of(ssd, unit)
    if slot != NONE:
        config = memory.config(ssd)
        block_id = slot // config.slots_per_block
        memory.slot_of_unit(ssd)[unit] = 0
        memory.unit_of_slot(ssd)[slot] = 0
        memory.blocks(ssd)[block_id].valid -= 1
        memory.lanes(ssd)[block_id // config.blocks_per_lane].valid -= 1
    return slot


@njit()
def map_unit(ssd: int, unit: int, slot: int) -> None:
    """Let a unit that is nowhere be in a slot that is empty."""
    config = memory.config(ssd)
    block_id = slot // config.slots_per_block
    memory.slot_of_unit(ssd)[unit] = slot + 1
    memory.unit_of_slot(ssd)[slot] = unit + 1
    memory.blocks(ssd)[block_id].valid += 1
    memory.lanes(ssd)[block_id // config.blocks_per_lane].valid += 1


@njit()
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


@njit()
def take_open_slots(ssd: int, lane_id: int) -> None:
    """Close the open slots of a lane; those that a program has beyond them stay empty."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    lane.host_open += config.slots_per_program
    lane.host_slot = lane.host_open
    if lane.host_slot == config.slots_per_block:
        _close(ssd, lane.host_block)
        lane.host_block = NONE
    if config.dynamic:
        _stripe_on(ssd)


@njit()
def take_debt(ssd: int, lane_id: int) -> tuple[int, int, int, int]:
    """The lane's garbage collection that falls to the next program of the host.

    Page reads, units in them, programs, erases. All of it, or spread evenly over as many
    programs as the freed space serves.
    """
    lane = memory.lanes(ssd)[lane_id]
    share = 1 if memory.config(ssd).gc_burst else max(1, lane.debt_share)
    reads = _portion(lane.debt_reads, share)
    units = _portion(lane.debt_units, share)
    programs = _portion(lane.debt_programs, share)
    erases = _portion(lane.debt_erases, share)
    lane.debt_reads -= reads
    lane.debt_units -= units
    lane.debt_programs -= programs
    lane.debt_erases -= erases
    lane.debt_share = share - 1
    return reads, units, programs, erases


@njit()
def _portion(debt: int, share: int) -> int:
    """A share of a debt, rounded now up, now down; the last share is all of it.

    Multiples of the golden ratio are evenly spread: so are the portions.
    """
    whole = debt // share
    rest = debt - whole * share
    threshold = share * 40503 % 65536
    return int(whole + (rest * 65536 > threshold * share))


@njit()
def _lane_for(ssd: int, unit: int) -> int:
    config = memory.config(ssd)
    if config.dynamic:
        return int(memory.totals(ssd).stripe_lane)
    return int(unit // config.slots_per_sense % config.lanes)


@njit()
def _stripe_on(ssd: int) -> None:
    """Go on to the next lane that may take a program's worth of valid slots."""
    config = memory.config(ssd)
    totals = memory.totals(ssd)
    for _ in range(config.lanes):
        totals.stripe_lane = (totals.stripe_lane + 1) % config.lanes
        lane = memory.lanes(ssd)[totals.stripe_lane]
        if lane.valid + config.slots_per_program <= config.lane_slots_max:
            break


@njit()
def _open_host_block(ssd: int, lane_id: int) -> None:
    lane = memory.lanes(ssd)[lane_id]
    lane.host_block = _take_free_block(ssd, lane_id, _HOST)
    lane.host_slot = 0
    lane.host_open = 0
    while lane.free_count < memory.config(ssd).gc_free_blocks:
        _collect(ssd, lane_id)


@njit()
def _take_free_block(ssd: int, lane_id: int, role: int) -> int:
    """The block that has been free for longest: erasures go round."""
    lane = memory.lanes(ssd)[lane_id]
    block_id = lane.free_head
    block = memory.blocks(ssd)[block_id]
    lane.free_head = block.next
    lane.free_count -= 1
    block.role = role
    block.moved = role == _GC
    block.programmed = 0
    return int(block_id)


@njit()
def _close(ssd: int, block_id: int) -> None:
    block = memory.blocks(ssd)[block_id]
    block.role = _CLOSED
    block.closed_at = memory.totals(ssd).host_units


@njit()
def _collect(ssd: int, lane_id: int) -> None:
    """Move the valid units out of one block and erase it."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    victim_id = _victim(ssd, lane_id)
    valid = memory.blocks(ssd)[victim_id].valid
    first = victim_id * config.slots_per_block
    sensed = NONE
    for slot in range(first, first + config.slots_per_block):
        unit = int(memory.unit_of_slot(ssd)[slot]) - 1
        if unit == NONE:
            continue
        if slot // config.slots_per_sense != sensed:
            sensed = slot // config.slots_per_sense
            lane.debt_reads += 1
        _move(ssd, lane_id, unit)
    lane.debt_units += valid
    lane.debt_share += (config.slots_per_block - valid) // config.slots_per_program
    memory.totals(ssd).collections += 1
    _erase(ssd, lane_id, victim_id)


@njit()
def _victim(ssd: int, lane_id: int) -> int:
    """The closed block to be collected.

    Greedy: the one with the fewest valid units. Cost-benefit: the greatest
    age x (1 - u) / 2u with u the valid share (Kawaguchi et al., "A Flash-Memory Based File
    System", USENIX 1995).
    """
    config = memory.config(ssd)
    first = lane_id * config.blocks_per_lane
    best_id = NONE
    best_score = -1.0
    for block_id in range(first, first + config.blocks_per_lane):
        block = memory.blocks(ssd)[block_id]
        garbage = config.slots_per_block - block.valid
        if block.role != _CLOSED or garbage == 0:
            continue
        if config.cost_benefit:
            age = memory.totals(ssd).host_units - block.closed_at + 1
            score = age * garbage / (2 * block.valid + 1e-9)
        else:
            score = float(garbage)
        if score > best_score:
            best_score = score
            best_id = block_id
    if best_id == NONE:
        raise RuntimeError("a lane of the SSD has neither free space nor garbage")
    return best_id


@njit()
def _move(ssd: int, lane_id: int, unit: int) -> None:
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    unmap(ssd, unit)
    if lane.gc_block == NONE:
        lane.gc_block = _take_free_block(ssd, lane_id, _GC)
        lane.gc_slot = 0
    map_unit(ssd, unit, lane.gc_block * config.slots_per_block + lane.gc_slot)
    lane.gc_slot += 1
    if lane.gc_slot % config.slots_per_program == 0:
        lane.debt_programs += 1
    if lane.gc_slot == config.slots_per_block:
        _close(ssd, lane.gc_block)
        lane.gc_block = NONE


@njit()
def _erase(ssd: int, lane_id: int, block_id: int) -> None:
    lane = memory.lanes(ssd)[lane_id]
    block = memory.blocks(ssd)[block_id]
    block.role = _FREE
    block.erases += 1
    block.next = NONE
    if lane.free_count == 0:
        lane.free_head = block_id
    else:
        memory.blocks(ssd)[lane.free_tail].next = block_id
    lane.free_tail = block_id
    lane.free_count += 1
    lane.debt_erases += 1
