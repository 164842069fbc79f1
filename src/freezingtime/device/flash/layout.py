# SPDX-License-Identifier: GPL-2.0-or-later
"""Layout of the SSD's state: one record for each part. ``NONE`` stands for no element.

Times are in ns of guest time, addresses in bytes, units or slots (see :mod:`.geometry`).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from freezingtime.device.annotations.columns import ANNOTATION
from freezingtime.device.flash.hardware import PAGE_KINDS_MAX
from freezingtime.device.records import record

NONE = -1
#: Units of a chunk, of a map that has chunks only of where something was written.
CHUNK_UNITS = 16


class EventKind(IntEnum):
    """Kind of an event."""

    SERVER = 0
    """A server ends a phase."""
    DISPATCH = 1
    """The controller takes up a request."""
    ADMISSION = 2
    """A piece of a write has come over the link into the controller's memory."""
    COMPLETION = 3
    """A request is complete."""
    IDLE = 4
    """A server may have been idle for long enough to fold or to collect garbage."""
    READER = 5
    """A reader ends a phase."""


class ServerPhase(IntEnum):
    """Activity of a server (a chip, die or plane)."""

    IDLE = 0
    DECIDING = 1
    """It has just ended something and not yet begun the next; lasts no time."""
    READING = 2
    """Its readers are at work, for the host."""
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


class ReadPhase(IntEnum):
    """Stage of a reader."""

    IDLE = 0
    SENSE = 1
    """Cells to page register."""
    DATA_OUT = 2
    """Page register to controller."""


class Role(IntEnum):
    """Use of a block."""

    FREE = 0
    HOST = 1
    """Open for what the host writes."""
    GC = 2
    """Open for what garbage collection moves."""
    CLOSED = 3


class Refusal(IntEnum):
    """Reason why a zone refuses a write."""

    NONE = 0
    POINTER = 1
    """It does not begin at the write pointer."""
    CAPACITY = 2
    """It goes beyond what the zone holds."""
    OPEN_ZONES = 3
    """It opens a zone, and as many as may be are open."""


class Residence(IntEnum):
    """Location of a translation page."""

    FLASH = 0
    LOADING = 1
    CACHED = 2
    """On flash too, unless it was never written; up to date there unless it is dirty."""


CONFIG = record(
    "unit_bytes",
    "page_bytes",
    "units",  # the host's, then the translation pages
    "wide_map",  # slots and units have numbers of more than 32 bits
    "sparse_map",  # only chunks with something mapped have a place in the map
    "host_units",
    "translation_entries",  # units that a translation page maps
    "cached_pages_max",  # 0: the whole map is in memory
    "translation_jobs_max",
    "sector_bytes",  # what partial writes of a unit are tracked in
    "lanes",
    "slots_per_sense",
    "slots_per_read",  # of them, those that one reader reads
    "readers_per_server",
    "slots_per_program",
    "slots_per_block",
    "blocks_per_lane",
    "slc_slots_per_block",
    "slc_blocks",  # of a lane, at most
    "slc_dynamic_blocks",  # ordinary ones that it may use besides
    "unwritten_on_flash",
    "lane_slots_max",  # valid slots that a lane may have
    "dynamic",
    "cost_benefit",
    "gc_free_blocks",
    "gc_burst",
    "gc_idle_ns",
    "gc_idle_free_blocks",  # 0: garbage is not collected in idle time
    "wear_spread",  # NONE: cold blocks are not moved
    "zone_bytes",  # 0: there are no zones
    "zone_capacity_bytes",
    "zone_blocks",  # of each of its lanes
    "zone_lanes",
    "open_zones_max",
    "read_kinds",
    "program_kinds",
    "gc_read_ns",
    "gc_program_ns",
    "erase_ns",
    "slc_read_ns",
    "slc_program_ns",
    "fold_program_ns",
    "slc_idle_ns",
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
    "writes_waiting_max",
    "command_interval_ns",
    "read_overhead_ns",
    "write_overhead_ns",
    "flush_ns",
    "discard_ns",
    "honours_discard",
    "buffered",
    "staging_units",  # room for units on their way to the flash
    "buffer_bytes_per_s",
    "buffer_access_ns",
    "power_loss_protection",
    read_ns=(np.int64, PAGE_KINDS_MAX),
    program_ns=(np.int64, PAGE_KINDS_MAX),
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
            "slc",  # is used with one bit a cell
            "erase_due",  # counted already, but not yet done
        )
    ]
    + [("closed_at", np.int64)]  # in units that the host had written
)

LANE = record(
    "server",
    "reader",  # the first one of those that read it
    "channel",
    "valid",
    "free_head",
    "free_tail",
    "free_count",
    "host_block",
    "host_slot",  # next slot to be filled
    "host_open",  # first slot that no program has taken
    "host_end",  # slots of the block
    "open_translations",  # open slots with translation pages
    "host_program",  # slots of a program
    "gc_block",
    "gc_slot",
    "cold_block",  # takes what is moved to level wear
    "cold_slot",
    "slc_blocks",
    "slc_closed",  # those of them that can be folded
    "through",  # the request that waits for the open slots, or NONE
    "debt_reads",  # garbage collection that was decided but not yet given to the server
    "debt_units",
    "debt_programs",
    "debt_folds",  # programs likewise, of what comes from the SLC cache
    "debt_erases",
    "debt_share",  # programs of the host over which it is spread
)

#: A slot that is filled but not yet given to a program.
OPEN_SLOT = record("sectors", "old_on_flash")

SERVER = record(
    "phase",
    "done_ns",
    "generation",  # tells events that were overtaken by a suspension
    "reads_waiting",
    "reads_active",
    "job_head",
    "job_tail",
    "job",
    "bytes_left",  # of a transfer
    "array_ns",  # when the cells begin to be programmed or erased
    "suspended_phase",
    "remaining_ns",
    "suspensions",
    "busy_since_ns",
    "busy_ns",
    "suspended_count",
    "idle_since_ns",  # the host has given it nothing since
    "idle_event",  # whether there is one
    "idle_work",  # what it does or did last is not for the host
)

READER = record(
    "server",
    "phase",
    "head",  # the reads that wait for it
    "tail",
    "read",
    "bytes_left",
)

CHANNEL = record("free_ns", "busy_ns")

COMMAND = record(
    "next",
    "sequence",
    "lane",
    "reader",
    "request",
    "bytes",
    "array_ns",
    "is_read",
    "translation_page",  # that is read, or NONE
    "asked_ns",  # when it began to wait for its reader ...
    "held_by",  # ... and for what
    # what follows is for programs only
    "units",
    "translations",
    "block",
    "generation",
    "programmed",
    "epoch",
    "host_part",
    "erases_before",
    "old_reads",
    "gc_reads",
    "gc_read_bytes",
    "gc_programs",
    "folds",
    "erases",
)

REQUEST = record(
    "next",
    "tag",
    "operation",
    "begin",
    "end",
    "cursor",
    "remaining",
    "data_ns",  # when the data that have been sent are at the host
    "through",
    "translation_page",  # the last one that was looked up
    "waiting_since_ns",  # for what it was put into a list for
    annotation=ANNOTATION,
)

TRANSLATION = record(
    "residence",
    "dirty",
    "newer",  # in order of use
    "older",
    "wait_head",  # reads that wait for it
    "wait_tail",
)

ZONE = record(
    "accepted_bytes",  # by the write pointer that the host sees
    "filled_bytes",  # of them in the controller's memory or in the cells
    "taken_bytes",  # of them that programs have taken
)

PIECE = record("request", "begin", "end")
EVENT = record("time_ns", "order", "kind", "target", "generation")
EPOCH = record("outstanding", "request")
DONE = record("tag", "time_ns", annotation=ANNOTATION)

#: What goes on, and what waits for it.
QUEUE = record(
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
    "refusal",
    "piece_head",
    "pieces",
    "command_head",  # requests that the controller cannot take up yet
    "command_tail",
    "writes_waiting",
    "write_head",
    "write_tail",
    "read_wait_head",
    "read_wait_tail",
    "epoch",
    "epoch_done",
)

#: When each of what all requests share is free.
LINK = record(
    "controller_free_ns",
    "in_free_ns",
    "out_free_ns",
    "buffer_free_ns",
)

#: What the translation layer knows besides its maps.
FTL = record(
    "stripe_lane",
    "open_zones",
    "cached_pages",
    "newest_page",
    "oldest_page",
    "translation_jobs",  # translation pages that are being read or written, or may have to be
    "preconditioned_units",  # what was mapped at time 0
)

#: What :mod:`.statistics` tells of; preconditioning leaves them at 0.
COUNTERS = record(
    "host_units",  # blocks count their age in them, too
    "host_bytes",
    "programmed_slots",
    "moved_units",
    "moved_slots",
    "erases",
    "collections",
    "idle_collections",
    "zone_resets",
    "folds",
    "wear_moves",
    "old_reads",
    "buffer_hits",
    "coalesced_units",
    "suspensions",
    "translation_hits",
    "translation_misses",
    "translation_reads",
    "translation_writes",
    "discarded_units",
)

#: A piece of a trace; its columns by their addresses.
TRACE = record(
    "size",
    "first",
    "end",
    "depth",  # requests in flight in a closed loop, 0 in an open one
    "completed",
    "arrivals_ns",
    "operations",
    "offsets_bytes",
    "lengths_bytes",
    "completions_ns",
    "annotations",  # 0 if nobody wants them
)
