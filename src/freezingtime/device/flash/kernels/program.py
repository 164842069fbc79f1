# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs: what is in open slots goes to the cells, garbage collection with it. Compiled.

Programs belong to the epoch that the next flush ends; a flush is done when its epoch and all
before it have no program left.
"""

from __future__ import annotations

from freezingtime.annotation import HeldBy
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.command import take_command
from freezingtime.device.flash.kernels.completion import held, part_done
from freezingtime.device.flash.kernels.ftl.collection import take_debt
from freezingtime.device.flash.kernels.ftl.ftl import take_open_slots
from freezingtime.device.flash.kernels.server import enqueue_job
from freezingtime.device.flash.layout import NONE


@inner
def begin_program(ssd: int, lane_id: int, block_id: int, first: int, slots: int) -> int:
    """A command to program so many of a block's slots, from its ``first`` on.

    The caller says of which units, and what else goes with it.
    """
    config = memory.config(ssd)
    queue = memory.queue(ssd)
    counters = memory.counters(ssd)
    block = memory.blocks(ssd)[block_id]
    command_id = take_command(ssd)
    queue.programs += 1
    queue.programs_pending += 1
    counters.programmed_slots += slots
    command = memory.commands(ssd)[command_id]
    command.is_read = 0
    command.lane = lane_id
    command.request = NONE
    command.translations = 0
    command.block = block_id
    command.generation = block.erases
    command.programmed = first + slots
    command.bytes = slots * config.unit_bytes
    if block.slc:
        command.array_ns = config.slc_program_ns
    else:
        command.array_ns = config.program_ns[
            first // config.slots_per_program % config.program_kinds
        ]
    command.host_part = 1
    command.erases_before = 0
    command.old_reads = 0
    command.epoch = queue.epoch
    epochs = memory.epochs(ssd)
    epochs[queue.epoch % epochs.size].outstanding += 1
    return command_id


@inner
def program(ssd: int, lane_id: int, now_ns: int) -> None:
    """Make a program of a lane's open slots."""
    lane = memory.lanes(ssd)[lane_id]
    command_id = begin_program(ssd, lane_id, lane.host_block, lane.host_open, lane.host_program)
    command = memory.commands(ssd)[command_id]
    if lane.through != NONE:
        command.request = lane.through
        memory.requests(ssd)[lane.through].remaining += 1
        lane.through = NONE
    command.units = lane.host_slot - lane.host_open - lane.open_translations
    command.translations = lane.open_translations
    lane.open_translations = 0
    command.old_reads = _old_reads(ssd, lane_id)
    take_open_slots(ssd, lane_id)
    append_collection(ssd, lane_id, command_id)
    enqueue_job(ssd, command_id, now_ns)


@inner
def program_open_slots(ssd: int, now_ns: int) -> None:
    """Send to the cells what is in open slots, though it does not fill a program."""
    lanes = memory.lanes(ssd)
    for lane_id in range(lanes.size):
        lane = lanes[lane_id]
        if lane.host_block != NONE and lane.host_slot > lane.host_open:
            program(ssd, lane_id, now_ns)


@inner
def end_epochs(ssd: int, now_ns: int) -> None:
    """Let the flushes be done whose epochs have passed."""
    queue = memory.queue(ssd)
    epochs = memory.epochs(ssd)
    while queue.epoch_done < queue.epoch:
        epoch = epochs[queue.epoch_done % epochs.size]
        if epoch.outstanding:
            break
        queue.epoch_done += 1
        held(ssd, epoch.request, HeldBy.WRITES, now_ns)
        part_done(ssd, epoch.request, now_ns)


@inner
def append_collection(ssd: int, lane_id: int, command_id: int) -> None:
    """Let a share of the lane's garbage collection follow a program."""
    config = memory.config(ssd)
    counters = memory.counters(ssd)
    command = memory.commands(ssd)[command_id]
    reads, units, programs, folds, erases = take_debt(ssd, lane_id)
    command.gc_reads = reads
    command.gc_read_bytes = units * config.unit_bytes // max(1, reads)
    command.gc_programs = programs + folds
    command.folds = folds
    command.erases = erases
    counters.moved_units += units
    counters.moved_slots += (programs + folds) * config.slots_per_program
    counters.erases += erases


@inner
def _old_reads(ssd: int, lane_id: int) -> int:
    """Count the open slots that need the rest of their unit from the cells."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    whole = (1 << (config.unit_bytes // config.sector_bytes)) - 1
    first = lane_id * config.slots_per_program
    reads = 0
    open_slots = memory.open_slots(ssd)
    for open_id in range(first, first + lane.host_slot - lane.host_open):
        open_slot = open_slots[open_id]
        if open_slot.old_on_flash and open_slot.sectors != whole:
            reads += 1
    memory.counters(ssd).old_reads += reads
    return reads
