# SPDX-License-Identifier: GPL-2.0-or-later
"""Handling of a command: answered from memory, or queued for the arm. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.disk.kernels import ahead, cache, shingle_write, wait
from freezingtime.device.disk.state import Activity, DiskState, Phase, Record
from freezingtime.request import Operation
from freezingtime.units import NEVER_NS

_NS_PER_S = 1_000_000_000


@njit(cache=True)
def take_in(disk: DiskState, slot: Record, now_ns: int) -> None:
    """The command is decoded: answer it from memory, or let it wait for the arm."""
    if slot.operation == Operation.FLUSH:
        slot.phase = Phase.FLUSHING
        annotation.start(slot.annotation, now_ns)
        wait.wait_for(slot, HeldBy.WRITES, now_ns)
        release_flushes(disk, now_ns)
    elif slot.operation == Operation.DISCARD or slot.sectors == 0:
        annotation.start(slot.annotation, now_ns)
        complete(slot, now_ns)
    elif slot.operation == Operation.READ:
        _take_in_read(disk, slot, now_ns)
    else:
        _take_in_write(disk, slot, now_ns)


@njit(cache=True)
def _take_in_read(disk: DiskState, slot: Record, now_ns: int) -> None:
    if disk.core[0].arm.activity == Activity.AHEAD:
        ahead.note_ahead(disk, now_ns)
    counters = disk.core[0].counters
    wait.wait_for_arm(disk, slot, now_ns)
    if cache.is_buffered(disk, slot.lba, slot.lba + slot.sectors):
        wait.serve(slot, ServedFrom.WRITE_BUFFER, now_ns)
        complete(slot, use_link(disk, slot.sectors, now_ns))
        counters.read_hits += 1
        return
    slot.phase = Phase.PENDING
    segment = cache.find_segment(disk, slot.lba)
    if segment >= 0:
        _serve_from_segment(disk, slot, segment, now_ns)
    if slot.phase == Phase.PENDING:
        counters.read_misses += 1
        shingle_write.place_read(disk, slot)
    else:
        counters.read_hits += 1
        ahead.want_ahead(disk, segment, slot.lba + slot.sectors)


@njit(cache=True)
def _take_in_write(disk: DiskState, slot: Record, now_ns: int) -> None:
    if disk.core[0].arm.activity == Activity.AHEAD:
        ahead.interrupt_ahead(disk, now_ns)
    end_lba = slot.lba + slot.sectors
    cache.forget_read(disk, slot.lba, end_lba)
    if disk.core[0].drive.shingled:
        shingle_write.note_write(disk, slot.lba, end_lba)
    bufferable = slot.sectors <= disk.core[0].drive.write_buffer_sectors
    if bufferable and slot.operation == Operation.WRITE and not slot.fua:
        slot.phase = Phase.STALLED
        wait.wait_for(slot, HeldBy.BUFFER_FULL, now_ns)
        release_stalled(disk, now_ns)
        if slot.phase == Phase.STALLED:
            disk.core[0].counters.writes_stalled += 1
        return
    cache.forget_buffered(disk, slot.lba, end_lba)
    slot.phase = Phase.PENDING
    wait.wait_for_arm(disk, slot, now_ns)
    shingle_write.place_write(disk, slot, slot.lba)
    if slot.operation == Operation.WRITE:
        # The arm may move while the data comes.
        slot.eligible_ns = use_link(disk, slot.sectors, now_ns)


@njit(cache=True)
def _serve_from_segment(disk: DiskState, slot: Record, index: int, now_ns: int) -> None:
    """Answer a pending read from a segment; or at least its first part."""
    segment = disk.segments[index]
    if not segment.lba <= slot.media_lba < segment.end_lba:
        return
    disk.core[0].arm.sequence += 1
    segment.used = disk.core[0].arm.sequence
    end_lba = slot.lba + slot.sectors
    ahead_of_host = min(end_lba, segment.end_lba) > segment.asked_end_lba
    wait.serve(slot, ServedFrom.READ_AHEAD if ahead_of_host else ServedFrom.CACHE, now_ns)
    segment.asked_end_lba = max(segment.asked_end_lba, min(end_lba, segment.end_lba))
    if end_lba <= segment.end_lba:
        complete(slot, use_link(disk, slot.sectors, now_ns))
        return
    slot.media_lba = segment.end_lba
    slot.media_sectors = end_lba - segment.end_lba
    wait.wait_for_arm(disk, slot, now_ns)
    shingle_write.place_read(disk, slot)


@njit(cache=True)
def serve_pending_from_segment(disk: DiskState, index: int, now_ns: int) -> None:
    """Serve pending commands with what was just read."""
    segment = disk.segments[index]
    for number in range(len(disk.slots)):
        slot = disk.slots[number]
        # Checked here too: the call costs more than the check.
        inside = segment.lba <= slot.media_lba < segment.end_lba
        if inside and slot.phase == Phase.PENDING and slot.operation == Operation.READ:
            _serve_from_segment(disk, slot, index, now_ns)


@njit(cache=True)
def release_stalled(disk: DiskState, now_ns: int) -> None:
    """Let writes into the buffer in their order, as long as there is room."""
    index = first_due(disk, Phase.STALLED, NEVER_NS)
    while index >= 0:
        slot = disk.slots[index]
        arrival_ns = max(now_ns, disk.core[0].arm.link_free_ns)
        if not cache.buffer_write(
            disk, slot, arrival_ns + link_ns(disk.core[0].drive, slot.sectors)
        ):
            return
        wait.serve(slot, ServedFrom.WRITE_BUFFER, now_ns)
        complete(slot, use_link(disk, slot.sectors, now_ns))
        index = first_due(disk, Phase.STALLED, NEVER_NS)


@njit(cache=True)
def release_flushes(disk: DiskState, now_ns: int) -> None:
    """Complete the flushes before which every write is on the platters."""
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        if slot.phase == Phase.FLUSHING and not _write_before(disk, slot.sequence):
            annotation.hold(slot.annotation, slot.held_by, now_ns - slot.waiting_since_ns)
            complete(slot, now_ns)


@njit(cache=True)
def _write_before(disk: DiskState, sequence: int) -> bool:
    """Whether a write that came in before is not on the platters yet."""
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        waits = (
            slot.phase == Phase.PENDING or slot.phase == Phase.ACTIVE or slot.phase == Phase.STALLED
        )
        if waits and slot.operation != Operation.READ and slot.sequence < sequence:
            return True
    for index in range(len(disk.extents)):
        if disk.extents[index].sectors and disk.extents[index].sequence < sequence:
            return True
    return False


@njit(cache=True)
def first_due(disk: DiskState, phase: int, now_ns: int) -> int:
    """Of the slots in a phase whose time has come, the one that came in first; or -1."""
    first = -1
    for index in range(len(disk.slots)):
        slot = disk.slots[index]
        due = slot.phase == phase and slot.time_ns <= now_ns
        if due and (first < 0 or slot.sequence < disk.slots[first].sequence):
            first = index
    return first


@njit(cache=True)
def complete(slot: Record, time_ns: int) -> None:
    slot.phase = Phase.DONE
    slot.time_ns = time_ns


@njit(cache=True)
def use_link(disk: DiskState, sectors: int, from_ns: int) -> int:
    """Return the end of a transfer over the link, begun at ``from_ns`` or when the link is free."""
    drive, arm = disk.core[0].drive, disk.core[0].arm
    begin_ns = max(from_ns, arm.link_free_ns)
    arm.link_free_ns = begin_ns + link_ns(drive, sectors)
    return int(arm.link_free_ns)


@njit(cache=True)
def link_ns(drive: Record, sectors: int) -> int:
    rate = drive.link_bytes_per_s
    return int((sectors * drive.sector_bytes * _NS_PER_S + rate - 1) // rate)
