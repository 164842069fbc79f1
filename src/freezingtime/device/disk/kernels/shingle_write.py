# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes of a shingled drive: to its persistent cache, or in a stream to a band. Compiled.

What is appended to the cache is one transfer: a sector of map, then the data of as many
extents of the write buffer as there are, up to a limit. Composing it takes the controller's
overhead, in which the platter turns on: so two appends are a turn apart (assumed).

A run of writes that is long enough goes past the cache from the next band's start on. Until it
has filled the band, the band counts as one to be cleaned: what it has not reached yet would be
destroyed by the tracks before it.
"""

from __future__ import annotations

from numba import njit

from freezingtime.annotation import HeldBy
from freezingtime.device.disk.kernels import mechanics, shingle_map, wait
from freezingtime.device.disk.kernels import shingle_clean as clean
from freezingtime.device.disk.state import Activity, DiskState, Phase, Record

#: The map's share of an append.
_MAP_SECTORS = 1


@njit(cache=True)
def note_write(disk: DiskState, lba: int, end_lba: int) -> None:
    """A write came in: does it continue the one before?"""
    shingles = disk.core[0].shingles
    if lba != shingles.run_end_lba:
        shingles.run_lba = lba
    shingles.run_end_lba = end_lba


@njit(cache=True)
def place_read(disk: DiskState, slot: Record) -> None:
    """Note where the arm finds what is left of a read."""
    address = slot.media_lba
    if disk.core[0].drive.shingled:
        address = shingle_map.locate(disk, slot.media_lba, slot.media_sectors)[0]
    mechanics.place(disk, slot, address)


@njit(cache=True)
def place_write(disk: DiskState, item: Record, lba: int) -> None:
    """Note where a write will go: on a shingled drive, most likely to the log's end."""
    if disk.core[0].drive.shingled:
        lba = shingle_map.log_address(disk, disk.core[0].shingles.place)
    mechanics.place(disk, item, lba)


@njit(cache=True)
def start_slot(disk: DiskState, slot_index: int, now_ns: int) -> None:
    """Begin to write for a slot; or clean, if there is no room."""
    shingles, slot, arm = disk.core[0].shingles, disk.slots[slot_index], disk.core[0].arm
    lba = slot.media_lba
    sectors = _piece(disk, lba, slot.media_sectors)
    if not _prepare(disk, lba, sectors):
        slot.held_by = HeldBy.CLEANING
        clean.start_step(disk, now_ns)
        return
    if not shingles.direct:
        lba, sectors = _append(disk, sectors)
        slot.arm_sectors = sectors - _MAP_SECTORS
        slot.eligible_ns = max(slot.eligible_ns, shingles.append_ns)
    else:
        slot.arm_sectors = sectors
    mechanics.place(disk, slot, lba)
    mechanics.begin(disk, slot, lba, sectors, True, now_ns)
    slot.phase = Phase.ACTIVE
    wait.serve_by_arm(slot, now_ns)
    arm.target = slot_index
    arm.activity = Activity.MEDIA


@njit(cache=True)
def start_extents(disk: DiskState, extent_index: int, now_ns: int) -> None:
    """Begin to write an extent, and others with it; or clean, if there is no room."""
    shingles, extent, arm = disk.core[0].shingles, disk.extents[extent_index], disk.core[0].arm
    lba = extent.lba
    sectors = _piece(disk, lba, extent.sectors)
    if not _prepare(disk, lba, sectors):
        clean.start_step(disk, now_ns)
        return
    extent.active = sectors
    if not shingles.direct:
        lba, sectors = _append(disk, _gather(disk, extent, sectors))
        extent.eligible_ns = max(extent.eligible_ns, shingles.append_ns)
    mechanics.place(disk, extent, lba)
    mechanics.begin(disk, extent, lba, sectors, True, now_ns)
    arm.target = extent_index
    arm.activity = Activity.DESTAGE


@njit(cache=True)
def end_write(disk: DiskState, lba: int, sectors: int, now_ns: int) -> None:
    """A run of the write that the arm is done with is on the platters: in the log's order."""
    shingles = disk.core[0].shingles
    if shingles.direct:
        _note_streamed(disk, lba, sectors)
        return
    place = shingles.write_place
    shingle_map.insert(disk, lba, sectors, shingle_map.log_address(disk, place), place)
    shingles.write_place += sectors
    shingles.append_ns = now_ns + disk.core[0].drive.overhead_ns
    disk.core[0].counters.sectors_cached += sectors


@njit(cache=True)
def _prepare(disk: DiskState, lba: int, sectors: int) -> bool:
    """Decide between stream and cache; False if there is no room."""
    shingles = disk.core[0].shingles
    shingles.direct = _streams(disk, lba, sectors)
    if not shingles.direct:
        return shingle_map.has_room(disk, sectors + _MAP_SECTORS, 1)
    return bool(lba == shingles.stream_lba or shingle_map.has_room(disk, 0, 1))


@njit(cache=True)
def _streams(disk: DiskState, lba: int, sectors: int) -> bool:
    """Whether a write continues the open stream, or opens one at a band's start."""
    shingles = disk.core[0].shingles
    if lba == shingles.stream_lba:
        return True
    return lba % shingles.band_sectors == 0 and _in_long_run(shingles, lba, sectors)


@njit(cache=True)
def _in_long_run(shingles: Record, lba: int, sectors: int) -> bool:
    if shingles.run_end_lba - shingles.run_lba < shingles.stream_sectors:
        return False
    return bool(shingles.run_lba <= lba and lba + sectors <= shingles.run_end_lba)


@njit(cache=True)
def _will_stream(shingles: Record, lba: int, sectors: int) -> bool:
    """Whether a stream will come to this part of a band, having filled the one before."""
    band_lba = lba - lba % shingles.band_sectors
    return bool(band_lba > shingles.run_lba and _in_long_run(shingles, lba, sectors))


@njit(cache=True)
def _piece(disk: DiskState, lba: int, sectors: int) -> int:
    """Return how many of the sectors go at once: within the band, and not too many."""
    shingles = disk.core[0].shingles
    in_band = shingles.band_sectors - lba % shingles.band_sectors
    return int(min(sectors, in_band, shingles.append_sectors))


@njit(cache=True)
def _append(disk: DiskState, sectors: int) -> tuple[int, int]:
    """The address and the sectors of an append with so many sectors of data."""
    place = shingle_map.take_log(disk, sectors + _MAP_SECTORS)
    disk.core[0].shingles.write_place = place + _MAP_SECTORS
    return shingle_map.log_address(disk, place), sectors + _MAP_SECTORS


@njit(cache=True)
def _gather(disk: DiskState, first: Record, sectors: int) -> int:
    """Mark more extents for the append of ``first``; returns the sectors of all."""
    shingles = disk.core[0].shingles
    entries = 1
    for index in range(len(disk.extents)):
        extent = disk.extents[index]
        if extent.sectors == 0 or extent.active:
            continue
        more = _piece(disk, extent.lba, extent.sectors)
        if sectors + more > disk.core[0].drive.extent_sectors:
            continue
        if _streams(disk, extent.lba, more) or _will_stream(shingles, extent.lba, more):
            continue
        if not shingle_map.has_room(disk, sectors + more + _MAP_SECTORS, entries + 1):
            break
        extent.active = more
        first.eligible_ns = max(first.eligible_ns, extent.eligible_ns)
        sectors += more
        entries += 1
    return sectors


@njit(cache=True)
def _note_streamed(disk: DiskState, lba: int, sectors: int) -> None:
    """The stream has come so far; a band that it filled is clean."""
    shingles = disk.core[0].shingles
    if lba == shingles.stream_lba:
        entry = disk.map[shingle_map.row_of(shingles, shingles.stream_number)]
        shingle_map.forget(disk, lba, lba + sectors, shingles.head)
        entry.sectors += sectors
    else:
        shingles.stream_number = shingle_map.insert(disk, lba, sectors, lba, shingles.place)
    end_lba = lba + sectors
    shingles.stream_lba = end_lba
    disk.core[0].counters.sectors_streamed += sectors
    if end_lba % shingles.band_sectors == 0 or end_lba == disk.core[0].drive.sectors:
        band_lba = lba - lba % shingles.band_sectors
        shingle_map.forget(disk, band_lba, end_lba, shingles.stream_number + 1)
