# SPDX-License-Identifier: GPL-2.0-or-later
"""What an SSD is made of: its parameters, and how a TOML table describes them.

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
    share = 0.04                   # of the disk
    t_program = "250us"
    [parameters.mapping]
    over_provisioning = 0.28
    cache = "64MiB"                # of the map; it is all in DRAM if missing
    wear_spread = 20               # static wear levelling; off if missing
    gc_idle_free_blocks = 8        # garbage collection in idle time; off if missing

``[parameters.zones]`` with ``size`` makes it an SSD with zones instead: see :mod:`.zones`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freezingtime.device.parameters import Table
from freezingtime.errors import InputError
from freezingtime.units import parse_time_ns

ALLOCATIONS = ("static", "dynamic")
SCHEDULERS = ("plane", "die", "chip")
GC_POLICIES = ("greedy", "cost-benefit")
GC_PACINGS = ("spread", "burst")
DISCARDS = ("honoured", "ignored")
LINK_TRANSFERS = ("pipelined", "whole")
PRECONDITIONS = ("fresh", "sequential", "steady")
PAGE_KINDS_MAX = 8
WRITE_BUFFER_BYTES_MAX = 2**32

_SECTOR_BYTES = 512
_MAPPING_UNIT_BYTES_MAX = 32 * 1024
_MAPPING_WITHOUT_ZONES = (
    "allocation",
    "over_provisioning",
    "gc_policy",
    "gc_free_blocks",
    "gc_pacing",
    "gc_idle",
    "gc_idle_free_blocks",
    "wear_spread",
    "cache",
    "discard",
)
_TIME_NS_MAX = 60 * 10**9


@dataclass(frozen=True, kw_only=True)
class FlashParams:
    """An SSD. Built by :func:`parse`, which checks; the defaults are plain TLC flash.

    The unit of everything is in its name; a bandwidth counts bytes per second.
    """

    # The flash array. None: as many blocks as the disk's size needs.
    channels: int
    chips_per_channel: int
    dies_per_chip: int
    planes_per_die: int
    pages_per_block: int
    page_bytes: int
    blocks_per_plane: int | None = None

    # The cells. One time for each kind of page, in the order in which a block has them.
    read_ns: tuple[int, ...] = (60_000,)
    program_ns: tuple[int, ...] = (600_000,)
    erase_ns: int = 3_500_000
    pages_per_program: int = 1
    """Pages of one plane that are programmed at once (3: one-shot TLC)."""
    multi_plane: bool = False
    """Whether the planes of a die work in lockstep on one wide page."""
    scheduler: str = "die"
    """What does one thing at a time: a plane, a die, or (as in MQSim) a chip."""
    plane_reads: bool = False
    """Whether the planes of a die read for the host independently of each other."""
    read_priority: bool = True
    """Whether host reads pass programs, erases and garbage collection that wait."""
    suspend_ns: int | None = None
    """Time to suspend a program or erase for a read; None: it runs to its end."""
    resume_ns: int = 0
    suspensions_per_operation: int = 4

    # The way between the host and the cells.
    channel_bytes_per_s: int = 800_000_000
    read_command_ns: int = 300
    transfer_setup_ns: int = 0
    program_command_ns: int = 300
    link_bytes_per_s: int = 3_200_000_000
    link_transfer: str = "pipelined"
    """A read's data go to the host page by page, or once all of it is there."""
    queue_depth: int = 1024
    writes_waiting_max: int | None = None
    """While so many writes wait for room in the write buffer, no command is taken up; None: any."""
    submission_ns: int = 0
    command_interval_ns: int = 0
    """The least time between two commands that the controller takes up."""
    read_overhead_ns: int = 0
    write_overhead_ns: int = 0
    flush_ns: int = 0
    discard_ns: int = 0

    # The write buffer. 0 bytes: writes complete when they are on flash.
    write_buffer_bytes: int = 0
    buffer_bytes_per_s: int = 3_200_000_000
    buffer_access_ns: int = 0
    power_loss_protection: bool = False
    """Whether what is in the buffer counts as stable."""

    # The SLC cache: spare blocks that are programmed with one bit a cell. 0: none.
    slc_cache_share: float = 0.0
    """What fits into it, as a share of the disk; it scales with the disk."""
    slc_bits_per_cell: int = 3
    """Bits of a cell that is not in the cache: how many times less a block holds in it."""
    slc_read_ns: int = 25_000
    slc_program_ns: int = 200_000
    slc_idle_ns: int = 100_000_000
    """A die that has been idle for so long folds what is cached into ordinary blocks."""

    # The flash translation layer.
    mapping_unit_bytes: int = 4096
    allocation: str = "dynamic"
    allocation_order: str = "CWDP"
    """Which of channel, way (chip), die and plane changes fastest from page to page."""
    over_provisioning: float = 0.07
    """Spare capacity over the logical capacity."""
    gc_policy: str = "greedy"
    gc_free_blocks: int = 2
    """Garbage is collected where a plane has fewer free blocks than this; at least 2."""
    gc_pacing: str = "spread"
    gc_idle_free_blocks: int = 0
    """Free blocks of a plane up to which an idle die collects garbage; 0: it does not."""
    gc_idle_ns: int = 50_000_000
    """A die that has been idle for so long collects garbage."""
    wear_spread: int | None = None
    """Erases by which blocks of a plane may differ before cold data are moved; None: any."""
    zone_bytes: int = 0
    """0: there are no zones, but a flash translation layer."""
    zone_capacity_bytes: int = 0
    zone_lanes: int | None = None
    """Over how many dies, or planes that work on their own, a zone lies; None: all."""
    zone_limit: int | None = None
    """Zones that may be partly written at once; None: as many as the buffer has room for."""
    mapping_cache_bytes: int | None = None
    """Memory for the part of the map that is not only on flash; None: the map is all in DRAM."""
    honours_discard: bool = True
    """Whether a discard makes garbage of what it covers; else it only takes its time."""
    precondition: str = "fresh"


def parse(table: Table) -> FlashParams:
    """Read an SSD's parameters.

    Raises:
        InputError: a value is missing, unknown or not possible; file and key are named.
    """
    array, cells, mapping = (table.sub_or_empty(key) for key in ("array", "cells", "mapping"))
    zones = table.sub("zones")
    params = FlashParams(
        **_parse_array(array),
        **_parse_cells(cells),
        **_parse_channel(table.sub_or_empty("channel")),
        **_parse_host(table.sub_or_empty("host")),
        **_parse_write_buffer(table.sub_or_empty("write_buffer")),
        **_parse_slc_cache(table.sub_or_empty("slc_cache")),
        **_parse_mapping(mapping),
        **_parse_zones(zones),
        precondition=table.choice("precondition", PRECONDITIONS, "fresh"),
    )
    if zones is not None:
        zones.finish()
        _check_zones(params, table, mapping, zones)
    for part in (array, cells, mapping, table):
        part.finish()
    if params.pages_per_block % params.pages_per_program:
        raise cells.error("pages_per_program", "must divide the array's pages_per_block")
    if params.plane_reads and params.scheduler != "die":
        raise cells.error("plane_reads", 'needs scheduler = "die"')
    if params.suspend_ns is not None and not params.read_priority:
        raise cells.error("t_suspend", "needs read_priority = true")
    if params.page_bytes % params.mapping_unit_bytes:
        raise mapping.error("unit", f"must divide the array's page, {params.page_bytes} bytes")
    return params


def _parse_array(table: Table) -> dict[str, Any]:
    return {
        "channels": table.integer("channels", least=1, most=256),
        "chips_per_channel": table.integer("chips_per_channel", 1, least=1, most=256),
        "dies_per_chip": table.integer("dies_per_chip", 1, least=1, most=64),
        "planes_per_die": table.integer("planes_per_die", 1, least=1, most=64),
        "pages_per_block": table.integer("pages_per_block", least=1, most=65536),
        "page_bytes": table.size_bytes("page", least=_SECTOR_BYTES),
        "blocks_per_plane": table.integer("blocks_per_plane", 0, most=2**24) or None,
    }


def _parse_cells(table: Table) -> dict[str, Any]:
    return {
        "read_ns": _times_ns(table, "t_read"),
        "program_ns": _times_ns(table, "t_program"),
        "erase_ns": _time_ns(table, "t_erase", None),
        "pages_per_program": table.integer("pages_per_program", 1, least=1, most=16),
        "multi_plane": table.boolean("multi_plane", False),
        "scheduler": table.choice("scheduler", SCHEDULERS, "die"),
        "plane_reads": table.boolean("plane_reads", False),
        "read_priority": table.boolean("read_priority", True),
        "suspend_ns": _time_ns(table, "t_suspend", 0) if "t_suspend" in table else None,
        "resume_ns": _time_ns(table, "t_resume", 0),
        "suspensions_per_operation": table.integer("suspensions", 4, least=1, most=100),
    }


def _parse_channel(table: Table) -> dict[str, Any]:
    values = {
        "channel_bytes_per_s": table.bandwidth_bytes_per_s("bandwidth"),
        "read_command_ns": _time_ns(table, "t_read_command", 300),
        "transfer_setup_ns": _time_ns(table, "t_setup", 0),
        "program_command_ns": _time_ns(table, "t_program_command", 300),
    }
    table.finish()
    return values


def _parse_host(table: Table) -> dict[str, Any]:
    values = {
        "link_bytes_per_s": table.bandwidth_bytes_per_s("bandwidth"),
        "link_transfer": table.choice("transfer", LINK_TRANSFERS, "pipelined"),
        "queue_depth": table.integer("queue_depth", 1024, least=1, most=65536),
        "writes_waiting_max": table.integer("writes_waiting", 0, most=65536) or None,
        "submission_ns": _time_ns(table, "t_submission", 0),
        "command_interval_ns": _time_ns(table, "t_command_interval", 0),
        "read_overhead_ns": _time_ns(table, "t_read", 0),
        "write_overhead_ns": _time_ns(table, "t_write", 0),
        "flush_ns": _time_ns(table, "t_flush", 0),
        "discard_ns": _time_ns(table, "t_discard", 0),
    }
    table.finish()
    return values


def _parse_write_buffer(table: Table) -> dict[str, Any]:
    values = {
        "write_buffer_bytes": table.size_bytes("size", 0),
        "buffer_bytes_per_s": table.bandwidth_bytes_per_s("bandwidth", 3_200_000_000),
        "buffer_access_ns": _time_ns(table, "t_access", 0),
        "power_loss_protection": table.boolean("power_loss_protection", False),
    }
    if values["write_buffer_bytes"] > WRITE_BUFFER_BYTES_MAX:
        raise table.error("size", f"must be at most {WRITE_BUFFER_BYTES_MAX} bytes")
    table.finish()
    return values


def _parse_slc_cache(table: Table) -> dict[str, Any]:
    values = {
        "slc_cache_share": table.number("share", 0.0, most=1.0),
        "slc_bits_per_cell": table.integer("bits_per_cell", 3, least=2, most=5),
        "slc_read_ns": _time_ns(table, "t_read", 25_000),
        "slc_program_ns": _time_ns(table, "t_program", 200_000),
        "slc_idle_ns": _time_ns(table, "t_idle", 100_000_000),
    }
    table.finish()
    return values


def _parse_mapping(table: Table) -> dict[str, Any]:
    unit_bytes = table.size_bytes("unit", 4096, least=_SECTOR_BYTES)
    if unit_bytes & (unit_bytes - 1) or unit_bytes > _MAPPING_UNIT_BYTES_MAX:
        raise table.error("unit", "must be a power of two from 512 to 32KiB")
    order = table.text("order", "CWDP")
    if sorted(order) != sorted("CWDP"):
        raise table.error("order", "must name C, W, D and P (channel, way, die, plane) once each")
    return {
        "mapping_unit_bytes": unit_bytes,
        "allocation": table.choice("allocation", ALLOCATIONS, "dynamic"),
        "allocation_order": order,
        "over_provisioning": table.number("over_provisioning", 0.07, least=0.01, most=10.0),
        "gc_policy": table.choice("gc_policy", GC_POLICIES, "greedy"),
        "gc_free_blocks": table.integer("gc_free_blocks", 2, least=2, most=4096),
        "gc_pacing": table.choice("gc_pacing", GC_PACINGS, "spread"),
        **_parse_idle_collection(table),
        "wear_spread": (
            table.integer("wear_spread", least=1, most=10**6) if "wear_spread" in table else None
        ),
        "mapping_cache_bytes": (
            table.size_bytes("cache", least=unit_bytes) if "cache" in table else None
        ),
        "honours_discard": table.choice("discard", DISCARDS, "honoured") == "honoured",
    }


def _parse_zones(table: Table | None) -> dict[str, Any]:
    if table is None:
        return {}
    zone_bytes = table.size_bytes("size", least=_SECTOR_BYTES)
    capacity_bytes = table.size_bytes("capacity", zone_bytes, least=_SECTOR_BYTES)
    if capacity_bytes > zone_bytes:
        raise table.error("capacity", f"must be at most the zone's size, {zone_bytes} bytes")
    limits = [
        table.integer(key, least=1, most=2**24)
        for key in ("open_limit", "active_limit")
        if key in table
    ]
    return {
        "zone_bytes": zone_bytes,
        "zone_capacity_bytes": capacity_bytes,
        "zone_lanes": table.integer("planes", least=1, most=65536) if "planes" in table else None,
        "zone_limit": min(limits, default=None),
    }


def _check_zones(params: FlashParams, table: Table, mapping: Table, zones: Table) -> None:
    """Refuse what does not go with zones, which have a fixed mapping."""
    unit_bytes = params.mapping_unit_bytes
    for key in ("size", "capacity"):
        value_bytes = params.zone_bytes if key == "size" else params.zone_capacity_bytes
        if value_bytes % unit_bytes:
            raise zones.error(key, f"must be a multiple of the mapping's unit, {unit_bytes} bytes")
    for key in _MAPPING_WITHOUT_ZONES:
        if key in mapping:
            raise mapping.error(key, "has no meaning with zones, whose mapping is fixed; remove it")
    if params.slc_cache_share:
        raise table.error("slc_cache", "zones have no SLC cache; remove it")
    if params.precondition == "steady":
        raise table.error("precondition", 'must be "fresh" or "sequential" with zones')
    if not (params.write_buffer_bytes and params.power_loss_protection):
        raise table.error("write_buffer", "zones need one with power_loss_protection = true")


def _parse_idle_collection(table: Table) -> dict[str, Any]:
    free_blocks = table.integer("gc_idle_free_blocks", 0, most=2**24)
    if "gc_idle" in table and not free_blocks:
        raise table.error("gc_idle", "needs gc_idle_free_blocks, the number to collect up to")
    return {
        "gc_idle_free_blocks": free_blocks,
        "gc_idle_ns": _time_ns(table, "gc_idle", 50_000_000),
    }


def _time_ns(table: Table, key: str, default_ns: int | None) -> int:
    """A time of at most a minute: sums of them stay far inside 64 bits."""
    time_ns = table.time_ns(key) if default_ns is None else table.time_ns(key, default_ns)
    if time_ns > _TIME_NS_MAX:
        raise table.error(key, "must be at most 60s")
    return time_ns


def _times_ns(table: Table, key: str) -> tuple[int, ...]:
    """One time, or several with commas between: one for each kind of page."""
    problem = 'must be a time such as "60us", or one per kind of page: "48us, 64us"'
    parts = table.text(key).split(",")
    try:
        times_ns = tuple(parse_time_ns(part) for part in parts)
    except InputError as error:
        raise table.error(key, problem) from error
    if len(times_ns) > PAGE_KINDS_MAX or not all(0 < time <= _TIME_NS_MAX for time in times_ns):
        raise table.error(key, f"must be 1 to {PAGE_KINDS_MAX} times of more than 0, up to 60s")
    return times_ns
