# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSD's whole state as arrays, which the compiled kernels read and write.

One record array per part (:mod:`.layout`). The two maps store numbers plus one, so that 0
means unmapped: memory that nobody has written to is zero and costs nothing until it is used.
The map of a large drive is in chunks, which get their places as something is written to them:
random writes to it would soon have touched every page of memory of a map in order of units.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.flash import layout
from freezingtime.device.flash.geometry import FlashGeometry, frontiers
from freezingtime.device.flash.hardware import PAGE_KINDS_MAX
from freezingtime.device.flash.layout import NONE, Role
from freezingtime.device.flash.parameters import FlashParams
from freezingtime.device.records import fill
from freezingtime.errors import InputError
from freezingtime.host.memory.free_memory import free_memory_bytes

#: A record array; the type checker knows no fields.
Records: TypeAlias = Any

#: Without a write buffer, so many units may be on their way to the flash.
_UNBUFFERED_UNITS = 65536
_READ_COMMANDS_LEAST = 4096
_SECTOR_BYTES = 512
_TRANSLATIONS_PER_LANE = 16
_SECTORS_PER_UNIT_MAX = 32
_UNLIMITED = 2**62
#: Slots and units are stored plus one: so many have numbers of 32 bits.
_NARROW_SLOTS_MAX = 2**31 - 2
#: From so many units on, a map of what was never written has chunks.
_SPARSE_UNITS_LEAST = 2**29
#: Arrays that are larger than that are not taken for memory that will all be used.
_RESERVED_BYTES_MAX = 1 << 30
_SMALLER_MAP = "use a smaller disk, a larger mapping unit"
_MAP_NORESERVE = 0x4000  # of Linux; in Python's mmap from 3.12 on


class FlashState(NamedTuple):
    """All arrays of one SSD; ``config`` to ``counters`` have one record."""

    config: Records
    queue: Records
    link: Records
    ftl: Records
    counters: Records
    slot_of_unit: NDArray[np.signedinteger]
    unit_of_slot: NDArray[np.signedinteger]
    chunks: NDArray[np.int32]
    blocks: Records
    lanes: Records
    open_slots: Records
    servers: Records
    readers: Records
    channels: Records
    commands: Records
    requests: Records
    translations: Records
    zones: Records
    pieces: Records
    events: Records
    epochs: Records
    done: Records


def new_state(params: FlashParams, geometry: FlashGeometry) -> FlashState:
    """An SSD that was never written to, idle.

    Raises:
        InputError: the host has not the memory for its map.
    """
    config = new_config(params, geometry)
    servers = int(geometry.server_of_lane.max()) + 1
    readers = servers * geometry.readers_per_server
    staging_units = int(config["staging_units"][0])
    jobs = staging_units + servers + int(config["translation_jobs_max"][0])
    commands = jobs + max(_READ_COMMANDS_LEAST, params.host.queue_depth)
    pieces = min(staging_units, 65536)
    events = servers * (3 + params.cells.suspensions_per_operation) + readers
    events += 2 * params.host.queue_depth + pieces + 1
    map_type = np.int64 if config["wide_map"][0] else np.int32
    mapped_units = geometry.units + geometry.translation_pages
    if params.precondition != "fresh":  # which writes to all of the map
        _check_memory((mapped_units + geometry.slots) * np.dtype(map_type).itemsize)
    chunk_count = -(-mapped_units // layout.CHUNK_UNITS) if config["sparse_map"][0] else 0
    state = FlashState(
        config=config,
        queue=np.zeros(1, layout.QUEUE),
        link=np.zeros(1, layout.LINK),
        ftl=np.zeros(1, layout.FTL),
        counters=np.zeros(1, layout.COUNTERS),
        slot_of_unit=_zeros(chunk_count * layout.CHUNK_UNITS or mapped_units, map_type),
        unit_of_slot=_zeros(geometry.slots, map_type),
        # The number of those in use, then for each chunk its place, plus one.
        chunks=_zeros(1 + chunk_count if chunk_count else 0, np.int32),
        blocks=np.zeros(geometry.lanes * geometry.blocks_per_lane, layout.BLOCK),
        lanes=np.zeros(geometry.lanes, layout.LANE),
        open_slots=np.zeros(geometry.lanes * geometry.slots_per_program, layout.OPEN_SLOT),
        servers=np.zeros(servers, layout.SERVER),
        readers=np.zeros(readers, layout.READER),
        channels=np.zeros(params.array.channels, layout.CHANNEL),
        commands=np.zeros(commands, layout.COMMAND),
        requests=np.zeros(params.host.queue_depth, layout.REQUEST),
        translations=np.zeros(geometry.translation_pages, layout.TRANSLATION),
        zones=np.zeros(geometry.zones, layout.ZONE),
        pieces=np.zeros(pieces, layout.PIECE),
        events=np.zeros(events, layout.EVENT),
        epochs=np.zeros(params.host.queue_depth + 1, layout.EPOCH),
        done=np.zeros(params.host.queue_depth, layout.DONE),
    )
    _reset(state, geometry)
    if geometry.zones:
        state.blocks["role"] = Role.CLOSED
        state.lanes["free_count"] = 0
    return state


def new_config(params: FlashParams, geometry: FlashGeometry) -> Records:
    """All that the kernels know of the description."""
    unit_bytes = params.mapping.mapping_unit_bytes
    buffer_units = params.write_buffer.write_buffer_bytes // unit_bytes
    reserved_blocks = geometry.slc_blocks_per_lane + params.mapping.gc_free_blocks
    reserved_blocks += frontiers(params)
    usable_blocks = geometry.blocks_per_lane - reserved_blocks
    gc_program_ns = sum(params.cells.program_ns) // len(params.cells.program_ns)
    fold_ns = params.slc_cache.slc_fold_ns
    values = {
        "unit_bytes": unit_bytes,
        "units": geometry.units + geometry.translation_pages,
        "host_units": geometry.units,
        "wide_map": geometry.slots > _NARROW_SLOTS_MAX,
        "sparse_map": _is_sparse(params, geometry),
        "cached_pages_max": (params.mapping.mapping_cache_bytes or 0) // unit_bytes,
        "translation_jobs_max": _translation_jobs(params, geometry),
        "sector_bytes": max(_SECTOR_BYTES, unit_bytes // _SECTORS_PER_UNIT_MAX),
        "slc_blocks": geometry.slc_blocks_per_lane,
        "slc_dynamic_blocks": geometry.slc_dynamic_blocks_per_lane,
        "unwritten_on_flash": params.mapping.unwritten == "flash",
        "lane_slots_max": usable_blocks * geometry.slots_per_block,
        "dynamic": params.mapping.allocation == "dynamic",
        "cost_benefit": params.mapping.gc_policy == "cost-benefit",
        "gc_burst": params.mapping.gc_pacing == "burst",
        "wear_spread": NONE if params.mapping.wear_spread is None else params.mapping.wear_spread,
        "zone_bytes": params.zones.zone_bytes if params.zones else 0,
        "zone_capacity_bytes": params.zones.zone_capacity_bytes if params.zones else 0,
        "read_kinds": len(params.cells.read_ns),
        "program_kinds": len(params.cells.program_ns),
        "gc_read_ns": sum(params.cells.read_ns) // len(params.cells.read_ns),
        "gc_program_ns": gc_program_ns,
        "fold_program_ns": gc_program_ns if fold_ns is None else fold_ns,
        "suspend_ns": NONE if params.cells.suspend_ns is None else params.cells.suspend_ns,
        "writes_waiting_max": params.host.writes_waiting_max or _UNLIMITED,
        "suspensions_max": params.cells.suspensions_per_operation,
        "read_ns": _by_kind(params.cells.read_ns),
        "program_ns": _by_kind(params.cells.program_ns),
        "honours_discard": params.mapping.honours_discard,
        "link_whole": params.host.link_transfer == "whole",
        "buffered": buffer_units > 0,
        "staging_units": buffer_units or _UNBUFFERED_UNITS,
    }
    config = np.zeros(1, layout.CONFIG)
    # What the geometry says of erasing and zones goes before what was declared.
    parts = (params.array, params.cells, params.channel, params.host, params.write_buffer)
    fill(config, values, geometry, *parts, params.slc_cache, params.mapping)
    return config


def _is_sparse(params: FlashParams, geometry: FlashGeometry) -> bool:
    """Whether the map has chunks. Random writes to a large drive are far apart from each other.

    A history writes to all chunks; translation pages are counted in the map as it is.
    """
    is_large = geometry.units >= _SPARSE_UNITS_LEAST and not geometry.translation_pages
    return is_large and params.precondition == "fresh"


def _zeros(count: int, kind: type[np.signedinteger]) -> NDArray[np.signedinteger]:
    """Return zeros that take memory where they are written to; there may be more than memory."""
    size_bytes = count * np.dtype(kind).itemsize
    if size_bytes <= _RESERVED_BYTES_MAX:
        return np.zeros(count, kind)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        reserved = mmap.mmap(-1, size_bytes, flags=flags)
    except OSError as error:  # a limit of the process (ulimit -v), or of the kernel
        raise InputError(
            f"the SSD's map takes addresses for {_gib(size_bytes)}, which this process may "
            f"not have ({error.strerror}): {_SMALLER_MAP}"
        ) from error
    return np.frombuffer(reserved, kind)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _check_memory(map_bytes: int) -> None:
    free_bytes = free_memory_bytes()
    if map_bytes > free_bytes:
        raise InputError(
            f"the SSD's map takes {_gib(map_bytes)} of memory, and this host has "
            f"{_gib(free_bytes)}: {_SMALLER_MAP}, or precondition = fresh"
        )


def _by_kind(times_ns: Sequence[int]) -> NDArray[np.int64]:
    """Times of the kinds of pages, as the record has them."""
    return np.pad(np.array(times_ns, np.int64), (0, PAGE_KINDS_MAX - len(times_ns)))


def _translation_jobs(params: FlashParams, geometry: FlashGeometry) -> int:
    """Return the maximum number of translation pages in flight.

    More than can lie in open slots and wait for company: some of them always come to an end.
    """
    if params.mapping.mapping_cache_bytes is None:
        return 0
    return geometry.lanes * (geometry.slots_per_program + _TRANSLATIONS_PER_LANE)


def _reset(state: FlashState, geometry: FlashGeometry) -> None:
    """Link the free lists and mark what is empty."""
    state.lanes["server"] = geometry.server_of_lane
    state.lanes["channel"] = geometry.channel_of_lane
    state.lanes["reader"] = geometry.reader_of_lane
    state.readers["server"] = np.arange(state.readers.size) // geometry.readers_per_server
    blocks = geometry.blocks_per_lane
    first = np.arange(geometry.lanes) * blocks
    state.lanes["free_head"] = first
    state.lanes["free_tail"] = first + blocks - 1
    state.lanes["free_count"] = blocks
    for records in (state.blocks, state.requests, state.commands):
        records["next"] = np.arange(1, records.size + 1)
        records["next"][-1] = NONE
    state.blocks["next"][first + blocks - 1] = NONE
    state.queue["free_commands"] = state.commands.size
    for records, names in (
        (state.lanes, ("host_block", "gc_block", "cold_block", "through")),
        (state.translations, ("newer", "older", "wait_head", "wait_tail")),
        (state.ftl, ("newest_page", "oldest_page")),
        (state.servers, ("job_head", "job_tail", "job")),
        (state.readers, ("head", "tail", "read")),
        (state.queue, ("command_head", "command_tail", "write_head", "write_tail")),
        (state.queue, ("read_wait_head", "read_wait_tail")),
    ):
        for name in names:
            records[name] = NONE
