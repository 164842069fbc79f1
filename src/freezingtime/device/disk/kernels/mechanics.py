# SPDX-License-Identifier: GPL-2.0-or-later
"""Arm, heads and platter: where they get when. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.device.disk import geometry, rotation, seek
from freezingtime.device.disk.state import DiskState, Record
from freezingtime.units import NEVER_NS

TURN = rotation.TURN

_angle_at = njit(cache=True)(rotation.angle_at)
_wait_ns = njit(cache=True)(rotation.wait_ns)
_seek_ns = njit(cache=True)(seek.seek_ns)
_locate_sector = njit(cache=True)(geometry.locate_sector)
_track_angle = njit(cache=True)(geometry.track_angle)


@njit(cache=True)
def _shift(drive: Record, lba: int) -> int:
    """Return how far a sector lies behind its number: persistent cache and safe copy lie between.

    These two have the numbers beyond the logical sectors.
    """
    if lba < drive.cache_at_lba and lba < drive.sectors:
        return 0
    if lba < drive.sectors:
        return int(drive.persistent_sectors)
    return int(drive.cache_at_lba - drive.sectors)


@njit(cache=True)
def place(disk: DiskState, item: Record, lba: int) -> None:
    """Note cylinder, head and angle of ``lba`` in a slot or extent."""
    drive = disk.core[0].drive
    lba += _shift(drive, lba)
    track, sector, sectors_per_track = _locate_sector(disk.zones, lba)
    skew = _track_angle(track, drive.heads, drive.track_skew, drive.cylinder_skew)
    item.cylinder = track // drive.heads
    item.head = track % drive.heads
    item.angle = (skew + sector * TURN // sectors_per_track) % TURN


@njit(cache=True)
def track_of(disk: DiskState, lba: int) -> tuple[int, int]:
    """The cylinder and head of ``lba``."""
    heads = disk.core[0].drive.heads
    track = _locate_sector(disk.zones, lba + _shift(disk.core[0].drive, lba))[0]
    return track // heads, track % heads


@njit(cache=True)
def move_ns(disk: DiskState, cylinder: int, head: int, is_write: bool) -> int:
    """The time that arm and head selection take to get to a track; 0 if they are there."""
    drive, arm = disk.core[0].drive, disk.core[0].arm
    if cylinder == arm.cylinder and head == arm.head:
        return 0
    move = _seek_ns(disk.core[0].seek, abs(cylinder - arm.cylinder))
    if head != arm.head:
        move = max(move, drive.head_switch_ns)
    if is_write:
        move += drive.write_settle_ns
    return int(move)


@njit(cache=True)
def start_ns(disk: DiskState, item: Record, is_write: bool, now_ns: int, bound_ns: int) -> int:
    """Return the time at which a transfer at the place of a slot or extent would begin.

    Anything from ``bound_ns`` on may come out as ``bound_ns``, which spares most of the work.
    """
    drive = disk.core[0].drive
    settled_ns = now_ns + move_ns(disk, item.cylinder, item.head, is_write)
    ready_ns = max(settled_ns, item.eligible_ns)
    if ready_ns >= bound_ns:
        return bound_ns
    angle = _angle_at(ready_ns, drive.rpm, drive.phase)
    return int(ready_ns + _wait_ns(angle, item.angle, drive.rpm))


@njit(cache=True)
def begin(
    disk: DiskState, item: Record, lba: int, sectors: int, is_write: bool, now_ns: int
) -> None:
    """Move the arm and transfer; ``item`` is the slot or extent, placed at ``lba``."""
    arm, counters = disk.core[0].arm, disk.core[0].counters
    movement_ns = move_ns(disk, item.cylinder, item.head, is_write)
    begin_ns = start_ns(disk, item, is_write, now_ns, NEVER_NS)
    ready_ns = max(now_ns + movement_ns, item.eligible_ns)
    if item.cylinder != arm.cylinder:
        counters.seeks += 1
        counters.seek_ns += movement_ns
    arm.next_lba, end_ns, track, _ = transfer(disk, lba, sectors, ready_ns, NEVER_NS)
    counters.media_operations += 1
    counters.rotation_ns += begin_ns - ready_ns
    counters.transfer_ns += end_ns - begin_ns
    arm.cylinder = track // disk.core[0].drive.heads
    arm.head = track % disk.core[0].drive.heads
    arm.end_ns = end_ns


@njit(cache=True)
def transfer(
    disk: DiskState, lba: int, sectors: int, now_ns: int, stop_ns: int
) -> tuple[int, int, int, bool]:
    """Pass the sectors from ``lba`` on under the heads, which are on its track at ``now_ns``.

    Returns ``(next lba, time, track, inside a sector)``. Either all is done: the first sector
    after them, and when the last one ended. Or ``stop_ns`` came before that: the sector then
    under the head, and when it began; between tracks, the one that comes next, and the time
    from which on the head is on its track.
    """
    drive = disk.core[0].drive
    rpm = drive.rpm
    shift = _shift(drive, lba)
    lba += shift
    while True:
        track, sector, sectors_per_track = _locate_sector(disk.zones, lba)
        skew = _track_angle(track, drive.heads, drive.track_skew, drive.cylinder_skew)
        first_angle = sector * TURN // sectors_per_track
        angle = _angle_at(now_ns, rpm, drive.phase)
        begin_ns = now_ns + _wait_ns(angle, (skew + first_angle) % TURN, rpm)
        # Times are rounded to ns, angles are not: start from the angle, or the error adds up.
        late = (_angle_at(begin_ns, rpm, drive.phase) - skew - first_angle) % TURN
        count = min(sectors, sectors_per_track - sector)
        length = (sector + count) * TURN // sectors_per_track - first_angle
        end_ns = begin_ns + (length - late + rpm - 1) // rpm
        if stop_ns < begin_ns:
            return lba - shift, now_ns, track, False
        if stop_ns < end_ns:
            passed = ((stop_ns - begin_ns) * rpm + late) * sectors_per_track // TURN
            passed = min(passed, count - 1)
            passed_angle = (sector + passed) * TURN // sectors_per_track - first_angle
            passed_ns = begin_ns + max(0, passed_angle - late + rpm - 1) // rpm
            return lba + passed - shift, passed_ns, track, True
        lba += count
        sectors -= count
        if sectors == 0:
            return lba - shift, end_ns, track, False
        same_cylinder = (track + 1) % drive.heads != 0
        now_ns = end_ns + (drive.head_switch_ns if same_cylinder else drive.cylinder_switch_ns)
