# SPDX-License-Identifier: GPL-2.0-or-later
"""What describes shingled recording that the drive manages by itself.

After Aghayev and Desnoyers, "Skylight - A Window on Shingled Disk Operation", FAST 2015, who
found in Seagate's drives: bands at fixed places (static mapping), one persistent cache on the
platters that takes random writes as a log with a map, and cleaning of one band after the other,
begun when the drive is idle, by reading and rewriting it. Streams of sequential writes go past
the cache.

Each default says where it is from; most are assumed, since vendors publish none of this.
"""

from __future__ import annotations

from dataclasses import dataclass

from freezingtime.device.parameters import Table

#: Where the persistent cache may be.
CACHE_PLACES = ("outer", "middle", "inner")

#: Each band has a row in the map.
_BAND_BYTES_LEAST = 4 << 20

_MAP_ENTRIES_LEAST = 16
_MAP_ENTRIES_MOST = 1 << 24


@dataclass(frozen=True)
class Shingles:
    """Bands, persistent cache and cleaning of a drive-managed SMR drive."""

    band_bytes: int = 30 << 20
    """What is rewritten as one (assumed)."""
    cache_bytes: int = 20_000_000_000
    """The persistent cache; a review of the Archive 8 TB says "almost 20GB" (Hardware Slave)."""
    map_entries: int = 250_000
    """How many runs of sectors the cache's map holds (assumed)."""
    cache_place: str = "outer"
    """Where the cache is; on the outer diameter as a rule (WantSSD, "insights on SMR")."""
    clean_idle_ns: int = 1_000_000_000
    """How long without a command until cleaning begins (assumed)."""
    clean_unit_bytes: int = 1 << 20
    """After how much of cleaning the arm looks for commands (assumed)."""
    stream_bytes: int = 8 << 20
    """How long a sequential run of writes is until it may go past the cache (assumed)."""
    safe_copy: bool = True
    """Whether a merged band is written beside the cache first, so that a power loss while the
    band is overwritten loses nothing (assumed: nothing else saves a band that is half new)."""

    @property
    def persistent_bytes(self) -> int:
        """The room beside the bands: the cache, and where a merged band is kept safe."""
        return self.cache_bytes + (self.band_bytes if self.safe_copy else 0)


def parse_shingles(table: Table, sector_bytes: int) -> Shingles:
    """Read the table ``smr``. Every key has a default: see :class:`Shingles`.

    Raises InputError for a bad value; the message names file, key, value and what is allowed.
    """
    shingles = Shingles(
        band_bytes=table.size_bytes("band", Shingles.band_bytes, least=_BAND_BYTES_LEAST),
        cache_bytes=table.size_bytes("cache", Shingles.cache_bytes),
        map_entries=table.integer(
            "map_entries", Shingles.map_entries, least=_MAP_ENTRIES_LEAST, most=_MAP_ENTRIES_MOST
        ),
        cache_place=table.choice("cache_place", CACHE_PLACES, Shingles.cache_place),
        clean_idle_ns=table.time_ns("clean_idle", Shingles.clean_idle_ns),
        clean_unit_bytes=table.size_bytes("clean_unit", Shingles.clean_unit_bytes, least=1),
        stream_bytes=table.size_bytes("stream", Shingles.stream_bytes, least=1),
        safe_copy=table.boolean("safe_copy", Shingles.safe_copy),
    )
    table.finish()
    for key, size_bytes in (
        ("band", shingles.band_bytes),
        ("clean_unit", shingles.clean_unit_bytes),
    ):
        if size_bytes % sector_bytes:
            raise table.error(key, f"must be a multiple of the sector, {sector_bytes} bytes")
    if shingles.cache_bytes < 2 * shingles.band_bytes:
        raise table.error("cache", f"must be at least two bands, {2 * shingles.band_bytes} bytes")
    return shingles
