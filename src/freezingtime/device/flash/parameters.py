# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of an SSD, and how a TOML table describes them.

What a drive with TLC flash may look like; much has a default::

    precondition = "steady"        # or fresh, sequential
    [parameters.array]
    channels = 8
    chips_per_channel = 2
    dies_per_chip = 2
    planes_per_die = 4
    pages_per_block = 1536         # of a plane
    page = "16KiB"
    [parameters.cells]
    t_read = "48us, 64us, 80us"    # by kind of page, in the order of the block's pages
    t_program = "1.9ms"
    t_erase = "10ms"
    pages_per_program = 3
    multi_plane = true
    plane_reads = true
    t_suspend = "20us"
    [parameters.channel]
    bandwidth = "1.2GB/s"
    [parameters.host]
    bandwidth = "6.8GB/s"
    t_submission = "2us"
    t_read = "5us"                 # fixed times beside those of the flash
    t_write = "6us"
    [parameters.write_buffer]
    size = "32MiB"
    power_loss_protection = true
    [parameters.slc_cache]
    share = 0.01                   # of the disk: blocks of its own,
    dynamic_share = 0.1            # and free ones
    t_program = "250us"
    [parameters.mapping]
    over_provisioning = 0.28
    cache = "64MiB"                # of the map; it is all in DRAM if missing
    wear_spread = 20               # static wear levelling; off if missing
    gc_idle_free_blocks = 8        # garbage collection in idle time; off if missing

``[parameters.zones]`` with ``size`` makes it an SSD with zones instead: see :mod:`.zones`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import field

from freezingtime.device.base import Device
from freezingtime.device.flash.hardware import Array, Cells, Channel, DurationNs, Host
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import (
    Bandwidth,
    Parameters,
    SizeBytes,
    key,
    keys_of,
)
from freezingtime.disk_traits import DiskTraits
from freezingtime.errors import about

WRITE_BUFFER_BYTES_MAX = 2**32

_SECTOR_BYTES = 512
_MAPPING_UNIT_BYTES_MAX = 32 * 1024
#: What the mapping may say with zones, which have no translation layer.
_MAPPING_WITH_ZONES = ("unit", "order")


class WriteBuffer(Parameters, frozen=True, kw_only=True):
    """Memory in which writes complete."""

    write_buffer_bytes: Annotated[
        SizeBytes,
        key("0: writes complete when they are on flash", most=WRITE_BUFFER_BYTES_MAX),
    ] = field(default=0, name="size")
    buffer_bytes_per_s: Annotated[Bandwidth, key("its bandwidth")] = field(
        default=3_200_000_000, name="bandwidth"
    )
    buffer_access_ns: Annotated[DurationNs, key("its time for each access")] = field(
        default=0, name="t_access"
    )
    power_loss_protection: Annotated[
        bool, key("whether its content survives a power loss, so that flushes need not wait")
    ] = False


class SlcCache(Parameters, frozen=True, kw_only=True):
    """Blocks that are programmed with one bit a cell, and folded into ordinary ones later."""

    slc_cache_share: Annotated[
        float,
        key(
            "capacity of its own blocks as a fraction of the disk; 0: it has none",
            least=0.0,
            most=1.0,
        ),
    ] = field(default=0.0, name="share")
    slc_dynamic_share: Annotated[
        float,
        key(
            "capacity that it takes besides of blocks that are free, likewise; the fuller the "
            "disk, the less",
            least=0.0,
            most=1.0,
        ),
    ] = field(default=0.0, name="dynamic_share")
    slc_bits_per_cell: Annotated[int, key("bits of a cell that is not in it", least=2, most=5)] = (
        field(default=3, name="bits_per_cell")
    )
    slc_read_ns: Annotated[DurationNs, key("time to read one of its pages")] = field(
        default=25_000, name="t_read"
    )
    slc_program_ns: Annotated[DurationNs, key("time to program one of its pages")] = field(
        default=200_000, name="t_program"
    )
    slc_fold_ns: (
        Annotated[
            DurationNs,
            key("time to program what is folded", missing="the cells' mean `t_program`"),
        ]
        | None
    ) = field(default=None, name="t_fold")
    slc_idle_ns: Annotated[DurationNs, key("idle time after which a die folds")] = field(
        default=100_000_000, name="t_idle"
    )

    @property
    def has_blocks(self) -> bool:
        """Whether there is such a cache."""
        return bool(self.slc_cache_share or self.slc_dynamic_share)


class Translation(Parameters, frozen=True, kw_only=True):
    """The flash translation layer."""

    mapping_unit_bytes: Annotated[
        SizeBytes,
        key(
            "mapping granularity; a power of two",
            least=_SECTOR_BYTES,
            most=_MAPPING_UNIT_BYTES_MAX,
        ),
    ] = field(default=4096, name="unit")
    allocation: Annotated[
        Literal["static", "dynamic"],
        key("whether an address has a fixed die, or goes to the next program's die"),
    ] = "dynamic"
    allocation_order: Annotated[
        str,
        key(
            "which of channel (C), way (W: chip), die (D) and plane (P) changes fastest from "
            "page to page"
        ),
    ] = field(default="CWDP", name="order")
    over_provisioning: Annotated[
        float, key("spare capacity over the disk's", least=0.01, most=10.0)
    ] = 0.07
    gc_policy: Annotated[Literal["greedy", "cost-benefit"], key("victim selection")] = "greedy"
    gc_free_blocks: Annotated[
        int,
        key("free blocks of a plane below which garbage is collected", least=2, most=4096),
    ] = 2
    gc_pacing: Annotated[
        Literal["spread", "burst"],
        key("whether collection is spread over the writes that need its space, or done at once"),
    ] = "spread"
    gc_idle_free_blocks: Annotated[
        int,
        key("free blocks of a plane up to which an idle die collects; 0: it does not", most=2**24),
    ] = 0
    gc_idle_ns: Annotated[DurationNs, key("idle time after which a die collects")] = 50_000_000
    wear_spread: (
        Annotated[
            int,
            key(
                "erases by which blocks of a plane may differ before cold data are moved",
                least=1,
                most=10**6,
                missing="any number",
            ),
        ]
        | None
    ) = None
    mapping_cache_bytes: (
        Annotated[
            SizeBytes,
            key(
                "memory for a part of the map",
                least=_SECTOR_BYTES,
                missing="it is all in DRAM",
            ),
        ]
        | None
    ) = field(default=None, name="cache")
    discard: Annotated[
        Literal["honoured", "ignored"],
        key("whether a discard makes garbage of what it covers (`ignored`: it only takes time)"),
    ] = "honoured"

    unwritten: Annotated[
        Literal["zeros", "flash"],
        key(
            "what is read where nothing was written: zeros, at once, or what was written in "
            "order before, from the flash"
        ),
    ] = "zeros"

    @property
    def honours_discard(self) -> bool:
        """Whether a discard makes garbage of what it covers; else it only takes its time."""
        return self.discard == "honoured"


class Zones(Parameters, frozen=True, kw_only=True):
    """Makes it a drive with zones: [what that means](../devices/zoned.md)."""

    zone_bytes: Annotated[SizeBytes, key("the size of a zone", least=_SECTOR_BYTES)] = field(
        name="size"
    )
    writable_bytes: (
        Annotated[
            SizeBytes,
            key("writable part of a zone", least=_SECTOR_BYTES, missing="`size`"),
        ]
        | None
    ) = field(default=None, name="capacity")
    open_limit: (
        Annotated[
            int,
            key(
                "zones that may be partly written at once",
                least=1,
                most=2**24,
                missing="as many as the buffer has room for",
            ),
        ]
        | None
    ) = None
    active_limit: (
        Annotated[int, key("likewise; the smaller of both applies", least=1, most=2**24)] | None
    ) = None
    zone_lanes: (
        Annotated[
            int,
            key("number of dies or planes that a zone spans", least=1, most=65536, missing="all"),
        ]
        | None
    ) = field(default=None, name="planes")

    @property
    def zone_capacity_bytes(self) -> int:
        """Writable bytes of a zone."""
        return self.zone_bytes if self.writable_bytes is None else self.writable_bytes

    @property
    def zone_limit(self) -> int | None:
        """Zones that may be partly written at once; None: as many as the buffer has room for."""
        limits = [limit for limit in (self.open_limit, self.active_limit) if limit is not None]
        return min(limits, default=None)


class FlashParams(ModelParameters, frozen=True, kw_only=True):
    """An SSD, as it is described; what only a description can have wrong, :meth:`check` refuses."""

    changeable = (
        *("cells.t_read", "cells.t_program", "cells.t_erase", "cells.t_resume", "channel"),
        *("host.bandwidth", "host.t_submission", "host.t_command_interval", "host.t_read"),
        *("host.t_write", "host.t_flush", "host.t_discard", "write_buffer.bandwidth"),
        *("write_buffer.t_access", "slc_cache.t_read", "slc_cache.t_program", "slc_cache.t_fold"),
    )

    array: Array
    cells: Cells
    channel: Channel
    host: Host
    write_buffer: WriteBuffer = WriteBuffer()
    slc_cache: SlcCache = SlcCache()
    mapping: Translation = Translation()
    zones: Zones | None = None
    precondition: Annotated[
        Literal["fresh", "sequential", "steady"],
        key(
            "whether the SSD is empty, written once in order, or in the steady state of collection"
        ),
    ] = "fresh"

    def make(self, making: Making) -> Device:
        from freezingtime.device.flash.model import FlashDevice

        with about(f"{making.table.file}: "):
            return FlashDevice(
                self, making.seed, making.size_bytes, with_history=making.with_history
            )

    def protects_writes(self) -> bool:
        return self.write_buffer.power_loss_protection

    def traits(
        self, _device_class: str, _member_traits: Callable[[Table], DiskTraits]
    ) -> DiskTraits:
        unit_bytes = self.mapping.mapping_unit_bytes
        return DiskTraits(rpm=0, discard_granularity_bytes=unit_bytes)

    def check(self, table: Table) -> None:
        if self.array.pages_per_block % self.cells.pages_per_program:
            raise table.error("cells.pages_per_program", "must divide the array's pages_per_block")
        if self.cells.plane_reads and self.cells.scheduler != "die":
            raise table.error("cells.plane_reads", 'needs scheduler = "die"')
        if self.cells.suspend_ns is not None and not self.cells.read_priority:
            raise table.error("cells.t_suspend", "needs read_priority = true")
        self._check_mapping(table)
        if self.zones is not None:
            self._check_zones(table, self.zones)

    def _check_mapping(self, table: Table) -> None:
        mapping = self.mapping
        unit_bytes, page_bytes = mapping.mapping_unit_bytes, self.array.page_bytes
        if unit_bytes & (unit_bytes - 1):
            raise table.error("mapping.unit", "must be a power of two from 512B to 32KiB")
        if page_bytes % unit_bytes:
            raise table.error("mapping.unit", f"must divide the array's page, {page_bytes} bytes")
        if sorted(mapping.allocation_order) != sorted("CWDP"):
            raise table.error(
                "mapping.order", "must name C, W, D and P (channel, way, die, plane) once each"
            )
        if "mapping.gc_idle" in table and not mapping.gc_idle_free_blocks:
            raise table.error(
                "mapping.gc_idle", "needs gc_idle_free_blocks, the number to collect up to"
            )
        if (mapping.mapping_cache_bytes or unit_bytes) < unit_bytes:
            raise table.error("mapping.cache", f"must be at least a unit, {unit_bytes} bytes")

    def _check_zones(self, table: Table, zones: Zones) -> None:
        """Refuse what does not go with zones, which have a fixed mapping."""
        unit_bytes = self.mapping.mapping_unit_bytes
        if zones.zone_capacity_bytes > zones.zone_bytes:
            raise table.error(
                "zones.capacity", f"must be at most the zone's size, {zones.zone_bytes} bytes"
            )
        for name, size_bytes in (
            ("size", zones.zone_bytes),
            ("capacity", zones.zone_capacity_bytes),
        ):
            if size_bytes % unit_bytes:
                raise table.error(
                    f"zones.{name}", f"must be a multiple of the mapping's unit, {unit_bytes} bytes"
                )
        for declared in keys_of(Translation):
            path = f"mapping.{declared.name}"
            if path in table and declared.name not in _MAPPING_WITH_ZONES:
                raise table.error(
                    path, "has no meaning with zones, whose mapping is fixed; remove it"
                )
        if self.slc_cache.has_blocks:
            raise table.error("slc_cache", "zones have no SLC cache; remove it")
        if self.precondition == "steady":
            raise table.error("precondition", 'must be "fresh" or "sequential" with zones')
        buffer = self.write_buffer
        if not (buffer.write_buffer_bytes and buffer.power_loss_protection):
            raise table.error("write_buffer", "zones need one with power_loss_protection = true")
