# SPDX-License-Identifier: GPL-2.0-or-later
"""The pool of commands: what servers are asked to do. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.layout import NONE


@inner
def take_command(ssd: int) -> int:
    """A command that is not in use; the caller knows that there is one."""
    queue = memory.queue(ssd)
    command_id = queue.free_command
    command = memory.commands(ssd)[command_id]
    queue.free_command = command.next
    queue.free_commands -= 1
    queue.sequence += 1
    command.next = NONE
    command.sequence = queue.sequence
    return int(command_id)


@inner
def take_read_command(ssd: int, slot: int, length_bytes: int, is_written: bool) -> int:
    """A command to read from a slot on, for nobody yet.

    What was not written is read as if it lay in an ordinary block.
    """
    config = memory.config(ssd)
    command_id = take_command(ssd)
    command = memory.commands(ssd)[command_id]
    page = slot % config.slots_per_block // config.slots_per_sense
    command.is_read = 1
    command.request = NONE
    command.translation_page = NONE
    command.lane = slot // (config.slots_per_block * config.blocks_per_lane)
    command.reader = memory.lanes(ssd)[command.lane].reader
    command.reader += slot % config.slots_per_sense // config.slots_per_read
    command.bytes = length_bytes
    if is_written and memory.blocks(ssd)[slot // config.slots_per_block].slc:
        command.array_ns = config.slc_read_ns
    else:
        command.array_ns = config.read_ns[page % config.read_kinds]
    return command_id


@inner
def release_command(ssd: int, command_id: int) -> None:
    """Put a command back."""
    queue = memory.queue(ssd)
    memory.commands(ssd)[command_id].next = queue.free_command
    queue.free_command = command_id
    queue.free_commands += 1
