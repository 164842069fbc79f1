# SPDX-License-Identifier: GPL-2.0-or-later
"""The shape of the flash, in the units in which the translation layer counts.

A **lane** is what has a write frontier of its own: a plane or, where the planes of a die
work in lockstep, a die. Lanes are numbered in the order in which data are striped over
them. A **slot** holds one mapping unit; the slots of a lane's block are numbered in the order
in which they are programmed, page by page, over all blocks of lane 0, then lane 1, and so on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.flash.parameters import FlashParams, Zones
from freezingtime.errors import InputError
from freezingtime.units import format_size_bytes

#: Chunks of 16 units have numbers of 31 bits.
_SLOTS_MAX = 2**35 - 32
#: A block that nobody fixed shrinks until a lane has this many: with fewer, the spare space
#: is too coarse for garbage collection to behave as it does on the full-size drive.
_BLOCKS_PER_LANE_LEAST = 128
_PROGRAMS_PER_BLOCK_LEAST = 4
#: How near to what was asked for the spare space is to come, if blocks allow it.
_SPARE_TOLERANCE = 0.002
#: What the map needs for a unit: a slot's number.
_MAP_ENTRY_BYTES = 4


@dataclass(frozen=True)
class FlashGeometry:
    """The shape of one SSD; counts, and tables by lane."""

    units: int
    """Mapping units that the host can address."""
    translation_entries: int
    """Units whose places a translation page holds; it takes up a mapping unit itself."""
    translation_pages: int
    """0 if the whole map is in DRAM."""
    slots_per_sense: int
    """Slots that one read of the cells covers."""
    slots_per_read: int
    """Those of them that a plane reads on its own, if planes do."""
    readers_per_server: int
    """How many pages a server can read at once for the host."""
    slots_per_program: int
    slots_per_block: int
    blocks_per_lane: int
    slc_slots_per_block: int
    """Slots of a block that is used with one bit a cell."""
    slc_blocks_per_lane: int
    slc_dynamic_blocks_per_lane: int
    """Ordinary blocks that may be used so besides while they are free."""
    erase_ns: int
    channel_of_lane: NDArray[np.int64]
    server_of_lane: NDArray[np.int64]
    reader_of_lane: NDArray[np.int64]
    """The first one of those that read the lane."""
    zones: int = 0
    """0 if there are none, but a flash translation layer."""
    zone_lanes: int = 0
    """Lanes over which a zone lies; zones go round over groups of so many."""
    zone_blocks: int = 0
    """Blocks of each of its lanes that a zone has."""
    open_zones_max: int = 0

    @property
    def lanes(self) -> int:
        """Number of write frontiers."""
        return int(self.channel_of_lane.size)

    @property
    def slots(self) -> int:
        """Number of mapping units that the flash holds, spare ones included."""
        return self.lanes * self.blocks_per_lane * self.slots_per_block


def shape(params: FlashParams, size_bytes: int | None) -> FlashGeometry:
    """The shape of an SSD of ``size_bytes``.

    With ``blocks_per_plane``, the flash is given and the disk must fit into it; without a
    size, the disk is as large as the flash allows. Otherwise the flash is cut to the disk:
    all dies and channels stay, each with so many blocks that the over-provisioning is what
    was asked for, with free blocks, frontiers and the SLC cache on top. Where that would leave
    a lane too few blocks, or come too far from what was asked for, they shrink, and erase times
    with them: erasing keeps its share.

    Raises:
        InputError: the disk has no size, does not fit, or is too large to be mapped.
    """
    if params.zones is not None:
        return _zoned(params, params.zones, size_bytes)
    if params.array.blocks_per_plane:
        return _given(params, params.array.blocks_per_plane, size_bytes)
    if size_bytes is None:
        raise InputError("the SSD has no size: give the disk a size, or blocks_per_plane")
    return _cut_to_size(params, size_bytes)


def _given(params: FlashParams, blocks_per_lane: int, size_bytes: int | None) -> FlashGeometry:
    slots_per_block = params.array.pages_per_block * _slots_per_page(params)
    lanes = _lane_count(params)
    stripe_units = lanes * _slots_per_page(params)
    raw_units = lanes * blocks_per_lane * slots_per_block
    units = int(raw_units / (1 + params.mapping.over_provisioning)) // stripe_units * stripe_units
    slc_blocks = _slc_blocks_per_lane(params, units, slots_per_block)
    usable_blocks = blocks_per_lane - params.mapping.gc_free_blocks - frontiers(params) - slc_blocks
    if usable_blocks * slots_per_block * lanes <= units + _translation_pages(params, units):
        raise InputError(
            f"blocks_per_plane = {blocks_per_lane}: too few for over_provisioning = "
            f"{params.mapping.over_provisioning:g} and gc_free_blocks = "
            f"{params.mapping.gc_free_blocks}; "
            "raise one of the first two or lower the last"
        )
    unit_bytes = params.mapping.mapping_unit_bytes
    if size_bytes is not None and size_bytes > units * unit_bytes:
        raise InputError(
            f"a disk of {format_size_bytes(size_bytes)} does not fit: the flash of this SSD "
            f"holds {format_size_bytes(units * unit_bytes)} besides its spare space"
        )
    return _geometry(params, units, slots_per_block, blocks_per_lane, params.cells.erase_ns)


def _cut_to_size(params: FlashParams, size_bytes: int) -> FlashGeometry:
    slots_per_page = _slots_per_page(params)
    units = -(-size_bytes // params.mapping.mapping_unit_bytes)
    mapped_units = units + _translation_pages(params, units)
    slots_per_lane = -(-mapped_units // (_lane_count(params) * slots_per_page)) * slots_per_page
    slots_per_program = params.cells.pages_per_program * slots_per_page
    programs_per_block = params.array.pages_per_block // params.cells.pages_per_program
    filled_blocks, programs_kept = _blocks_and_programs(
        mapped_units / _lane_count(params) * (1 + params.mapping.over_provisioning),
        mapped_units / _lane_count(params) * params.mapping.over_provisioning * _SPARE_TOLERANCE,
        slots_per_lane + 2 * slots_per_program,
        slots_per_program,
        programs_per_block,
    )
    blocks_per_lane = filled_blocks - 1 + frontiers(params) + params.mapping.gc_free_blocks
    slots_per_block = programs_kept * slots_per_program
    blocks_per_lane += _slc_blocks_per_lane(params, units, slots_per_block)
    erase_ns = params.cells.erase_ns * programs_kept // programs_per_block
    return _geometry(params, units, slots_per_block, blocks_per_lane, erase_ns)


def _blocks_and_programs(
    slots_wanted: float,
    tolerance_slots: float,
    slots_least: int,
    slots_per_program: int,
    programs_per_block: int,
) -> tuple[int, int]:
    """The blocks of a lane, and a block's programs, that come to the slots that are wanted.

    Whole blocks may miss them by half a block, which can be several per cent of the spare
    space. So blocks are the largest with which they come near enough, or else those with which
    they come nearest, at most an eighth smaller than they might be.
    """
    programs_wanted = int(slots_wanted / (_BLOCKS_PER_LANE_LEAST * slots_per_program))
    most = min(programs_per_block, max(programs_wanted, _PROGRAMS_PER_BLOCK_LEAST))
    least = max(most - max(most // 8, 3), min(most, _PROGRAMS_PER_BLOCK_LEAST))
    nearest, nearest_slots = (0, 0), math.inf
    for programs in range(most, least - 1, -1):
        slots_per_block = programs * slots_per_program
        # On average the frontiers are half full: one block of them counts as spare space.
        blocks = max(round(slots_wanted / slots_per_block), -(-slots_least // slots_per_block) + 1)
        away_slots = abs(blocks * slots_per_block - slots_wanted)
        if away_slots < nearest_slots:
            nearest, nearest_slots = (blocks, programs), away_slots
        if nearest_slots <= tolerance_slots:
            break
    return nearest


def _zoned(params: FlashParams, declared: Zones, size_bytes: int | None) -> FlashGeometry:
    """Whole blocks for each zone: what a zone leaves of its last blocks stays unused."""
    lanes = _lane_count(params)
    zone_lanes = lanes if declared.zone_lanes is None else declared.zone_lanes
    if lanes % zone_lanes:
        raise InputError(f"zones: planes = {zone_lanes}: must divide their number, {lanes}")
    slots_per_block = params.array.pages_per_block * _slots_per_page(params)
    zone_slots = declared.zone_capacity_bytes // params.mapping.mapping_unit_bytes
    slots_per_program = params.cells.pages_per_program * _slots_per_page(params)
    lane_slots = -(-zone_slots // (zone_lanes * slots_per_program)) * slots_per_program
    zone_blocks = -(-lane_slots // slots_per_block)
    groups = lanes // zone_lanes
    if params.array.blocks_per_plane:
        zones_max = params.array.blocks_per_plane // zone_blocks * groups
        zones = _zone_count(declared, size_bytes or max(1, zones_max) * declared.zone_bytes)
        if zones > zones_max:
            raise InputError(
                f"blocks_per_plane = {params.array.blocks_per_plane}: room for {zones_max} zones, "
                f"but the disk has {zones}"
            )
    elif size_bytes is None:
        raise InputError("the SSD has no size: give the disk a size, or blocks_per_plane")
    else:
        zones = _zone_count(declared, size_bytes)
    buffer_bytes = params.write_buffer.write_buffer_bytes
    room = buffer_bytes // (slots_per_program * params.mapping.mapping_unit_bytes)
    if room < (declared.zone_limit or 1):
        raise InputError(
            f"write_buffer.size = {buffer_bytes}: holds a program for each of {room} zones, "
            f"and {declared.zone_limit or 1} may be open; enlarge it or lower open_limit"
        )
    return _geometry(
        params,
        zones * declared.zone_bytes // params.mapping.mapping_unit_bytes,
        slots_per_block,
        -(-zones // groups) * zone_blocks,
        params.cells.erase_ns,
        zones=zones,
        zone_lanes=zone_lanes,
        zone_blocks=zone_blocks,
        open_zones_max=min(zones, declared.zone_limit or room),
    )


def _zone_count(declared: Zones, size_bytes: int) -> int:
    zones, rest_bytes = divmod(size_bytes, declared.zone_bytes)
    if rest_bytes:
        raise InputError(
            f"a disk of {size_bytes} bytes does not consist of zones of {declared.zone_bytes}; "
            f"make it {max(1, zones) * declared.zone_bytes} bytes"
        )
    return zones


def _geometry(
    params: FlashParams,
    units: int,
    slots_per_block: int,
    blocks_per_lane: int,
    erase_ns: int,
    **of_zones: int,
) -> FlashGeometry:
    """The shape of these blocks; ``of_zones`` are fields of what has zones."""
    channel_of_lane, server_of_lane, reader_of_lane = _lane_tables(params)
    readers_per_server = params.array.planes_per_die if params.cells.plane_reads else 1
    geometry = FlashGeometry(
        units=units,
        translation_entries=_translation_entries(params),
        translation_pages=_translation_pages(params, units),
        slots_per_sense=_slots_per_page(params),
        slots_per_read=_slots_per_page(params)
        // (_merged_planes(params) if params.cells.plane_reads else 1),
        readers_per_server=readers_per_server,
        slots_per_program=params.cells.pages_per_program * _slots_per_page(params),
        slots_per_block=slots_per_block,
        blocks_per_lane=blocks_per_lane,
        slc_slots_per_block=_slc_slots_per_block(params, slots_per_block),
        slc_blocks_per_lane=_slc_blocks_per_lane(params, units, slots_per_block),
        slc_dynamic_blocks_per_lane=round(
            _slc_blocks(params, params.slc_cache.slc_dynamic_share, units, slots_per_block)
        ),
        erase_ns=erase_ns,
        channel_of_lane=channel_of_lane,
        server_of_lane=server_of_lane,
        reader_of_lane=reader_of_lane,
        **of_zones,
    )
    if geometry.slots > _SLOTS_MAX:
        raise InputError(
            f"the SSD has {geometry.slots} mapping units of {params.mapping.mapping_unit_bytes} "
            "bytes; "
            f"at most {_SLOTS_MAX} are supported: use a larger mapping unit"
        )
    return geometry


def _translation_entries(params: FlashParams) -> int:
    return params.mapping.mapping_unit_bytes // _MAP_ENTRY_BYTES


def _translation_pages(params: FlashParams, units: int) -> int:
    if params.mapping.mapping_cache_bytes is None:
        return 0
    return -(-units // _translation_entries(params))


def _slc_slots_per_block(params: FlashParams, slots_per_block: int) -> int:
    pages = slots_per_block // _slots_per_page(params)
    return max(1, pages // params.slc_cache.slc_bits_per_cell) * _slots_per_page(params)


def _slc_blocks_per_lane(params: FlashParams, units: int, slots_per_block: int) -> int:
    share = params.slc_cache.slc_cache_share
    return math.ceil(_slc_blocks(params, share, units, slots_per_block))


def _slc_blocks(params: FlashParams, share: float, units: int, slots_per_block: int) -> float:
    """The blocks of a lane in which a share of the disk lies with one bit a cell."""
    units_per_lane = units * share / _lane_count(params)
    return units_per_lane / _slc_slots_per_block(params, slots_per_block)


def frontiers(params: FlashParams) -> int:
    """Open blocks of a lane: for the host's data, for those moved, and for cold ones apart."""
    return 2 if params.mapping.wear_spread is None else 3


def _merged_planes(params: FlashParams) -> int:
    return params.array.planes_per_die if params.cells.multi_plane else 1


def _slots_per_page(params: FlashParams) -> int:
    """Slots of a page, which with lockstep is as wide as all planes of the die."""
    return params.array.page_bytes // params.mapping.mapping_unit_bytes * _merged_planes(params)


def _lane_count(params: FlashParams) -> int:
    dies = params.array.channels * params.array.chips_per_channel * params.array.dies_per_chip
    return dies * params.array.planes_per_die // _merged_planes(params)


def _lane_tables(
    params: FlashParams,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The channel, the server and the first reader of each lane, lanes in striping order."""
    extent = {
        "C": params.array.channels,
        "W": params.array.chips_per_channel,
        "D": params.array.dies_per_chip,
        "P": params.array.planes_per_die // _merged_planes(params),
    }
    rest = np.arange(_lane_count(params), dtype=np.int64)
    place: dict[str, NDArray[np.int64]] = {}
    for dimension in params.mapping.allocation_order:
        rest, place[dimension] = np.divmod(rest, extent[dimension])
    chip = place["C"] * params.array.chips_per_channel + place["W"]
    die = chip * params.array.dies_per_chip + place["D"]
    plane = die * extent["P"] + place["P"]
    server = {"chip": chip, "die": die, "plane": plane}[params.cells.scheduler]
    reader = die * params.array.planes_per_die + place["P"] if params.cells.plane_reads else server
    return place["C"], server, reader
