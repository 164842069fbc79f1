"""Folding: a die with nothing to do moves the SLC cache into ordinary blocks. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.device.flash import memory_kernels as memory
from freezingtime.device.flash.collection_kernels import fold
from freezingtime.device.flash.command_kernels import take_command
from freezingtime.device.flash.event_kernels import push
from freezingtime.device.flash.layout import NONE, EventKind, Phase
from freezingtime.device.flash.program_kernels import append_collection
from freezingtime.device.flash.server_kernels import enqueue_job, folding_due_ns

_IDLE_EVENT = int(EventKind.IDLE)
_IDLE = int(Phase.IDLE)


@njit()
def fold_if_idle(ssd: int, server_id: int, now_ns: int) -> None:
    """One step of folding, if the server has been idle for long enough and has some to do."""
    server = memory.servers(ssd)[server_id]
    server.idle_event = 0
    if server.phase != _IDLE:
        return
    due_ns = folding_due_ns(ssd, server_id)
    if due_ns > now_ns:
        server.idle_event = 1
        push(ssd, due_ns, _IDLE_EVENT, server_id, 0)
        return
    lane_id = _lane_to_fold(ssd, server_id)
    if lane_id == NONE:
        server.folding = 0
    else:
        _fold_step(ssd, lane_id, now_ns)


@njit()
def _lane_to_fold(ssd: int, server_id: int) -> int:
    for lane_id in range(memory.config(ssd).lanes):
        lane = memory.lanes(ssd)[lane_id]
        if lane.server == server_id and (lane.slc_closed or _owes(ssd, lane_id)):
            return lane_id
    return NONE


@njit()
def _owes(ssd: int, lane_id: int) -> bool:
    lane = memory.lanes(ssd)[lane_id]
    return bool(lane.debt_reads + lane.debt_programs + lane.debt_erases)


@njit()
def _fold_step(ssd: int, lane_id: int, now_ns: int) -> None:
    """Move about a program's worth of units."""
    if not _owes(ssd, lane_id):
        fold(ssd, lane_id)
    command_id = take_command(ssd)
    memory.totals(ssd).programs += 1
    command = memory.commands(ssd)[command_id]
    command.is_read = 0
    command.lane = lane_id
    command.request = NONE
    command.host_part = 0
    command.old_reads = 0
    append_collection(ssd, lane_id, command_id)
    while command.gc_reads + command.gc_programs + command.erases == 0:
        append_collection(ssd, lane_id, command_id)  # nothing fell to this one: the next does
    enqueue_job(ssd, command_id, now_ns)
