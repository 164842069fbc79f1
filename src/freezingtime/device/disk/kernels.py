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
from freezingtime.device.disk.scheduler_kernels import choose, has_work
from freezingtime.device.disk.state import NEVER_NS, Activity, DiskState, Phase, Record
from freezingtime.request import Operation

# Plain integers: the compiler takes them as constants.
_FREE = int(Phase.FREE)
_INCOMING = int(Phase.INCOMING)
_PENDING = int(Phase.PENDING)
_ACTIVE = int(Phase.ACTIVE)
_STALLED = int(Phase.STALLED)
_FLUSHING = int(Phase.FLUSHING)
_DONE = int(Phase.DONE)
_IDLE = int(Activity.IDLE)
_MEDIA = int(Activity.MEDIA)
_DESTAGE = int(Activity.DESTAGE)
_AHEAD = int(Activity.AHEAD)
_LAST_SECTOR = int(Activity.LAST_SECTOR)
_READ = int(Operation.READ)
_WRITE = int(Operation.WRITE)
_FLUSH = int(Operation.FLUSH)
_DISCARD = int(Operation.DISCARD)
_NS_PER_S = 1_000_000_000


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
    index = _first(disk, _INCOMING, now_ns)
    while index >= 0:
        _take_in(disk, disk.slots[index], now_ns)
        index = _first(disk, _INCOMING, now_ns)
    _dispatch(disk, now_ns)
    count = 0
    index = _first(disk, _DONE, now_ns)
    while index >= 0:
        tags[count] = disk.slots[index].tag
        disk.slots[index].phase = _FREE
        count += 1
        index = _first(disk, _DONE, now_ns)
    return count, next_event_ns(disk)


@njit(cache=True)
def _first(disk: DiskState, phase: int, now_ns: int) -> int:
    """Of the slots in a phase whose time has come, the one that came in first; or -1."""
    first = -1
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        due = slot.phase == phase and slot.time_ns <= now_ns
        if due and (first < 0 or slot.sequence < disk.slots[first].sequence):
            first = index
    return first


@njit(cache=True)
def _complete(slot: Record, time_ns: int) -> None:
    slot.phase = _DONE
    slot.time_ns = time_ns


@njit(cache=True)
def _use_link(disk: DiskState, sectors: int, from_ns: int) -> int:
    """When the link has carried so much, beginning at ``from_ns`` or when it is free."""
    drive, arm = disk.drive[0], disk.arm[0]
    begin_ns = max(from_ns, arm.link_free_ns)
    arm.link_free_ns = begin_ns + _link_ns(drive, sectors)
    return int(arm.link_free_ns)


@njit(cache=True)
def _link_ns(drive: Record, sectors: int) -> int:
    rate = drive.link_bytes_per_s
    return int((sectors * drive.sector_bytes * _NS_PER_S + rate - 1) // rate)


@njit(cache=True)
def _take_in(disk: DiskState, slot: Record, now_ns: int) -> None:
    """The command is decoded: answer it from memory, or let it wait for the arm."""
    if slot.operation == _FLUSH:
        slot.phase = _FLUSHING
        _release_flushes(disk, now_ns)
    elif slot.operation == _DISCARD or slot.sectors == 0:
        _complete(slot, now_ns)
    elif slot.operation == _READ:
        _take_in_read(disk, slot, now_ns)
    else:
        _take_in_write(disk, slot, now_ns)


@njit(cache=True)
def _take_in_read(disk: DiskState, slot: Record, now_ns: int) -> None:
    if disk.arm[0].activity == _AHEAD:
        ahead.note_ahead(disk, now_ns)
    counters = disk.counters[0]
    if cache.is_buffered(disk, slot.lba, slot.lba + slot.sectors):
        _complete(slot, _use_link(disk, slot.sectors, now_ns))
        counters.read_hits += 1
        return
    slot.phase = _PENDING
    segment = cache.find_segment(disk, slot.lba)
    if segment >= 0:
        _serve_from_segment(disk, slot, segment, now_ns)
    if slot.phase == _PENDING:
        counters.read_misses += 1
        mechanics.place(disk, slot, slot.media_lba)
    else:
        counters.read_hits += 1
        ahead.want_ahead(disk, segment, slot.lba + slot.sectors)


@njit(cache=True)
def _serve_from_segment(disk: DiskState, slot: Record, index: int, now_ns: int) -> None:
    """Answer a pending read from a segment; or at least its first part."""
    segment = disk.segments[index]
    if not segment.lba <= slot.media_lba < segment.end_lba:
        return
    disk.arm[0].sequence += 1
    segment.used = disk.arm[0].sequence
    end_lba = slot.lba + slot.sectors
    if end_lba <= segment.end_lba:
        _complete(slot, _use_link(disk, slot.sectors, now_ns))
        return
    slot.media_lba = segment.end_lba
    slot.media_sectors = end_lba - segment.end_lba
    mechanics.place(disk, slot, slot.media_lba)


@njit(cache=True)
def _serve_pending_from_segment(disk: DiskState, index: int, now_ns: int) -> None:
    """What was just read may answer others."""
    segment = disk.segments[index]
    for number in range(len(disk.slots)):
        slot = disk.slots[number]
        # Checked here too: the call costs more than the check.
        inside = segment.lba <= slot.media_lba < segment.end_lba
        if inside and slot.phase == _PENDING and slot.operation == _READ:
            _serve_from_segment(disk, slot, index, now_ns)


@njit(cache=True)
def _take_in_write(disk: DiskState, slot: Record, now_ns: int) -> None:
    if disk.arm[0].activity == _AHEAD:
        ahead.interrupt_ahead(disk, now_ns)
    end_lba = slot.lba + slot.sectors
    cache.forget_read(disk, slot.lba, end_lba)
    bufferable = slot.sectors <= disk.drive[0].write_buffer_sectors
    if bufferable and slot.operation == _WRITE and not slot.fua:
        slot.phase = _STALLED
        _release_stalled(disk, now_ns)
        if slot.phase == _STALLED:
            disk.counters[0].writes_stalled += 1
        return
    cache.forget_buffered(disk, slot.lba, end_lba)
    slot.phase = _PENDING
    mechanics.place(disk, slot, slot.lba)
    if slot.operation == _WRITE:
        # The arm may move while the data comes.
        slot.eligible_ns = _use_link(disk, slot.sectors, now_ns)


@njit(cache=True)
def _release_stalled(disk: DiskState, now_ns: int) -> None:
    """Let writes into the buffer in their order, as long as there is room."""
    index = _first(disk, _STALLED, NEVER_NS)
    while index >= 0:
        slot = disk.slots[index]
        arrival_ns = max(now_ns, disk.arm[0].link_free_ns)
        if not cache.buffer_write(disk, slot, arrival_ns + _link_ns(disk.drive[0], slot.sectors)):
            return
        _complete(slot, _use_link(disk, slot.sectors, now_ns))
        index = _first(disk, _STALLED, NEVER_NS)


@njit(cache=True)
def _release_flushes(disk: DiskState, now_ns: int) -> None:
    """Complete the flushes before which every write is on the platters."""
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        if slot.phase == _FLUSHING and not _write_before(disk, slot.sequence):
            _complete(slot, now_ns)


@njit(cache=True)
def _write_before(disk: DiskState, sequence: int) -> bool:
    """Whether a write that came in before is not on the platters yet."""
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        waits = slot.phase == _PENDING or slot.phase == _ACTIVE or slot.phase == _STALLED
        if waits and slot.operation != _READ and slot.sequence < sequence:
            return True
    for index in range(len(disk.extents)):
        if disk.extents[index].sectors and disk.extents[index].sequence < sequence:
            return True
    return False


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
        _serve_pending_from_segment(disk, arm.target, now_ns)
    elif activity == _DESTAGE:
        disk.counters[0].destaged_extents += 1
        disk.counters[0].destaged_sectors += disk.extents[arm.target].sectors
        cache.release_extent(disk, arm.target)
        _release_stalled(disk, now_ns)
        _release_flushes(disk, now_ns)
    else:
        _end_media(disk, disk.slots[arm.target], now_ns)


@njit(cache=True)
def _end_media(disk: DiskState, slot: Record, now_ns: int) -> None:
    if slot.operation != _READ:
        _complete(slot, now_ns)
        _release_flushes(disk, now_ns)
        return
    # The link carries the data while it is read, as far as it is free.
    burst_ns = now_ns - _link_ns(disk.drive[0], slot.sectors)
    _complete(slot, max(now_ns, _use_link(disk, slot.sectors, burst_ns)))
    end_lba = slot.lba + slot.sectors
    segment = cache.keep_read(disk, slot.media_lba, end_lba)
    if segment >= 0:
        disk.arm[0].ahead_segment = -1
        ahead.want_ahead(disk, segment, end_lba)
        _serve_pending_from_segment(disk, segment, now_ns)


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
