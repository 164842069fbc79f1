# SPDX-License-Identifier: GPL-2.0-or-later
"""Cleaning: a band and what the cache holds of it become the band again. Compiled.

The band of the log's oldest entry is read, its cached runs are read and merged, the result is
written beside the cache and then to the band. This is done in steps, between which the arm is
free for commands.
"""

from __future__ import annotations

from numba import njit

from freezingtime.device.disk.kernels import mechanics, shingle_map
from freezingtime.device.disk.shingle_state import Cleaning
from freezingtime.device.disk.state import Activity, DiskState
from freezingtime.units import NEVER_NS


@njit(cache=True)
def clean_when_idle(disk: DiskState, now_ns: int) -> None:
    """The arm has nothing to do: clean, if that has been so for long enough."""
    shingles = disk.core[0].shingles
    if shingles.tail == shingles.head and shingles.cleaning == Cleaning.NONE:
        shingles.clean_ns = NEVER_NS
        return
    if shingles.clean_ns == NEVER_NS:
        shingles.clean_ns = now_ns + shingles.clean_idle_ns
    if now_ns >= shingles.clean_ns:
        start_step(disk, now_ns)


@njit(cache=True)
def start_step(disk: DiskState, now_ns: int) -> None:
    """Go on with cleaning, or begin with the band of the oldest entry, of which there is one."""
    arm, shingles, cleaner = disk.core[0].arm, disk.core[0].shingles, disk.core[0].cleaner
    if shingles.cleaning == Cleaning.NONE:
        oldest_lba = shingle_map.oldest(disk).lba
        shingles.clean_lba = oldest_lba - oldest_lba % shingles.band_sectors
        shingles.clean_limit = shingles.head
        shingles.clean_done = 0
        shingles.cleaning = Cleaning.READ
    address = _next_address(disk)
    mechanics.place(disk, cleaner, address)
    is_write = shingles.cleaning == Cleaning.COPY or shingles.cleaning == Cleaning.WRITE
    mechanics.begin(disk, cleaner, address, shingles.step_sectors, is_write, now_ns)
    arm.activity = Activity.CLEAN


@njit(cache=True)
def end_step(disk: DiskState) -> None:
    """A step is done; after the last one, the cache holds nothing older of the band."""
    shingles = disk.core[0].shingles
    if shingles.cleaning == Cleaning.MERGE:
        shingles.clean_place = shingles.step_place
        return
    shingles.clean_done += shingles.step_sectors
    length = _band_length(disk)
    if shingles.cleaning == Cleaning.WRITE and shingles.clean_done == length:
        lba = shingles.clean_lba
        shingle_map.forget(disk, lba, lba + length, shingles.clean_limit)
        shingles.cleaning = Cleaning.NONE
        disk.core[0].counters.bands_cleaned += 1


@njit(cache=True)
def _next_address(disk: DiskState) -> int:
    """Return the address of the next step; set its number of sectors."""
    shingles = disk.core[0].shingles
    length = _band_length(disk)
    if shingles.cleaning == Cleaning.READ and shingles.clean_done == length:
        shingles.cleaning = Cleaning.MERGE
        shingles.clean_place = -1
    if shingles.cleaning == Cleaning.MERGE:
        row = _next_to_merge(disk)
        if row >= 0:
            entry = disk.map[row]
            shingles.step_place = entry.place
            shingles.step_sectors = entry.sectors
            return int(entry.address)
        shingles.clean_done = 0
        shingles.cleaning = Cleaning.COPY if shingles.safe_copy else Cleaning.WRITE
    if shingles.cleaning == Cleaning.COPY and shingles.clean_done == length:
        shingles.clean_done = 0
        shingles.cleaning = Cleaning.WRITE
    shingles.step_sectors = min(shingles.unit_sectors, length - shingles.clean_done)
    if shingles.cleaning == Cleaning.COPY:
        return int(disk.core[0].drive.sectors + shingles.cache_sectors + shingles.clean_done)
    return int(shingles.clean_lba + shingles.clean_done)


@njit(cache=True)
def _next_to_merge(disk: DiskState) -> int:
    """The band's next run in the log that is not newer than the cleaning, or -1."""
    shingles = disk.core[0].shingles
    row = disk.map[shingles.clean_lba // shingles.band_sectors].next
    while row >= 0:
        entry = disk.map[row]
        logged = entry.address >= disk.core[0].drive.sectors
        if logged and entry.place > shingles.clean_place and entry.number < shingles.clean_limit:
            return int(row)
        row = entry.next
    return -1


@njit(cache=True)
def _band_length(disk: DiskState) -> int:
    """The sectors of the band that is cleaned; the last band may be shorter."""
    shingles = disk.core[0].shingles
    return int(min(shingles.band_sectors, disk.core[0].drive.sectors - shingles.clean_lba))
