"""The SSD's whole state as arrays, which the compiled kernels read and write.

One record array per part; ``NONE`` (-1) stands for no element. Times are in ns of guest
time. The two maps store numbers plus one, so that 0 means unmapped: memory that nobody has
written to is zero and costs nothing until it is used.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.flash.geometry import Geometry
from freezingtime.device.flash.parameters import PAGE_KINDS_MAX, FlashParams

#: A record array; the type checker knows no fields.
Records: TypeAlias = Any

NONE = -1
NEVER_NS = 2**62
#: Without a write buffer, so many units may be on their way to the flash.
_UNBUFFERED_UNITS = 65536
_READ_COMMANDS_LEAST = 4096
_SECTOR_BYTES = 512
_SECTORS_PER_UNIT_MAX = 32


class EventKind(IntEnum):
    """What happens at an event's time."""

    SERVER = 0
    """A server ends a phase."""
    DISPATCH = 1
    """The controller takes up a request."""
    ADMISSION = 2
    """A piece of a write has come over the link into the controller's memory."""
    COMPLETION = 3
    """A request is complete."""


class Phase(IntEnum):
    """What a server (a chip, die or plane) does."""

    IDLE = 0
    DECIDING = 1
    """It has just ended something and not yet begun the next; lasts no time."""
    SENSE = 2
    """Cells to page register, for the host."""
    DATA_OUT = 3
    """Page register to controller, for the host."""
    OLD_SENSE = 4
    """For the rest of a mapping unit that is only partly overwritten."""
    OLD_OUT = 5
    DATA_IN = 6
    """Controller to page register."""
    PROGRAM = 7
    GC_SENSE = 8
    GC_OUT = 9
    GC_IN = 10
    GC_PROGRAM = 11
    ERASE = 12
    SUSPENDING = 13


class Role(IntEnum):
    """What a block is for."""

    FREE = 0
    HOST = 1
    """Open for what the host writes."""
    GC = 2
    """Open for what garbage collection moves."""
    CLOSED = 3


_INT = np.int64


def _record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, _INT) for name in names])


CONFIG = np.dtype(
    [
        *(
            (name, _INT)
            for name in (
                "unit_bytes",
                "page_bytes",
                "units",
                "sector_bytes",  # what partial writes of a unit are tracked in
                "lanes",
                "slots_per_sense",
                "slots_per_program",
                "slots_per_block",
                "blocks_per_lane",
                "lane_slots_max",  # valid slots that a lane may have
                "dynamic",
                "cost_benefit",
                "gc_free_blocks",
                "gc_burst",
                "read_kinds",
                "program_kinds",
                "gc_read_ns",
                "gc_program_ns",
                "erase_ns",
                "read_priority",
                "suspend_ns",  # NONE: programs and erases are not suspended
                "resume_ns",
                "suspensions_max",
                "channel_bytes_per_s",
                "read_command_ns",
                "transfer_setup_ns",
                "program_command_ns",
                "link_bytes_per_s",
                "link_whole",
                "submission_ns",
                "command_interval_ns",
                "read_overhead_ns",
                "write_overhead_ns",
                "flush_ns",
                "discard_ns",
                "buffered",
                "staging_units",  # room for units on their way to the flash
                "buffer_bytes_per_s",
                "buffer_access_ns",
                "power_loss_protection",
            )
        ),
        ("read_ns", _INT, (PAGE_KINDS_MAX,)),
        ("program_ns", _INT, (PAGE_KINDS_MAX,)),
    ]
)

BLOCK = np.dtype(
    [
        (name, np.int32)
        for name in (
            "role",
            "valid",
            "programmed",  # slots whose data are in the cells
            "erases",
            "next",  # in the list of free blocks
            "moved",  # holds what garbage collection moved
        )
    ]
    + [("closed_at", _INT)]  # in units that the host had written
)

LANE = _record(
    "server",
    "channel",
    "valid",
    "free_head",
    "free_tail",
    "free_count",
    "host_block",
    "host_slot",  # next slot to be filled
    "host_open",  # first slot that no program has taken
    "gc_block",
    "gc_slot",
    "through",  # the request that waits for the open slots, or NONE
    "debt_reads",  # garbage collection that was decided but not yet given to the server
    "debt_units",
    "debt_programs",
    "debt_erases",
    "debt_share",  # programs of the host over which it is spread
)

#: A slot that is filled but not yet given to a program.
OPEN_SLOT = _record("sectors", "old_on_flash")

SERVER = _record(
    "phase",
    "done_ns",
    "generation",  # tells events that were overtaken by a suspension
    "read_head",
    "read_tail",
    "job_head",
    "job_tail",
    "read",
    "job",
    "bytes_left",  # of a transfer
    "array_ns",  # when the cells begin to be programmed or erased
    "suspended_phase",
    "remaining_ns",
    "suspensions",
    "busy_since_ns",
    "busy_ns",
    "suspended_count",
)

CHANNEL = _record("free_ns", "busy_ns")

COMMAND = _record(
    "next",
    "sequence",
    "lane",
    "request",
    "bytes",
    "array_ns",
    "is_read",
    # what follows is for programs only
    "units",
    "block",
    "generation",
    "programmed",
    "epoch",
    "host_part",
    "old_reads",
    "gc_reads",
    "gc_read_bytes",
    "gc_programs",
    "erases",
)

REQUEST = _record(
    "next",
    "tag",
    "operation",
    "begin",
    "end",
    "cursor",
    "remaining",
    "data_ns",  # when the data that have been sent are at the host
    "through",
)

PIECE = _record("request", "begin", "end")
EVENT = _record("time_ns", "order", "kind", "target", "generation")
EPOCH = _record("outstanding", "request")
DONE = _record("tag", "time_ns")

TOTALS = _record(
    "now_ns",
    "order",
    "sequence",
    "events",
    "done",
    "outstanding",
    "through",  # writes that complete only when they are in the cells
    "free_request",
    "free_command",
    "free_commands",
    "programs",  # commands in use by programs
    "programs_pending",  # programs whose host part is not done
    "staged_units",
    "piece_head",
    "pieces",
    "write_head",
    "write_tail",
    "read_wait_head",
    "read_wait_tail",
    "epoch",
    "epoch_done",
    "stripe_lane",
    "controller_free_ns",
    "link_in_free_ns",
    "link_out_free_ns",
    "buffer_free_ns",
    # statistics
    "host_units",
    "host_bytes",
    "programmed_slots",
    "moved_units",
    "moved_slots",
    "erases",
    "collections",
    "old_reads",
    "buffer_hits",
    "coalesced_units",
    "host_reads",
    "suspensions",
)


class FlashState(NamedTuple):
    """All arrays of one SSD; ``config`` and ``totals`` have one record."""

    config: Records
    totals: Records
    slot_of_unit: NDArray[np.int32]
    unit_of_slot: NDArray[np.int32]
    blocks: Records
    lanes: Records
    open_slots: Records
    servers: Records
    channels: Records
    commands: Records
    requests: Records
    pieces: Records
    events: Records
    epochs: Records
    done: Records


def new_state(params: FlashParams, geometry: Geometry) -> FlashState:
    """An SSD that was never written to, idle."""
    config = _config(params, geometry)
    servers = int(geometry.server_of_lane.max()) + 1
    staging_units = int(config["staging_units"][0])
    commands = staging_units + servers + max(_READ_COMMANDS_LEAST, params.queue_depth)
    pieces = min(staging_units, 65536)
    events = servers * (2 + params.suspensions_per_operation) + 2 * params.queue_depth + pieces + 1
    state = FlashState(
        config=config,
        totals=np.zeros(1, TOTALS),
        slot_of_unit=np.zeros(geometry.units, np.int32),
        unit_of_slot=np.zeros(geometry.slots, np.int32),
        blocks=np.zeros(geometry.lanes * geometry.blocks_per_lane, BLOCK),
        lanes=np.zeros(geometry.lanes, LANE),
        open_slots=np.zeros(geometry.lanes * geometry.slots_per_program, OPEN_SLOT),
        servers=np.zeros(servers, SERVER),
        channels=np.zeros(params.channels, CHANNEL),
        commands=np.zeros(commands, COMMAND),
        requests=np.zeros(params.queue_depth, REQUEST),
        pieces=np.zeros(pieces, PIECE),
        events=np.zeros(events, EVENT),
        epochs=np.zeros(params.queue_depth + 1, EPOCH),
        done=np.zeros(params.queue_depth, DONE),
    )
    _reset(state, geometry)
    return state


def _config(params: FlashParams, geometry: Geometry) -> Records:
    unit_bytes = params.mapping_unit_bytes
    buffer_units = params.write_buffer_bytes // unit_bytes
    usable_blocks = geometry.blocks_per_lane - params.gc_free_blocks - 2
    config = np.zeros(1, CONFIG)
    values = {
        "unit_bytes": unit_bytes,
        "units": geometry.units,
        "sector_bytes": max(_SECTOR_BYTES, unit_bytes // _SECTORS_PER_UNIT_MAX),
        "lanes": geometry.lanes,
        "slots_per_sense": geometry.slots_per_sense,
        "slots_per_program": geometry.slots_per_program,
        "slots_per_block": geometry.slots_per_block,
        "blocks_per_lane": geometry.blocks_per_lane,
        "lane_slots_max": usable_blocks * geometry.slots_per_block,
        "dynamic": params.allocation == "dynamic",
        "cost_benefit": params.gc_policy == "cost-benefit",
        "gc_burst": params.gc_pacing == "burst",
        "read_kinds": len(params.read_ns),
        "program_kinds": len(params.program_ns),
        "gc_read_ns": sum(params.read_ns) // len(params.read_ns),
        "gc_program_ns": sum(params.program_ns) // len(params.program_ns),
        "erase_ns": geometry.erase_ns,
        "suspend_ns": NONE if params.suspend_ns is None else params.suspend_ns,
        "suspensions_max": params.suspensions_per_operation,
        "link_whole": params.link_transfer == "whole",
        "buffered": buffer_units > 0,
        "staging_units": buffer_units or _UNBUFFERED_UNITS,
    }
    same_name = set(CONFIG.names or ()) - values.keys()
    values |= {name: getattr(params, name) for name in same_name - {"read_ns", "program_ns"}}
    for name, value in values.items():
        config[name] = value
    config["read_ns"][0, : len(params.read_ns)] = params.read_ns
    config["program_ns"][0, : len(params.program_ns)] = params.program_ns
    return config


def _reset(state: FlashState, geometry: Geometry) -> None:
    """Link the free lists and mark what is empty."""
    state.lanes["server"] = geometry.server_of_lane
    state.lanes["channel"] = geometry.channel_of_lane
    for name in ("host_block", "gc_block", "through"):
        state.lanes[name] = NONE
    blocks = geometry.blocks_per_lane
    first = np.arange(geometry.lanes) * blocks
    state.lanes["free_head"] = first
    state.lanes["free_tail"] = first + blocks - 1
    state.lanes["free_count"] = blocks
    for records in (state.blocks, state.requests, state.commands):
        records["next"] = np.arange(1, records.size + 1)
        records["next"][-1] = NONE
    state.blocks["next"][first + blocks - 1] = NONE
    for name in ("read_head", "read_tail", "job_head", "job_tail", "read", "job"):
        state.servers[name] = NONE
    state.totals["free_commands"] = state.commands.size
    for name in ("write_head", "write_tail", "read_wait_head", "read_wait_tail"):
        state.totals[name] = NONE
