# SPDX-License-Identifier: GPL-2.0-or-later
"""The drive's memory: read segments and the write buffer. Compiled.

A segment holds one run of sectors, the latest of a stream of reads. The write buffer holds
extents, runs of sectors that are not on the platters yet.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.disk.kernels.shingle_write import place_write
from freezingtime.device.disk.state import DiskState, Record


@njit(cache=True)
def find_segment(disk: DiskState, lba: int) -> int:
    """The segment that holds ``lba``, or -1."""
    for index in range(len(disk.segments)):
        segment = disk.segments[index]
        if segment.lba <= lba < segment.end_lba:
            return index
    return -1


@njit(cache=True)
def keep_read(disk: DiskState, lba: int, end_lba: int) -> int:
    """Keep what was read: in the segment that it continues, or in the one unused for longest.

    Returns the segment, or -1 where the drive has none.
    """
    segments = disk.segments
    if len(segments) == 0 or disk.core[0].drive.segment_sectors == 0:
        return -1
    chosen = 0
    for index in range(len(segments)):
        if segments[index].lba <= lba <= segments[index].end_lba and segments[index].end_lba:
            chosen = index
            break
        if segments[index].used < segments[chosen].used:
            chosen = index
    segment = segments[chosen]
    if not segment.lba <= lba <= segment.end_lba:
        segment.lba = lba
        segment.end_lba = lba
        segment.asked_end_lba = lba
    segment.asked_end_lba = max(segment.asked_end_lba, end_lba)
    extend_segment(disk, chosen, max(end_lba, segment.end_lba))
    disk.core[0].arm.sequence += 1
    segment.used = disk.core[0].arm.sequence
    return chosen


@njit(cache=True)
def extend_segment(disk: DiskState, index: int, end_lba: int) -> None:
    """Append to a segment; what it cannot hold goes at its beginning."""
    segment = disk.segments[index]
    segment.end_lba = end_lba
    segment.lba = max(segment.lba, end_lba - disk.core[0].drive.segment_sectors)


@njit(cache=True)
def forget_read(disk: DiskState, lba: int, end_lba: int) -> None:
    """Drop what a write makes stale: of each segment, everything from ``lba`` on."""
    for index in range(len(disk.segments)):
        segment = disk.segments[index]
        if segment.lba < end_lba and lba < segment.end_lba:
            segment.end_lba = max(segment.lba, lba)
            segment.asked_end_lba = min(segment.asked_end_lba, segment.end_lba)


@njit(cache=True)
def is_buffered(disk: DiskState, lba: int, end_lba: int) -> bool:
    """Whether one extent of the write buffer holds the whole range."""
    if disk.core[0].arm.buffered_extents == 0:
        return False
    for index in range(len(disk.extents)):
        extent = disk.extents[index]
        if extent.sectors and extent.lba <= lba and end_lba <= extent.lba + extent.sectors:
            return True
    return False


@njit(cache=True)
def buffer_write(disk: DiskState, slot: Record, eligible_ns: int) -> bool:
    """Take a write into the buffer; False if there is no room.

    It is absorbed by an extent that holds its range, or appended to one that ends where it
    begins, or makes a new one.
    """
    drive, arm, counters = disk.core[0].drive, disk.core[0].arm, disk.core[0].counters
    end_lba = slot.lba + slot.sectors
    unused = -1
    appendable = -1
    for index in range(len(disk.extents)):
        extent = disk.extents[index]
        if extent.sectors == 0:
            unused = index
        elif not extent.active:
            extent_end_lba = extent.lba + extent.sectors
            if extent.lba <= slot.lba and end_lba <= extent_end_lba:
                counters.writes_absorbed += 1
                return True
            fits = extent.sectors + slot.sectors <= drive.extent_sectors
            if extent_end_lba == slot.lba and fits:
                appendable = index
    if arm.buffered_sectors + slot.sectors > drive.write_buffer_sectors:
        return False
    if appendable >= 0:
        # Its first sectors are here already, and the link is faster than the media.
        disk.extents[appendable].sectors += slot.sectors
    elif unused >= 0:
        extent = disk.extents[unused]
        extent.sectors = slot.sectors
        extent.lba = slot.lba
        extent.active = 0
        extent.sequence = slot.sequence
        extent.eligible_ns = eligible_ns
        place_write(disk, extent, slot.lba)
        arm.buffered_extents += 1
    else:
        return False
    arm.buffered_sectors += slot.sectors
    counters.writes_buffered += 1
    return True


@njit(cache=True)
def forget_buffered(disk: DiskState, lba: int, end_lba: int) -> None:
    """Drop extents that a write straight to the platters overwrites as a whole."""
    for index in range(len(disk.extents)):
        extent = disk.extents[index]
        inside = lba <= extent.lba and extent.lba + extent.sectors <= end_lba
        if extent.sectors and not extent.active and inside:
            release_extent(disk, index)


@njit(cache=True)
def end_destage(disk: DiskState, index: int) -> None:
    """The arm has written what it was at of an extent."""
    counters, extent = disk.core[0].counters, disk.extents[index]
    written = extent.active
    counters.destaged_sectors += written
    if written == extent.sectors:
        counters.destaged_extents += 1
        release_extent(disk, index)
        return
    disk.core[0].arm.buffered_sectors -= written
    extent.lba += written
    extent.sectors -= written
    extent.active = 0
    place_write(disk, extent, extent.lba)


@njit(cache=True)
def release_extent(disk: DiskState, index: int) -> None:
    """The extent's data is on the platters, or overwritten: its room is free."""
    disk.core[0].arm.buffered_sectors -= disk.extents[index].sectors
    disk.core[0].arm.buffered_extents -= 1
    disk.extents[index].sectors = 0
    disk.extents[index].active = 0
