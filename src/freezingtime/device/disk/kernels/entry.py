# SPDX-License-Identifier: GPL-2.0-or-later
"""The drive's events: a command comes in, the arm is done, a request completes. Compiled.

The life of a request is that of :class:`~freezingtime.device.disk.state.Phase`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.annotation import HeldBy
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.annotations.columns import Annotations
from freezingtime.device.disk.kernels import (
    ahead,
    cache,
    mechanics,
    shingle_map,
    shingle_write,
    wait,
)
from freezingtime.device.disk.kernels import shingle_clean as clean
from freezingtime.device.disk.kernels.command import (
    complete,
    first_due,
    link_ns,
    release_flushes,
    release_stalled,
    serve_pending_from_segment,
    take_in,
    use_link,
)
from freezingtime.device.disk.kernels.scheduler import choose, has_work
from freezingtime.device.disk.state import Activity, DiskState, Phase, Record
from freezingtime.request import Operation
from freezingtime.units import NEVER_NS


@njit(cache=True)
def admit(
    disk: DiskState,
    tag: int,
    operation: int,
    lba: int,
    sectors: int,
    fua: bool,
    arrival_ns: int,
    now_ns: int,
) -> int:
    """Take a command into a free slot, of which the caller knows that there is one.

    It may have arrived before, when there was none.
    Returns the time of the event that this brings.
    """
    index = 0
    while disk.slots[index].phase != Phase.FREE:
        index += 1
    slot = disk.slots[index]
    disk.core[0].arm.sequence += 1
    slot.phase = Phase.INCOMING
    slot.tag = tag
    slot.operation = operation
    slot.fua = fua
    slot.sequence = disk.core[0].arm.sequence
    slot.admitted_ns = now_ns
    slot.time_ns = now_ns + disk.core[0].drive.overhead_ns
    slot.lba = lba
    slot.sectors = sectors
    slot.media_lba = lba
    slot.media_sectors = sectors
    slot.eligible_ns = 0
    annotation.reset(slot.annotation)
    annotation.hold(slot.annotation, HeldBy.REQUESTS, now_ns - arrival_ns)
    disk.core[0].shingles.clean_ns = NEVER_NS
    return int(slot.time_ns)


@njit(cache=True)
def next_event_ns(disk: DiskState) -> int:
    """Return the time of the drive's next event; NEVER_NS if there is none."""
    arm = disk.core[0].arm
    event_ns = int(arm.end_ns if arm.activity != Activity.IDLE else disk.core[0].shingles.clean_ns)
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        if (slot.phase == Phase.INCOMING or slot.phase == Phase.DONE) and slot.time_ns < event_ns:
            event_ns = slot.time_ns
    return event_ns


@njit(cache=True)
def advance(
    disk: DiskState, now_ns: int, tags: NDArray[np.int64], annotations: Annotations
) -> tuple[int, int]:
    """Handle the events of ``now_ns``, the next event's time.

    Returns how many requests completed, and the time of the next event. The tags of the
    completed are in ``tags``, in the order in which they came in, and what is said of them in
    ``annotations``; their slots are free.
    """
    arm = disk.core[0].arm
    if arm.activity != Activity.IDLE and arm.end_ns <= now_ns:
        _end_activity(disk, now_ns)
    index = first_due(disk, Phase.INCOMING, now_ns)
    while index >= 0:
        take_in(disk, disk.slots[index], now_ns)
        index = first_due(disk, Phase.INCOMING, now_ns)
    _dispatch(disk, now_ns)
    count = 0
    index = first_due(disk, Phase.DONE, now_ns)
    while index >= 0:
        slot = disk.slots[index]
        tags[count] = slot.tag
        annotation.copy(slot.annotation, annotations[count])
        slot.phase = Phase.FREE
        count += 1
        index = first_due(disk, Phase.DONE, now_ns)
    return count, next_event_ns(disk)


@njit(cache=True)
def _end_activity(disk: DiskState, now_ns: int) -> None:
    """The arm is done with what it did."""
    arm = disk.core[0].arm
    activity = arm.activity
    arm.activity = Activity.IDLE
    if activity == Activity.AHEAD:
        ahead.end_ahead(disk)
    elif activity == Activity.LAST_SECTOR:
        ahead.end_last_sector(disk)
        serve_pending_from_segment(disk, arm.target, now_ns)
    elif activity == Activity.DESTAGE:
        _end_destage(disk, now_ns)
    elif activity == Activity.CLEAN:
        clean.end_step(disk)
    else:
        _end_media(disk, disk.slots[arm.target], now_ns)


@njit(cache=True)
def _end_destage(disk: DiskState, now_ns: int) -> None:
    if not disk.core[0].drive.shingled:
        cache.end_destage(disk, disk.core[0].arm.target)
    else:
        for index in range(len(disk.extents)):
            extent = disk.extents[index]
            if extent.sectors and extent.active:
                shingle_write.end_write(disk, extent.lba, extent.active, now_ns)
                cache.end_destage(disk, index)
    release_stalled(disk, now_ns)
    release_flushes(disk, now_ns)


@njit(cache=True)
def _end_media(disk: DiskState, slot: Record, now_ns: int) -> None:
    if slot.operation != Operation.READ:
        _end_write(disk, slot, now_ns)
        return
    if slot.arm_sectors < slot.media_sectors:
        cache.keep_read(disk, slot.media_lba, slot.media_lba + slot.arm_sectors)
        _shorten(disk, slot, now_ns)
        shingle_write.place_read(disk, slot)
        return
    # The link carries the data while it is read, as far as it is free.
    burst_ns = now_ns - link_ns(disk.core[0].drive, slot.sectors)
    complete(slot, max(now_ns, use_link(disk, slot.sectors, burst_ns)))
    end_lba = slot.lba + slot.sectors
    segment = cache.keep_read(disk, slot.media_lba, end_lba)
    if segment >= 0:
        disk.core[0].arm.ahead_segment = -1
        # From the persistent cache there is nothing to read on.
        if disk.core[0].arm.next_lba == end_lba:
            ahead.want_ahead(disk, segment, end_lba)
        serve_pending_from_segment(disk, segment, now_ns)


@njit(cache=True)
def _end_write(disk: DiskState, slot: Record, now_ns: int) -> None:
    if disk.core[0].drive.shingled:
        shingle_write.end_write(disk, slot.media_lba, slot.arm_sectors, now_ns)
        if slot.arm_sectors < slot.media_sectors:
            _shorten(disk, slot, now_ns)
            shingle_write.place_write(disk, slot, slot.media_lba)
            return
    complete(slot, now_ns)
    release_flushes(disk, now_ns)


@njit(cache=True)
def _shorten(disk: DiskState, slot: Record, now_ns: int) -> None:
    """The arm has done its part of the request; the rest waits for it."""
    slot.media_lba += slot.arm_sectors
    slot.media_sectors -= slot.arm_sectors
    slot.phase = Phase.PENDING
    wait.wait_for_arm(disk, slot, now_ns)


@njit(cache=True)
def _dispatch(disk: DiskState, now_ns: int) -> None:
    """Give an arm that is free, or only reading ahead, the next thing to do."""
    arm = disk.core[0].arm
    if arm.activity != Activity.IDLE and arm.activity != Activity.AHEAD:
        return
    if not has_work(disk):
        if arm.activity == Activity.IDLE:
            ahead.start_ahead(disk, now_ns)
            if disk.core[0].drive.shingled and arm.activity == Activity.IDLE:
                clean.clean_when_idle(disk, now_ns)
        return
    disk.core[0].shingles.clean_ns = NEVER_NS
    if arm.activity == Activity.AHEAD:
        ahead.interrupt_ahead(disk, now_ns)
        if arm.activity != Activity.IDLE:
            return
    slot_index, extent_index = choose(disk, now_ns)
    if slot_index < 0:
        _start_extent(disk, extent_index, now_ns)
    elif disk.slots[slot_index].operation == Operation.READ:
        _start_read(disk, slot_index, now_ns)
    elif disk.core[0].drive.shingled:
        shingle_write.start_slot(disk, slot_index, now_ns)
    else:
        slot = disk.slots[slot_index]
        _start_slot(disk, slot_index, slot.media_lba, slot.media_sectors, now_ns)


@njit(cache=True)
def _start_read(disk: DiskState, slot_index: int, now_ns: int) -> None:
    slot = disk.slots[slot_index]
    if not disk.core[0].drive.shingled:
        _start_slot(disk, slot_index, slot.media_lba, slot.media_sectors, now_ns)
        return
    # What was found when the request came may have moved since.
    address, sectors = shingle_map.locate(disk, slot.media_lba, slot.media_sectors)
    mechanics.place(disk, slot, address)
    _start_slot(disk, slot_index, address, sectors, now_ns)


@njit(cache=True)
def _start_slot(disk: DiskState, slot_index: int, address: int, sectors: int, now_ns: int) -> None:
    arm, slot = disk.core[0].arm, disk.slots[slot_index]
    slot.phase = Phase.ACTIVE
    wait.serve_by_arm(slot, now_ns)
    slot.arm_sectors = sectors
    arm.target = slot_index
    mechanics.begin(disk, slot, address, sectors, slot.operation != Operation.READ, now_ns)
    arm.activity = Activity.MEDIA


@njit(cache=True)
def _start_extent(disk: DiskState, extent_index: int, now_ns: int) -> None:
    if disk.core[0].drive.shingled:
        shingle_write.start_extents(disk, extent_index, now_ns)
        return
    arm, extent = disk.core[0].arm, disk.extents[extent_index]
    extent.active = extent.sectors
    arm.target = extent_index
    mechanics.begin(disk, extent, extent.lba, extent.sectors, True, now_ns)
    arm.activity = Activity.DESTAGE
