# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading ahead: the heads go on after a read. Compiled.

They stop when a command comes, or when there is enough.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.disk.kernels.cache import extend_segment
from freezingtime.device.disk.kernels.mechanics import move_ns, track_of, transfer
from freezingtime.device.disk.state import Activity, DiskState
from freezingtime.units import NEVER_NS


@njit(cache=True)
def want_ahead(disk: DiskState, segment: int, end_lba: int) -> None:
    """A read of ``segment`` ended at ``end_lba``: read on from there when the arm is free.

    A hit asks for more only when half of what was read ahead is used up, and never draws an arm
    away that reads ahead elsewhere.
    """
    drive, arm = disk.core[0].drive, disk.core[0].arm
    if arm.activity == Activity.AHEAD and arm.target != segment:
        return
    amount = drive.read_ahead_sectors
    known = segment == arm.ahead_segment
    reach_lba = arm.ahead_end_lba if known else disk.segments[segment].end_lba
    if 2 * (reach_lba - end_lba) > amount:
        return
    arm.ahead_segment = segment
    arm.ahead_end_lba = min(end_lba + amount, drive.sectors)
    if arm.activity == Activity.AHEAD:
        _set_end(disk)


@njit(cache=True)
def start_ahead(disk: DiskState, now_ns: int) -> None:
    """Begin to read ahead with an idle arm, if there is anything to read."""
    arm = disk.core[0].arm
    if arm.ahead_segment < 0:
        return
    segment = disk.segments[arm.ahead_segment]
    if segment.end_lba >= arm.ahead_end_lba:
        return
    cylinder, head = track_of(disk, segment.end_lba)
    arm.ahead_ns = now_ns + move_ns(disk, cylinder, head, False)
    arm.ahead_lba = segment.end_lba
    arm.activity = Activity.AHEAD
    arm.target = arm.ahead_segment
    arm.cylinder, arm.head = cylinder, head
    _set_end(disk)


@njit(cache=True)
def note_ahead(disk: DiskState, now_ns: int) -> bool:
    """Bring the segment that is being read ahead to the present.

    Returns whether the head is inside a sector.
    """
    arm = disk.core[0].arm
    if now_ns <= arm.ahead_ns:
        return False
    sectors = arm.ahead_end_lba - arm.ahead_lba
    lba, time_ns, track, inside = transfer(disk, arm.ahead_lba, sectors, arm.ahead_ns, now_ns)
    disk.core[0].counters.sectors_read_ahead += lba - arm.ahead_lba
    arm.ahead_lba = lba
    arm.ahead_ns = time_ns
    arm.next_lba = lba
    arm.cylinder = track // disk.core[0].drive.heads
    arm.head = track % disk.core[0].drive.heads
    extend_segment(disk, arm.target, lba)
    return inside


@njit(cache=True)
def interrupt_ahead(disk: DiskState, now_ns: int) -> None:
    """Stop reading ahead at the end of the sector under the head."""
    arm = disk.core[0].arm
    inside = note_ahead(disk, now_ns)
    arm.ahead_segment = -1
    arm.activity = Activity.IDLE
    if inside:
        arm.activity = Activity.LAST_SECTOR
        arm.end_ns = transfer(disk, arm.ahead_lba, 1, arm.ahead_ns, NEVER_NS)[1]


@njit(cache=True)
def end_last_sector(disk: DiskState) -> None:
    """The sector at which reading ahead was interrupted is read too."""
    arm = disk.core[0].arm
    # A write may have made the segment stale meanwhile.
    if disk.segments[arm.target].end_lba == arm.ahead_lba:
        arm.next_lba = arm.ahead_lba + 1
        extend_segment(disk, arm.target, arm.next_lba)
        disk.core[0].counters.sectors_read_ahead += 1


@njit(cache=True)
def end_ahead(disk: DiskState) -> None:
    """Enough was read ahead."""
    arm = disk.core[0].arm
    disk.core[0].counters.sectors_read_ahead += arm.ahead_end_lba - arm.ahead_lba
    extend_segment(disk, arm.target, arm.ahead_end_lba)
    arm.next_lba = arm.ahead_end_lba
    arm.cylinder, arm.head = track_of(disk, arm.ahead_end_lba - 1)


@njit(cache=True)
def _set_end(disk: DiskState) -> None:
    arm = disk.core[0].arm
    sectors = arm.ahead_end_lba - arm.ahead_lba
    arm.end_ns = transfer(disk, arm.ahead_lba, sectors, arm.ahead_ns, NEVER_NS)[1]
