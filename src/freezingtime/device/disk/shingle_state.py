# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of shingled recording as arrays: bands, the persistent cache's map, cleaning.

Addresses are those of the logical sectors, and beyond the last of them the sectors of the
persistent cache, then those of the safe copy. A *place* counts the sectors that were ever
appended to the cache's log; the log is circular.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.disk.parameters import DiskParams
from freezingtime.device.records import record as record_type
from freezingtime.units import NEVER_NS


class Cleaning(IntEnum):
    """Step of cleaning a band."""

    NONE = 0
    READ = 1
    """The band is read."""
    MERGE = 2
    """What the cache holds of it is read."""
    COPY = 3
    """The merged band is written beside the cache."""
    WRITE = 4
    """The band is written."""


SHINGLES = record_type(
    "bands",  # how many
    "band_sectors",
    "cache_sectors",
    "append_sectors",  # the most that is appended at once
    "stream_sectors",
    "unit_sectors",
    "safe_copy",
    "clean_idle_ns",
    "entries",  # how many the map has room for
    "tail",  # the number of the oldest entry of the map that counts
    "head",  # the number of the next one
    "place",  # where the log goes on
    "append_ns",  # when the next append is composed
    "direct",  # whether the write under way goes past the cache
    "write_place",  # where its data begins in the log
    "run_lba",  # the latest run of writes that continue each other
    "run_end_lba",
    "stream_lba",  # where the open stream goes on, or -1
    "stream_number",  # its entry in the map
    "clean_ns",  # when idle time has been long enough
    "cleaning",
    "clean_lba",
    "clean_limit",  # entries from this number on are newer than the cleaning
    "clean_done",
    "clean_place",  # up to where the log has been merged
    "step_sectors",
    "step_place",
)

#: A run of sectors of one band that is newer than the band. A stream's entry is at home: its
#: address is its lba. Before the entries, the map has a row for each band, the head of the list
#: of its entries, oldest first.
ENTRY = record_type(
    "sectors",  # 0: superseded
    "lba",
    "address",
    "place",
    "number",
    "next",  # the row of the band's next newer entry, or -1
    "last",  # of a band: the row of its newest entry, or its own
)


def cache_at_lba(params: DiskParams) -> int:
    """The sector before which the persistent cache lies: a band's first, or none."""
    assert params.shingles is not None
    if params.shingles.cache_place == "outer":
        return 0
    if params.shingles.cache_place == "inner":
        return params.logical_sectors
    band_sectors = params.shingles.band_bytes // params.sector_bytes
    return params.logical_sectors // band_sectors // 2 * band_sectors


def fill_shingles(record: NDArray[np.void], params: DiskParams) -> None:
    """Set the one record to clean bands and an empty cache."""
    record["clean_ns"] = NEVER_NS
    record["stream_lba"] = record["stream_number"] = record["run_end_lba"] = -1
    shingles = params.shingles
    if shingles is None:
        return
    sector_bytes = params.sector_bytes
    band_sectors = shingles.band_bytes // sector_bytes
    cache_sectors = shingles.cache_bytes // sector_bytes
    record["band_sectors"] = band_sectors
    record["bands"] = -(-params.logical_sectors // band_sectors)
    record["entries"] = shingles.map_entries
    record["cache_sectors"] = cache_sectors
    record["append_sectors"] = min(band_sectors, cache_sectors // 8)
    record["stream_sectors"] = -(-shingles.stream_bytes // sector_bytes)
    record["unit_sectors"] = shingles.clean_unit_bytes // sector_bytes
    record["safe_copy"] = shingles.safe_copy
    record["clean_idle_ns"] = shingles.clean_idle_ns


def new_map(params: DiskParams) -> NDArray[np.void]:
    """An empty map; of a conventional disk, nothing."""
    if params.shingles is None:
        return np.zeros(0, ENTRY)
    band_sectors = params.shingles.band_bytes // params.sector_bytes
    bands = -(-params.logical_sectors // band_sectors)
    rows = np.zeros(bands + params.shingles.map_entries, ENTRY)
    rows["next"] = -1
    rows["last"] = np.arange(len(rows))
    return rows
