# SPDX-License-Identifier: GPL-2.0-or-later
"""What describes a hard disk: the parameters, and how they are read from TOML."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from freezingtime.device.disk.geometry import Geometry, build_geometry
from freezingtime.device.disk.rotation import TURN
from freezingtime.device.disk.seek import SeekCurve, fit_seek_curve
from freezingtime.device.disk.shingles import Shingles, parse_shingles
from freezingtime.device.parameters import Table

#: Inner over outer rate where only the outer one is published: Hitachi's Deskstar 7K500 manual
#: gives 31.0 and 64.8 MB/s, and other 3.5" drives have nearly the same ratio of radii.
_INNER_OVER_OUTER = 0.48

_SECTOR_BYTES_MOST = 4096
_LINK_MOST = 10**12


@dataclass(frozen=True)
class DiskParams:
    """One drive, in the figures of its data sheet. See :func:`parse` for what each means."""

    capacity_bytes: int
    rpm: int
    heads: int
    track_to_track_ns: int
    average_seek_ns: int
    full_stroke_ns: int
    outer_rate_bytes_per_s: int
    inner_rate_bytes_per_s: int
    head_switch_ns: int
    write_settle_ns: int = 500_000
    seek_crossover: float = 0.3
    rates_sustained: bool = True
    zone_count: int = 16
    sector_bytes: int = 4096
    link_bytes_per_s: int = 600_000_000
    overhead_ns: int = 50_000
    cache_bytes: int = 64 << 20
    segment_count: int = 16
    read_ahead_bytes: int | None = None
    write_cache: bool = True
    write_buffer_bytes: int | None = None
    write_extents: int = 128
    queue_depth: int = 32
    shortest_positioning_first: bool = True
    age_limit_ns: int = 500_000_000
    shingles: Shingles | None = None

    @property
    def write_buffer_size_bytes(self) -> int:
        """What the cache holds of writes at most: half of it unless said otherwise."""
        if not self.write_cache:
            return 0
        if self.write_buffer_bytes is None:
            return self.cache_bytes // 2
        return self.write_buffer_bytes

    @property
    def segment_bytes(self) -> int:
        """The size of one read segment; 0 where there is none."""
        if self.segment_count == 0:
            return 0
        return (self.cache_bytes - self.write_buffer_size_bytes) // self.segment_count

    @property
    def read_ahead_size_bytes(self) -> int:
        """How far reading goes on by itself: a segment unless said otherwise."""
        if self.read_ahead_bytes is None:
            return self.segment_bytes
        return self.read_ahead_bytes

    @property
    def logical_sectors(self) -> int:
        """The sectors that the host may address."""
        return -(-self.capacity_bytes // self.sector_bytes)

    @property
    def cylinder_switch_ns(self) -> int:
        """From a cylinder's last track to the next one's first: arm and head at once."""
        return max(self.track_to_track_ns, self.head_switch_ns)

    @cached_property
    def geometry(self) -> Geometry:
        """The layout. Raises ValueError for a capacity that is too small for it."""
        return build_geometry(
            capacity_bytes=self.capacity_bytes
            + (self.shingles.persistent_bytes if self.shingles else 0),
            sector_bytes=self.sector_bytes,
            heads=self.heads,
            sectors_per_track=np.array(
                [self._sectors_per_track(zone) for zone in range(self.zone_count)], dtype=np.int64
            ),
            track_skew=self.head_switch_ns * self.rpm,
            cylinder_skew=self.cylinder_switch_ns * self.rpm,
        )

    @cached_property
    def seek_curve(self) -> SeekCurve:
        """The fitted curve. Raises ValueError if the three figures contradict each other."""
        return fit_seek_curve(
            self.track_to_track_ns,
            self.average_seek_ns,
            self.full_stroke_ns,
            self.geometry.cylinders,
            self.seek_crossover,
        )

    def _sectors_per_track(self, zone: int) -> int:
        inwards = zone / (self.zone_count - 1) if self.zone_count > 1 else 0.0
        outer, inner = self.outer_rate_bytes_per_s, self.inner_rate_bytes_per_s
        rate = outer + (inner - outer) * inwards
        cylinder_ns = self.heads * TURN / self.rpm
        if self.rates_sustained:
            cylinder_ns += (self.heads - 1) * self.head_switch_ns + self.cylinder_switch_ns
        return max(1, round(rate * cylinder_ns / 1e9 / self.heads / self.sector_bytes))


def parse(table: Table) -> DiskParams:
    """Read a drive.

    ``capacity``, ``rpm``, ``heads``, ``track_to_track``, ``average_seek`` and ``outer_rate`` are
    needed; the seek times are for reads, and writes take ``write_settle`` longer. Rates are
    sustained, that is with the skews, unless ``rates = "media"``. ``full_stroke`` is twice the
    average unless given (assumed; the Travelstar manuals, which give both, have 1.7 to 1.8).
    With a table ``smr`` (:func:`~freezingtime.device.disk.shingles.parse_shingles`) the drive is
    shingled.

    Raises InputError for a bad value; the message names file, key, value and what is allowed.
    """
    average_seek_ns = table.time_ns("average_seek", least=1)
    track_to_track_ns = table.time_ns("track_to_track", least=1)
    outer_rate = table.bandwidth_bytes_per_s("outer_rate")
    sector_bytes = table.size_bytes("sector", DiskParams.sector_bytes, least=512)
    if sector_bytes & (sector_bytes - 1) or sector_bytes > _SECTOR_BYTES_MOST:
        raise table.error("sector", "must be 512B, 1KiB, 2KiB or 4KiB")
    shingles = table.sub("smr")
    params = DiskParams(
        capacity_bytes=table.size_bytes("capacity", least=1),
        rpm=table.integer("rpm", least=60, most=100_000),
        heads=table.integer("heads", least=1, most=64),
        track_to_track_ns=track_to_track_ns,
        average_seek_ns=average_seek_ns,
        full_stroke_ns=table.time_ns("full_stroke", 2 * average_seek_ns),
        seek_crossover=table.number("seek_crossover", 0.3, least=0.01, most=0.9),
        write_settle_ns=table.time_ns("write_settle", DiskParams.write_settle_ns),
        head_switch_ns=table.time_ns("head_switch", track_to_track_ns),
        outer_rate_bytes_per_s=outer_rate,
        inner_rate_bytes_per_s=table.bandwidth_bytes_per_s(
            "inner_rate", int(outer_rate * _INNER_OVER_OUTER)
        ),
        rates_sustained=table.choice("rates", ("sustained", "media"), "sustained") == "sustained",
        zone_count=table.integer("zones", 16, least=1, most=256),
        sector_bytes=sector_bytes,
        link_bytes_per_s=table.bandwidth_bytes_per_s("link", DiskParams.link_bytes_per_s),
        overhead_ns=table.time_ns("overhead", DiskParams.overhead_ns),
        queue_depth=table.integer("queue", DiskParams.queue_depth, least=1, most=1024),
        shortest_positioning_first=table.choice("scheduler", ("sptf", "fcfs"), "sptf") == "sptf",
        age_limit_ns=table.time_ns("age_limit", DiskParams.age_limit_ns),
        cache_bytes=table.size_bytes("cache", DiskParams.cache_bytes),
        segment_count=table.integer("segments", DiskParams.segment_count, most=1024),
        read_ahead_bytes=_optional_size_bytes(table, "read_ahead"),
        write_cache=table.boolean("write_cache", True),
        write_buffer_bytes=_optional_size_bytes(table, "write_buffer"),
        write_extents=table.integer("write_extents", DiskParams.write_extents, least=1, most=65536),
        shingles=None if shingles is None else parse_shingles(shingles, sector_bytes),
    )
    table.finish()
    _check(params, table)
    return params


def _optional_size_bytes(table: Table, key: str) -> int | None:
    size_bytes = table.size_bytes(key, 0)
    return size_bytes if key in table else None


def _check(params: DiskParams, table: Table) -> None:
    """Refuse combinations that no drive can have."""
    if params.inner_rate_bytes_per_s > params.outer_rate_bytes_per_s:
        raise table.error("inner_rate", "must not be more than outer_rate")
    if params.full_stroke_ns < params.track_to_track_ns:
        raise table.error("full_stroke", "must not be less than track_to_track")
    if params.link_bytes_per_s > _LINK_MOST:
        raise table.error("link", "must be at most 1TB/s")
    if params.write_buffer_size_bytes > params.cache_bytes:
        raise table.error("write_buffer", "must not be more than cache")
    if params.read_ahead_size_bytes > params.segment_bytes:
        raise table.error(
            "read_ahead", f"must not be more than a cache segment, {params.segment_bytes} bytes"
        )
    try:
        _ = params.geometry
    except ValueError as error:
        raise table.error("capacity", str(error)) from error
    try:
        _ = params.seek_curve
    except ValueError as error:
        raise table.error("average_seek", str(error)) from error
