"""The pool of commands: what servers are asked to do. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.device.flash import memory_kernels as memory
from freezingtime.device.flash.layout import NONE


@njit()
def take_command(ssd: int) -> int:
    """A command that is not in use; the caller knows that there is one."""
    totals = memory.totals(ssd)
    command_id = totals.free_command
    command = memory.commands(ssd)[command_id]
    totals.free_command = command.next
    totals.free_commands -= 1
    totals.sequence += 1
    command.next = NONE
    command.sequence = totals.sequence
    return int(command_id)


@njit()
def release_command(ssd: int, command_id: int) -> None:
    """Put a command back."""
    totals = memory.totals(ssd)
    memory.commands(ssd)[command_id].next = totals.free_command
    totals.free_command = command_id
    totals.free_commands += 1
