# SPDX-License-Identifier: GPL-2.0-or-later
"""Choice of the arm's next action. Compiled.

Shortest positioning time first (Jacobson and Wilkes, HPL-CSP-91-7, 1991; Worthington, Ganger
and Patt, "Scheduling Algorithms for Modern Disk Drives", SIGMETRICS 1994) with a time limit
after which the oldest request goes first, the way against starvation that both papers name.
First come first served is the same with a time limit of 0.

Requests that continue each other are served in ascending order, and what continues the last
transfer goes before everything that is not too old: at the end of a track a later request of
the same stream may be nearer, and the stream would fall apart. The latter paper proposes this.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.disk.kernels.mechanics import start_ns
from freezingtime.device.disk.state import DiskState, Phase
from freezingtime.request import Operation
from freezingtime.units import NEVER_NS


@njit(cache=True)
def choose(disk: DiskState, now_ns: int) -> tuple[int, int]:
    """The slot and the extent to serve next; -1 for none, and one of the two always is -1."""
    pending, waiting, oldest = _survey(disk)
    if oldest >= 0:
        slot = disk.slots[oldest]
        if now_ns - slot.admitted_ns >= _age_limit_ns(disk):
            if slot.phase == Phase.PENDING:
                return oldest, -1
            return -1, _choose_extent(disk, now_ns)[0]
    extent, extent_start_ns = -1, NEVER_NS
    if disk.core[0].arm.buffered_extents and (pending == 0 or waiting > 0 or _buffer_fills(disk)):
        extent, extent_start_ns = _choose_extent(disk, now_ns)
    if pending == 0:
        return -1, extent
    slot_index, slot_start_ns = _choose_slot(disk, now_ns)
    if slot_start_ns <= extent_start_ns:
        return slot_index, -1
    return -1, extent


@njit(cache=True)
def has_work(disk: DiskState) -> bool:
    """Whether anything but reading ahead waits for the arm."""
    return disk.core[0].arm.buffered_extents > 0 or _survey(disk)[0] > 0


@njit(cache=True)
def _age_limit_ns(disk: DiskState) -> int:
    drive = disk.core[0].drive
    return drive.age_limit_ns if drive.shortest_positioning_first else 0


@njit(cache=True)
def _buffer_fills(disk: DiskState) -> bool:
    """From three quarters on, writing back competes with reads."""
    arm = disk.core[0].arm
    if 4 * arm.buffered_extents >= 3 * len(disk.extents):
        return True
    return bool(4 * arm.buffered_sectors >= 3 * disk.core[0].drive.write_buffer_sectors)


@njit(cache=True)
def _survey(disk: DiskState) -> tuple[int, int, int]:
    """Count the requests that wait for the arm and for the write buffer; find the oldest."""
    pending, waiting, oldest = 0, 0, -1
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        if slot.phase == Phase.PENDING:
            pending += 1
        elif slot.phase == Phase.STALLED or slot.phase == Phase.FLUSHING:
            # A flush may wait for a write that goes straight to the platters.
            if disk.core[0].arm.buffered_extents == 0:
                continue
            waiting += 1
        else:
            continue
        if oldest < 0 or slot.sequence < disk.slots[oldest].sequence:
            oldest = index
    return pending, waiting, oldest


@njit(cache=True)
def _choose_slot(disk: DiskState, now_ns: int) -> tuple[int, int]:
    best, best_ns = -1, NEVER_NS
    next_lba = disk.core[0].arm.next_lba
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        if slot.phase == Phase.PENDING:
            if slot.media_lba == next_lba:
                return index, now_ns
            begin_ns = start_ns(disk, slot, slot.operation != Operation.READ, now_ns, best_ns)
            if begin_ns < best_ns:
                best, best_ns = index, begin_ns
    return _first_of_run(disk, best), best_ns


@njit(cache=True)
def _first_of_run(disk: DiskState, index: int) -> int:
    """Of the pending requests that lead up to this one without a gap, the first."""
    first_lba = disk.slots[index].media_lba
    number = 0
    while number < len(disk.slots):
        slot = disk.slots[number]
        if slot.phase == Phase.PENDING and slot.media_lba + slot.media_sectors == first_lba:
            index, first_lba, number = number, slot.media_lba, 0
        else:
            number += 1
    return index


@njit(cache=True)
def _choose_extent(disk: DiskState, now_ns: int) -> tuple[int, int]:
    # To a log, everything goes to the same place: the oldest first.
    drive = disk.core[0].drive
    shortest_first = drive.shortest_positioning_first and not drive.shingled
    best, best_ns, best_key = -1, NEVER_NS, NEVER_NS
    for index in range(len(disk.extents)):
        extent = disk.extents[index]
        if extent.sectors == 0:
            continue
        if shortest_first and extent.lba == disk.core[0].arm.next_lba:
            return index, now_ns
        bound_ns = best_ns if shortest_first else NEVER_NS
        begin_ns = start_ns(disk, extent, True, now_ns, bound_ns)
        key = begin_ns if shortest_first else extent.sequence
        if key < best_key:
            best, best_ns, best_key = index, begin_ns, key
    return best, best_ns
