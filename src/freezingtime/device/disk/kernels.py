"""The drive's events: a command comes in, the arm is done, a request completes. Compiled.

The life of a request is that of :class:`~freezingtime.device.disk.state.Phase`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from freezingtime.device.disk import ahead_kernels as ahead
from freezingtime.device.disk import cache_kernels as cache
from freezingtime.device.disk import mechanics_kernels as mechanics
from freezingtime.device.disk.command_kernels import (
    complete,
    first_due,
    link_ns,
    release_flushes,
    release_stalled,
    serve_pending_from_segment,
    take_in,
    use_link,
)
from freezingtime.device.disk.scheduler_kernels import choose, has_work
from freezingtime.device.disk.state import NEVER_NS, Activity, DiskState, Phase, Record
from freezingtime.request import Operation

# Plain integers: the compiler takes them as constants.
_FREE = int(Phase.FREE)
_INCOMING = int(Phase.INCOMING)
_ACTIVE = int(Phase.ACTIVE)
_DONE = int(Phase.DONE)
_IDLE = int(Activity.IDLE)
_MEDIA = int(Activity.MEDIA)
_DESTAGE = int(Activity.DESTAGE)
_AHEAD = int(Activity.AHEAD)
_LAST_SECTOR = int(Activity.LAST_SECTOR)
_READ = int(Operation.READ)


@njit(cache=True)
def admit(
    disk: DiskState, tag: int, operation: int, lba: int, sectors: int, fua: bool, now_ns: int
) -> int:
    """Take a command into a free slot, of which the caller knows that there is one.

    Returns the time of the event that this brings.
    """
    index = 0
    while disk.slots[index].phase != _FREE:
        index += 1
    slot = disk.slots[index]
    disk.arm[0].sequence += 1
    slot.phase = _INCOMING
    slot.tag = tag
    slot.operation = operation
    slot.fua = fua
    slot.sequence = disk.arm[0].sequence
    slot.admitted_ns = now_ns
    slot.time_ns = now_ns + disk.drive[0].overhead_ns
    slot.lba = lba
    slot.sectors = sectors
    slot.media_lba = lba
    slot.media_sectors = sectors
    slot.eligible_ns = 0
    return int(slot.time_ns)


@njit(cache=True)
def next_event_ns(disk: DiskState) -> int:
    """When the drive next has something to do; NEVER_NS if it has not."""
    arm = disk.arm[0]
    event_ns = arm.end_ns if arm.activity != _IDLE else NEVER_NS
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        if (slot.phase == _INCOMING or slot.phase == _DONE) and slot.time_ns < event_ns:
            event_ns = slot.time_ns
    return event_ns


@njit(cache=True)
def advance(disk: DiskState, now_ns: int, tags: NDArray[np.int64]) -> tuple[int, int]:
    """Handle the events of ``now_ns``, the next event's time.

    Returns how many requests completed, and the time of the next event. The tags of the
    completed are in ``tags``, in the order in which they came in; their slots are free.
    """
    arm = disk.arm[0]
    if arm.activity != _IDLE and arm.end_ns <= now_ns:
        _end_activity(disk, now_ns)
    index = first_due(disk, _INCOMING, now_ns)
    while index >= 0:
        take_in(disk, disk.slots[index], now_ns)
        index = first_due(disk, _INCOMING, now_ns)
    _dispatch(disk, now_ns)
    count = 0
    index = first_due(disk, _DONE, now_ns)
    while index >= 0:
        tags[count] = disk.slots[index].tag
        disk.slots[index].phase = _FREE
        count += 1
        index = first_due(disk, _DONE, now_ns)
    return count, next_event_ns(disk)


@njit(cache=True)
def _end_activity(disk: DiskState, now_ns: int) -> None:
    """The arm is done with what it did."""
    arm = disk.arm[0]
    activity = arm.activity
    arm.activity = _IDLE
    if activity == _AHEAD:
        ahead.end_ahead(disk)
    elif activity == _LAST_SECTOR:
        ahead.end_last_sector(disk)
        serve_pending_from_segment(disk, arm.target, now_ns)
    elif activity == _DESTAGE:
        disk.counters[0].destaged_extents += 1
        disk.counters[0].destaged_sectors += disk.extents[arm.target].sectors
        cache.release_extent(disk, arm.target)
        release_stalled(disk, now_ns)
        release_flushes(disk, now_ns)
    else:
        _end_media(disk, disk.slots[arm.target], now_ns)


@njit(cache=True)
def _end_media(disk: DiskState, slot: Record, now_ns: int) -> None:
    if slot.operation != _READ:
        complete(slot, now_ns)
        release_flushes(disk, now_ns)
        return
    # The link carries the data while it is read, as far as it is free.
    burst_ns = now_ns - link_ns(disk.drive[0], slot.sectors)
    complete(slot, max(now_ns, use_link(disk, slot.sectors, burst_ns)))
    end_lba = slot.lba + slot.sectors
    segment = cache.keep_read(disk, slot.media_lba, end_lba)
    if segment >= 0:
        disk.arm[0].ahead_segment = -1
        ahead.want_ahead(disk, segment, end_lba)
        serve_pending_from_segment(disk, segment, now_ns)


@njit(cache=True)
def _dispatch(disk: DiskState, now_ns: int) -> None:
    """Give an arm that is free, or only reading ahead, the next thing to do."""
    arm = disk.arm[0]
    if arm.activity != _IDLE and arm.activity != _AHEAD:
        return
    if not has_work(disk):
        if arm.activity == _IDLE:
            ahead.start_ahead(disk, now_ns)
        return
    if arm.activity == _AHEAD:
        ahead.interrupt_ahead(disk, now_ns)
        if arm.activity != _IDLE:
            return
    slot_index, extent_index = choose(disk, now_ns)
    if slot_index >= 0:
        slot = disk.slots[slot_index]
        slot.phase = _ACTIVE
        arm.target = slot_index
        _start(disk, slot, slot.media_lba, slot.media_sectors, slot.operation != _READ, now_ns)
        arm.activity = _MEDIA
    else:
        extent = disk.extents[extent_index]
        extent.active = 1
        arm.target = extent_index
        _start(disk, extent, extent.lba, extent.sectors, True, now_ns)
        arm.activity = _DESTAGE


@njit(cache=True)
def _start(
    disk: DiskState, item: Record, lba: int, sectors: int, is_write: bool, now_ns: int
) -> None:
    """Move the arm and transfer; ``item`` is the slot or extent."""
    arm, counters = disk.arm[0], disk.counters[0]
    move_ns = mechanics.move_ns(disk, item.cylinder, item.head, is_write)
    begin_ns = mechanics.start_ns(disk, item, is_write, now_ns, NEVER_NS)
    ready_ns = max(now_ns + move_ns, item.eligible_ns)
    if item.cylinder != arm.cylinder:
        counters.seeks += 1
        counters.seek_ns += move_ns
    arm.next_lba, end_ns, track, _ = mechanics.transfer(disk, lba, sectors, ready_ns, NEVER_NS)
    counters.media_operations += 1
    counters.rotation_ns += begin_ns - ready_ns
    counters.transfer_ns += end_ns - begin_ns
    arm.cylinder = track // disk.drive[0].heads
    arm.head = track % disk.drive[0].heads
    arm.end_ns = end_ns
