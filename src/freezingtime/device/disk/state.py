# SPDX-License-Identifier: GPL-2.0-or-later
"""The drive's whole state as arrays, which the compiled kernels read and write.

One record array per part. Times are in ns of guest time, addresses and lengths in sectors.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.annotations.columns import ANNOTATION
from freezingtime.device.disk.parameters import DiskParams
from freezingtime.device.disk.rotation import TURN
from freezingtime.device.disk.seek import SeekCurve
from freezingtime.device.disk.shingle_state import SHINGLES, cache_at_lba, fill_shingles, new_map
from freezingtime.device.records import fill, record

#: One element of a record array; the type checker knows no fields.
Record: TypeAlias = Any
Records: TypeAlias = Any


class Phase(IntEnum):
    """Stage of a request on its way through the drive."""

    FREE = 0
    """The slot holds no request."""
    INCOMING = 1
    """The controller decodes the command, until ``time_ns``."""
    PENDING = 2
    """Waits for the arm."""
    ACTIVE = 3
    """The arm is at it."""
    STALLED = 4
    """A write that waits for room in the write buffer."""
    FLUSHING = 5
    """A flush that waits for earlier writes."""
    DONE = 6
    """Completes at ``time_ns``."""


class Activity(IntEnum):
    """Activity of the arm until ``end_ns``."""

    IDLE = 0
    MEDIA = 1
    """Serves the request in slot ``target``."""
    DESTAGE = 2
    """Writes extent ``target`` of the write buffer."""
    AHEAD = 3
    """Reads ahead into segment ``target``; any command ends it."""
    LAST_SECTOR = 4
    """Ends the sector at which reading ahead was interrupted."""
    CLEAN = 5
    """A step of cleaning a band of a shingled drive."""


DRIVE = record(
    "rpm",
    "phase",
    "heads",
    "track_skew",
    "cylinder_skew",
    "head_switch_ns",
    "cylinder_switch_ns",
    "write_settle_ns",
    "overhead_ns",
    "link_bytes_per_s",
    "sector_bytes",
    "sectors",
    "shingled",
    "cache_at_lba",  # the persistent cache lies before this sector's place
    "persistent_sectors",  # the room of persistent cache and safe copy
    "shortest_positioning_first",
    "age_limit_ns",
    "write_buffer_sectors",
    "extent_sectors",
    "segment_sectors",
    "read_ahead_sectors",
)

SEEK = np.dtype([(name, np.float64) for name in SeekCurve._fields])

ARM = record(
    "activity",
    "target",
    "end_ns",
    "cylinder",
    "head",
    "next_lba",  # the sector after the last one that was transferred
    "ahead_segment",  # where reading ahead would go on, or -1
    "ahead_lba",  # the next sector that reading ahead gets
    "ahead_end_lba",  # where reading ahead stops by itself
    "ahead_ns",  # when the head came to ahead_lba
    "link_free_ns",
    "sequence",
    "buffered_sectors",
    "buffered_extents",
)

SLOT = record(
    "phase",
    "tag",
    "operation",
    "fua",
    "sequence",
    "admitted_ns",
    "waiting_since_ns",  # for what is next in held_by
    "held_by",
    "time_ns",
    "lba",
    "sectors",
    "media_lba",  # what is left to be done by the arm
    "media_sectors",
    "arm_sectors",  # how many of them the arm is at
    "eligible_ns",  # the transfer may not begin before
    "cylinder",
    "head",
    "angle",
    annotation=ANNOTATION,
)

EXTENT = record(
    "sectors",  # 0: unused
    "lba",
    "active",  # how many of its sectors the arm is at
    "sequence",
    "eligible_ns",
    "cylinder",
    "head",
    "angle",
)

SEGMENT = record(
    "lba",
    "end_lba",
    "used",
    "asked_end_lba",  # what is behind was read ahead and nobody has asked for it
)

COUNTERS = record(
    "media_operations",
    "seeks",
    "seek_ns",
    "rotation_ns",
    "transfer_ns",
    "read_hits",
    "read_misses",
    "writes_buffered",
    "writes_absorbed",
    "writes_stalled",
    "destaged_extents",
    "destaged_sectors",
    "sectors_read_ahead",
    "sectors_cached",  # written to the persistent cache
    "sectors_streamed",  # written past it
    "bands_cleaned",
)


#: What there is one of. One array, since each one more makes every call of a kernel dearer.
CORE = record(
    drive=DRIVE,
    seek=SEEK,
    arm=ARM,
    counters=COUNTERS,
    shingles=SHINGLES,
    cleaner=EXTENT,  # the extent that cleaning is at
)


class DiskState(NamedTuple):
    """All arrays of one drive; ``core`` has one record, ``map`` is the map of a shingled drive."""

    core: Records
    zones: NDArray[np.int64]
    slots: Records
    extents: Records
    segments: Records
    map: Records


def new_state(params: DiskParams, seed: int) -> DiskState:
    """A drive with empty caches; the seed chooses where arm and platter are at time 0."""
    generator = np.random.Generator(np.random.PCG64(seed))
    geometry = params.geometry
    sector_bytes = params.sector_bytes
    core = np.zeros(1, CORE)
    shingles = params.shingles
    buffer_sectors = params.write_buffer_size_bytes // sector_bytes
    values = {
        "phase": generator.integers(TURN),
        "sectors": geometry.sectors if shingles is None else params.logical_sectors,
        "shingled": shingles is not None,
        "cache_at_lba": geometry.sectors if shingles is None else cache_at_lba(params),
        "persistent_sectors": shingles.persistent_bytes // sector_bytes if shingles else 0,
        "write_buffer_sectors": buffer_sectors,
        # An extent keeps the arm from reads for as long as it is: some tracks at most.
        "extent_sectors": max(1, buffer_sectors // 16),
        "segment_sectors": params.segment_bytes // sector_bytes,
        "read_ahead_sectors": params.read_ahead_size_bytes // sector_bytes,
    }
    fill(core["drive"], values, geometry, params)
    core["seek"] = np.array(params.seek_curve, SEEK)
    arm = core["arm"]
    arm["cylinder"] = generator.integers(geometry.cylinders)
    arm["ahead_segment"] = -1
    fill_shingles(core["shingles"], params)
    return DiskState(
        core=core,
        zones=geometry.zones,
        slots=np.zeros(params.queue_depth, SLOT),
        extents=np.zeros(params.write_extents, EXTENT),
        segments=np.zeros(params.segment_count, SEGMENT),
        map=new_map(params),
    )
