# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of drive-managed shingled recording.

After Aghayev and Desnoyers, "Skylight - A Window on Shingled Disk Operation", FAST 2015, who
found in Seagate's drives: bands at fixed places (static mapping), one persistent cache on the
platters that takes random writes as a log with a map, and cleaning of one band after the other,
begun when the drive is idle, by reading and rewriting it. Streams of sequential writes go past
the cache.

Each default says where it is from; most are assumed, since vendors publish none of this.
"""

from __future__ import annotations

from typing import Annotated, Literal

from freezingtime.device.schema import Parameters, SizeBytes, TimeNs, key


class Shingles(Parameters, frozen=True, kw_only=True):
    """Makes the drive a shingled one that manages that by itself."""

    # Each band has a row in the map. Its size is assumed.
    band_bytes: Annotated[SizeBytes, key("unit of rewriting", least=4 << 20)] = 30 << 20
    # A review of the Archive 8 TB says "almost 20GB" (Hardware Slave).
    cache_bytes: Annotated[SizeBytes, key("the persistent cache on the platters")] = 20_000_000_000
    # Assumed.
    map_entries: Annotated[int, key("runs of sectors in its map", least=16, most=1 << 24)] = 250_000
    # On the outer diameter as a rule (WantSSD, "insights on SMR").
    cache_place: Annotated[Literal["outer", "middle", "inner"], key("its location")] = "outer"
    # The rest is assumed.
    clean_idle_ns: Annotated[TimeNs, key("idle time until cleaning begins")] = 1_000_000_000
    clean_unit_bytes: Annotated[
        SizeBytes, key("amount of cleaning after which the arm checks for commands", least=1)
    ] = 1 << 20
    stream_bytes: Annotated[
        SizeBytes,
        key("length of a sequential run of writes before it bypasses the cache", least=1),
    ] = 8 << 20
    # A power loss while the band is overwritten loses nothing: nothing else saves one half new.
    safe_copy: Annotated[
        bool, key("whether a merged band is written beside the cache before it is overwritten")
    ] = True

    @property
    def persistent_bytes(self) -> int:
        """The room beside the bands: the cache, and where a merged band is kept safe."""
        return self.cache_bytes + (self.band_bytes if self.safe_copy else 0)
