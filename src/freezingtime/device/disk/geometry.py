# SPDX-License-Identifier: GPL-2.0-or-later
"""Position of a sector: zones, tracks, cylinders, heads and angles, in exact integers.

Sectors are laid out along a track, then over the heads of a cylinder, then cylinder by cylinder
from the outer edge inwards. Each track starts later in the turn than the one before by the
time that the arm needs to get there (skew), so that a sequential transfer loses no turn. Zones
have the same number of cylinders each; the sectors per track fall linearly from the first to
the last, as the radius does.

Not modelled: spare sectors, remapped defects, and serpentine layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.disk.rotation import TURN

#: Columns of the zone table.
FIRST_LBA, FIRST_TRACK, SECTORS_PER_TRACK = 0, 1, 2

#: Zones have whole cylinders: with fewer than this, rounding would show.
_ZONE_CYLINDERS_LEAST = 16
#: Several times what any drive has (in 2024, half a million tracks to the inch).
_CYLINDERS_MOST = 4_000_000


@dataclass(frozen=True, slots=True)
class Geometry:
    """The layout of one drive. ``zones`` has one row per zone, from the outer edge inwards."""

    zones: NDArray[np.int64]
    heads: int
    cylinders: int
    sectors: int
    sector_bytes: int
    track_skew: int
    """Angle between the starts of neighbouring tracks of a cylinder."""
    cylinder_skew: int
    """Angle between the starts of a cylinder's last track and the next one's first."""

    def locate(self, lba: int) -> tuple[int, int, int]:
        """The cylinder, head and angle at which sector ``lba`` (0 to ``sectors`` - 1) starts."""
        track, sector, sectors_per_track = locate_sector(self.zones, lba)
        skew = track_angle(track, self.heads, self.track_skew, self.cylinder_skew)
        angle = (skew + sector * TURN // sectors_per_track) % TURN
        return track // self.heads, track % self.heads, angle


def locate_sector(zones: NDArray[np.int64], lba: int) -> tuple[int, int, int]:
    """The track of ``lba`` counted from the outer edge, its place on it, the track's sectors."""
    low, high = 0, len(zones)
    while high - low > 1:
        middle = (low + high) // 2
        if zones[middle, 0] <= lba:
            low = middle
        else:
            high = middle
    beyond = lba - zones[low, 0]
    sectors_per_track = zones[low, 2]
    track = zones[low, 1] + beyond // sectors_per_track
    return track, beyond % sectors_per_track, sectors_per_track


def track_angle(track: int, heads: int, track_skew: int, cylinder_skew: int) -> int:
    """The angle at which a track's first sector starts."""
    cylinder = track // heads
    return ((track - cylinder) * track_skew + cylinder * cylinder_skew) % 60_000_000_000


def build_geometry(
    *,
    capacity_bytes: int,
    sector_bytes: int,
    heads: int,
    sectors_per_track: NDArray[np.int64],
    track_skew: int,
    cylinder_skew: int,
) -> Geometry:
    """A drive of at least ``capacity_bytes``; one zone per entry of ``sectors_per_track``.

    Raises ValueError if the capacity would fill too few cylinders or too many; the text gives the
    bound.
    """
    capacity_sectors = -(-capacity_bytes // sector_bytes)
    per_cylinder_of_each = heads * int(sectors_per_track.sum())
    zone_cylinders = -(-capacity_sectors // per_cylinder_of_each)
    zone_count = len(sectors_per_track)
    if zone_cylinders < _ZONE_CYLINDERS_LEAST:
        least_bytes = ((_ZONE_CYLINDERS_LEAST - 1) * per_cylinder_of_each + 1) * sector_bytes
        raise ValueError(f"must be at least {least_bytes} bytes with these heads, rates and zones")
    if zone_cylinders * zone_count > _CYLINDERS_MOST:
        raise ValueError(
            f"takes {zone_cylinders * zone_count} cylinders with these heads, rates and zones; "
            f"must be at most {_CYLINDERS_MOST}"
        )
    zone_sectors = sectors_per_track * heads * zone_cylinders
    zones = np.zeros((zone_count, 3), dtype=np.int64)
    zones[1:, FIRST_LBA] = np.cumsum(zone_sectors)[:-1]
    zones[:, FIRST_TRACK] = np.arange(zone_count) * zone_cylinders * heads
    zones[:, SECTORS_PER_TRACK] = sectors_per_track
    return Geometry(
        zones=zones,
        heads=heads,
        cylinders=zone_cylinders * zone_count,
        sectors=int(zone_sectors.sum()),
        sector_bytes=sector_bytes,
        track_skew=track_skew % TURN,
        cylinder_skew=cylinder_skew % TURN,
    )
