# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of hard disks share: one drive and ways to run it."""

from __future__ import annotations

import tomllib

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.disk import DiskDevice, DiskParams
from freezingtime.device.disk.geometry import (
    FIRST_LBA,
    FIRST_TRACK,
    SECTORS_PER_TRACK,
    Geometry,
    track_angle,
)
from freezingtime.device.disk.rotation import TURN
from freezingtime.device.parameters import Table
from freezingtime.request import Operation

#: A 7200 rpm desktop drive: the figures of a data sheet.
DRIVE = """
capacity = "4TB"
rpm = 7200
heads = 8
track_to_track = "0.6ms"
average_seek = "8.5ms"
full_stroke = "18ms"
head_switch = "0.8ms"
outer_rate = "205MB/s"
inner_rate = "95MB/s"
"""

TURN_NS = 60e9 / 7200
BLOCK_BYTES = 4096

Int64s = NDArray[np.int64]


def drive(more: str = "") -> DiskParams:
    """The drive, with keys added or replaced."""
    return Table(tomllib.loads(DRIVE) | tomllib.loads(more), "drive.toml").read(DiskParams)


def random_offsets(count: int, size_bytes: int, seed: int = 1) -> Int64s:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, size_bytes // BLOCK_BYTES, count) * BLOCK_BYTES


def closed_loop(
    device: DiskDevice,
    offsets_bytes: Int64s,
    *,
    depth: int = 1,
    operation: Operation = Operation.READ,
    length_bytes: int = BLOCK_BYTES,
) -> tuple[Int64s, Int64s]:
    count = len(offsets_bytes)
    return device.complete_closed(
        depth,
        np.full(count, int(operation), np.int64),
        offsets_bytes,
        np.full(count, length_bytes, np.int64),
    )


def iops(completions_ns: Int64s) -> float:
    return len(completions_ns) / (int(completions_ns.max()) / 1e9)


def lba_at(geometry: Geometry, cylinder: int, head: int, angle: int) -> int:
    """The sector that starts at exactly this place: the inverse of ``geometry.locate``.

    Raises ValueError if none does.
    """
    track = cylinder * geometry.heads + head
    first_tracks = geometry.zones[:, FIRST_TRACK]
    zone = geometry.zones[np.searchsorted(first_tracks, track, side="right") - 1]
    sectors_per_track = int(zone[SECTORS_PER_TRACK])
    skew = track_angle(track, geometry.heads, geometry.track_skew, geometry.cylinder_skew)
    # The start of a sector is rounded down to a whole angle: rounding up undoes it.
    sector = -(-((angle - skew) % TURN) * sectors_per_track // TURN)
    lba = int(zone[FIRST_LBA]) + (track - int(zone[FIRST_TRACK])) * sectors_per_track + sector
    if not 0 <= lba < geometry.sectors or geometry.locate(lba) != (cylinder, head, angle):
        raise ValueError(f"no sector starts at cylinder {cylinder}, head {head}, angle {angle}")
    return lba
