# SPDX-License-Identifier: GPL-2.0-or-later
"""The map of the persistent cache: what of each band is newer than the band. Compiled.

The map is a ring in the order of the log, so the oldest entry that counts says both how much of
the map and how much of the log is in use. The entries of one band form a list, oldest first.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.disk.state import DiskState, Record


@njit(cache=True)
def insert(disk: DiskState, lba: int, sectors: int, address: int, place: int) -> int:
    """Note that a run of one band now is at ``address``; returns the entry's number.

    The caller knows that there is room.
    """
    shingles = disk.core[0].shingles
    number = shingles.head
    forget(disk, lba, lba + sectors, number)
    row = row_of(shingles, number)
    entry = disk.map[row]
    entry.sectors = sectors
    entry.lba = lba
    entry.address = address
    entry.place = place
    entry.number = number
    entry.next = -1
    band = disk.map[lba // shingles.band_sectors]
    disk.map[band.last].next = row
    band.last = row
    shingles.head += 1
    return int(number)


@njit(cache=True)
def forget(disk: DiskState, lba: int, end_lba: int, limit: int) -> None:
    """Drop the entries within a part of one band that are older than number ``limit``."""
    shingles = disk.core[0].shingles
    previous = lba // shingles.band_sectors
    band = disk.map[previous]
    while disk.map[previous].next >= 0:
        row = disk.map[previous].next
        entry = disk.map[row]
        if lba <= entry.lba and entry.lba + entry.sectors <= end_lba and entry.number < limit:
            entry.sectors = 0
            disk.map[previous].next = entry.next
            if band.last == row:
                band.last = previous
            if entry.number == shingles.stream_number:
                shingles.stream_lba = -1
        else:
            previous = row
    while shingles.tail < shingles.head and oldest(disk).sectors == 0:
        shingles.tail += 1


@njit(cache=True)
def row_of(shingles: Record, number: int) -> int:
    """Return the row of entry ``number`` in the map."""
    return int(shingles.bands + number % shingles.entries)


@njit(cache=True)
def oldest(disk: DiskState) -> Record:
    """The oldest entry, of which the caller knows that there is one."""
    return disk.map[row_of(disk.core[0].shingles, disk.core[0].shingles.tail)]


@njit(cache=True)
def locate(disk: DiskState, lba: int, sectors: int) -> tuple[int, int]:
    """Return the place of ``lba``, and how many of ``sectors`` follow it there without a gap."""
    shingles = disk.core[0].shingles
    number = lba // shingles.band_sectors
    band_end_lba = (number + 1) * shingles.band_sectors
    end_lba = lba + sectors
    if disk.map[number].next < 0:
        while band_end_lba < end_lba and disk.map[number + 1].next < 0:
            number += 1
            band_end_lba += shingles.band_sectors
        return lba, min(end_lba, band_end_lba) - lba
    address = lba
    run_end_lba = min(end_lba, band_end_lba)
    row = disk.map[number].next
    while row >= 0:
        entry = disk.map[row]
        entry_end_lba = entry.lba + entry.sectors
        if entry.lba <= lba < entry_end_lba:
            address = entry.address + lba - entry.lba
            run_end_lba = min(end_lba, entry_end_lba)
        elif lba < entry.lba < run_end_lba:
            run_end_lba = entry.lba
        row = entry.next
    return address, run_end_lba - lba


@njit(cache=True)
def has_room(disk: DiskState, sectors: int, entries: int) -> bool:
    """Whether so many sectors and entries can be appended before anything is cleaned."""
    shingles = disk.core[0].shingles
    if shingles.head - shingles.tail + entries > shingles.entries:
        return False
    if shingles.head == shingles.tail:
        return bool(sectors <= shingles.cache_sectors)
    end_place = _fitting_place(shingles, sectors) + sectors
    return bool(end_place - oldest(disk).place <= shingles.cache_sectors)


@njit(cache=True)
def take_log(disk: DiskState, sectors: int) -> int:
    """The place of the next ``sectors`` of the log, for which there is room."""
    shingles = disk.core[0].shingles
    place = _fitting_place(shingles, sectors)
    shingles.place = place + sectors
    return place


@njit(cache=True)
def log_address(disk: DiskState, place: int) -> int:
    """The address of a place of the log."""
    return int(disk.core[0].drive.sectors + place % disk.core[0].shingles.cache_sectors)


@njit(cache=True)
def _fitting_place(shingles: Record, sectors: int) -> int:
    """Return the log's next place: the cache's beginning if its end would split the sectors."""
    left = shingles.cache_sectors - shingles.place % shingles.cache_sectors
    return int(shingles.place + (left if sectors > left else 0))
