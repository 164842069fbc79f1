# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of a hard disk, and how they are read from TOML."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from msgspec import field

from freezingtime.device.base import Device
from freezingtime.device.disk.geometry import Geometry, build_geometry
from freezingtime.device.disk.rotation import TURN
from freezingtime.device.disk.seek import SeekCurve, fit_seek_curve
from freezingtime.device.disk.shingles import Shingles
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Bandwidth, SizeBytes, TimeNs, key
from freezingtime.disk_traits import RPM_LEAST, RPM_MOST, DiskTraits

#: Inner over outer rate where only the outer one is published: Hitachi's Deskstar 7K500 manual
#: gives 31.0 and 64.8 MB/s, and other 3.5" drives have nearly the same ratio of radii.
_INNER_OVER_OUTER = 0.48


class DiskParams(ModelParameters, frozen=True, kw_only=True, dict=True):
    """One drive, in the figures of its data sheet.

    The seek times are for reads, and writes take ``write_settle`` longer. Rates are sustained,
    that is with the skews, unless ``rates`` is "media". ``full_stroke`` is twice the average
    unless given (assumed; the Travelstar manuals, which give both, have 1.7 to 1.8).
    """

    changeable = ("overhead", "link", "write_settle", "average_seek", "full_stroke", "age_limit")

    capacity_bytes: Annotated[
        SizeBytes, key("the drive's; a smaller disk lies on its outermost tracks", least=1)
    ]
    rpm: Annotated[int, key("revolutions per minute", least=60, most=100_000)]
    heads: Annotated[int, key("used surfaces", least=1, most=64)]
    track_to_track_ns: Annotated[
        TimeNs, key("the time of a seek to the next track, for reads", least=1)
    ]
    average_seek_ns: Annotated[TimeNs, key("the mean time of a random seek, for reads", least=1)]
    full_stroke: (
        Annotated[
            TimeNs,
            key("the time of a seek over all tracks, for reads", missing="twice `average_seek`"),
        ]
        | None
    ) = None
    seek_crossover: Annotated[
        float,
        key(
            "fraction of all tracks at which the seek curve turns from square root to linear",
            least=0.01,
            most=0.9,
        ),
    ] = 0.3
    write_settle_ns: Annotated[TimeNs, key("extra seek time of writes")] = 500_000
    head_switch: (
        Annotated[
            TimeNs,
            key("the time to another surface of the same cylinder", missing="`track_to_track`"),
        ]
        | None
    ) = None
    outer_rate_bytes_per_s: Annotated[Bandwidth, key("media rate of the outermost zone")]
    inner_rate: (
        Annotated[Bandwidth, key("the rate of the innermost zone", missing="0.48 of `outer_rate`")]
        | None
    ) = None
    rates: Annotated[
        Literal["sustained", "media"],
        key(
            "whether the rates are sustained ones, with head and track switches, or those under "
            "the head"
        ),
    ] = "sustained"
    zone_count: Annotated[
        int, key("zones of equal numbers of sectors per track", least=1, most=256)
    ] = field(default=16, name="zones")
    sector_bytes: Annotated[
        SizeBytes,
        key("the physical sector; smaller writes read it first", least=512, most=4096),
    ] = 4096
    link_bytes_per_s: Annotated[Bandwidth, key("the bandwidth of the interface", most=10**12)] = (
        600_000_000
    )
    overhead_ns: Annotated[TimeNs, key("the controller's time for each command")] = 50_000
    queue_depth: Annotated[
        int,
        key("queue depth of the drive; further commands wait outside", least=1, most=1024),
    ] = field(default=32, name="queue")
    scheduler: Annotated[
        Literal["sptf", "fcfs"],
        key("shortest positioning time first, or first come first served"),
    ] = "sptf"
    age_limit: (
        Annotated[
            TimeNs,
            key(
                "a command that has waited this long goes first",
                missing="`queue` times `full_stroke` and one revolution",
            ),
        ]
        | None
    ) = None
    cache_bytes: Annotated[SizeBytes, key("the drive's memory")] = 64 << 20
    segment_count: Annotated[
        int,
        key("segments of the read cache; 0: no read-ahead", most=1024),
    ] = field(default=16, name="segments")
    read_ahead_bytes: (
        Annotated[SizeBytes, key("length of the read-ahead", missing="a segment")] | None
    ) = None
    write_cache: Annotated[bool, key("whether writes complete when they are in memory")] = True
    write_buffer_bytes: (
        Annotated[SizeBytes, key("memory for writes", missing="half of `cache`")] | None
    ) = None
    write_extents: Annotated[
        int, key("maximum of separate runs of sectors in it", least=1, most=65536)
    ] = 128
    shingles: Shingles | None = field(default=None, name="smr")

    def make(self, making: Making) -> Device:
        from freezingtime.device.disk.model import DiskDevice

        size_bytes = making.size_bytes
        if size_bytes is not None and size_bytes > self.capacity_bytes:
            problem = f"must be at least the disk's size, {size_bytes} bytes"
            raise making.table.error("capacity", problem)
        return DiskDevice(self, making.seed, size_bytes)

    def traits(
        self, _device_class: str, _member_traits: Callable[[Table], DiskTraits]
    ) -> DiskTraits:
        return DiskTraits(
            physical_block_bytes=self.sector_bytes,
            rpm=min(max(self.rpm, RPM_LEAST), RPM_MOST),
            discards=False,
            write_cache=self.write_cache,
        )

    @property
    def full_stroke_ns(self) -> int:
        """The time of a seek over all tracks."""
        return 2 * self.average_seek_ns if self.full_stroke is None else self.full_stroke

    @property
    def head_switch_ns(self) -> int:
        """The time to another surface of the same cylinder."""
        return self.track_to_track_ns if self.head_switch is None else self.head_switch

    @property
    def inner_rate_bytes_per_s(self) -> int:
        """The rate of the innermost zone."""
        if self.inner_rate is None:
            return int(self.outer_rate_bytes_per_s * _INNER_OVER_OUTER)
        return self.inner_rate

    @property
    def shortest_positioning_first(self) -> bool:
        """Whether the scheduler looks for the shortest positioning time."""
        return self.scheduler == "sptf"

    @property
    def age_limit_ns(self) -> int:
        """The longest that a command waits before it goes first.

        By default the time that a full queue takes in order of arrival with the longest access
        for each. An average access takes about half of it, so a queue that was once served in
        that order gets younger than the limit and comes back to shortest positioning first; with
        a limit below, a full queue of random accesses is always older and stays there.
        """
        if self.age_limit is None:
            return self.queue_depth * (self.full_stroke_ns + round(60e9 / self.rpm))
        return self.age_limit

    @property
    def write_buffer_size_bytes(self) -> int:
        """Maximum of writes in the cache: half of it by default."""
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
        """Maximum of read-ahead: a segment by default."""
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
        if self.rates == "sustained":
            cylinder_ns += (self.heads - 1) * self.head_switch_ns + self.cylinder_switch_ns
        return max(1, round(rate * cylinder_ns / 1e9 / self.heads / self.sector_bytes))

    def check(self, table: Table) -> None:
        """Refuse combinations that no drive can have."""
        if self.sector_bytes & (self.sector_bytes - 1):
            raise table.error("sector", "must be 512B, 1KiB, 2KiB or 4KiB")
        if self.inner_rate_bytes_per_s > self.outer_rate_bytes_per_s:
            raise table.error("inner_rate", "must not be more than outer_rate")
        if self.full_stroke_ns < self.track_to_track_ns:
            raise table.error("full_stroke", "must not be less than track_to_track")
        if self.write_buffer_size_bytes > self.cache_bytes:
            raise table.error("write_buffer", "must not be more than cache")
        if self.read_ahead_size_bytes > self.segment_bytes:
            raise table.error(
                "read_ahead", f"must not be more than a cache segment, {self.segment_bytes} bytes"
            )
        if self.shingles is not None:
            self._check_shingles(table, self.shingles)
        for name, about in (("capacity", "geometry"), ("average_seek", "seek_curve")):
            try:
                getattr(self, about)
            except ValueError as error:
                raise table.error(name, str(error)) from error

    def _check_shingles(self, table: Table, shingles: Shingles) -> None:
        for name, size_bytes in (
            ("smr.band", shingles.band_bytes),
            ("smr.clean_unit", shingles.clean_unit_bytes),
        ):
            if size_bytes % self.sector_bytes:
                raise table.error(
                    name, f"must be a multiple of the sector, {self.sector_bytes} bytes"
                )
        if shingles.cache_bytes < 2 * shingles.band_bytes:
            raise table.error(
                "smr.cache", f"must be at least two bands, {2 * shingles.band_bytes} bytes"
            )
