# SPDX-License-Identifier: GPL-2.0-or-later
"""Idle time: a die with nothing to do folds the SLC cache, and collects garbage. Compiled.

It goes step by step, about a program at a time, and stands back for the host between two.
"""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.command import take_command
from freezingtime.device.flash.kernels.event import push
from freezingtime.device.flash.kernels.ftl.collection import collect_ahead, fold, has_garbage
from freezingtime.device.flash.kernels.program import append_collection
from freezingtime.device.flash.kernels.server import enqueue_job, idle_work_due_ns
from freezingtime.device.flash.layout import NONE, EventKind, ServerPhase
from freezingtime.units import NEVER_NS


@inner
def work_if_idle(ssd: int, server_id: int, now_ns: int) -> None:
    """One step of what a server does when idle, if it has been for long enough."""
    server = memory.servers(ssd)[server_id]
    server.idle_event = 0
    if server.phase != ServerPhase.IDLE:
        return
    for lane_id in range(memory.config(ssd).lanes):
        if memory.lanes(ssd)[lane_id].server == server_id and _find_work(ssd, lane_id, now_ns):
            _step(ssd, lane_id, now_ns)
            return
    due_ns = idle_work_due_ns(ssd, server_id, now_ns + 1)
    if due_ns < NEVER_NS:
        server.idle_event = 1
        push(ssd, due_ns, EventKind.IDLE, server_id, 0)


@inner
def _find_work(ssd: int, lane_id: int, now_ns: int) -> bool:
    """Whether there is something to do on a lane by now; books what it costs as debt."""
    config = memory.config(ssd)
    lane = memory.lanes(ssd)[lane_id]
    idle_ns = now_ns - memory.servers(ssd)[lane.server].idle_since_ns
    may_fold = config.slc_blocks + config.slc_dynamic_blocks and idle_ns >= config.slc_idle_ns
    may_collect = config.gc_idle_free_blocks and idle_ns >= config.gc_idle_ns
    if not (may_fold or may_collect):
        return False
    if _owes(ssd, lane_id):
        return True
    if may_fold and lane.slc_closed:
        fold(ssd, lane_id)
        return True
    if may_collect and lane.free_count < config.gc_idle_free_blocks and has_garbage(ssd, lane_id):
        collect_ahead(ssd, lane_id)
        return True
    return False


@inner
def _owes(ssd: int, lane_id: int) -> bool:
    lane = memory.lanes(ssd)[lane_id]
    return bool(lane.debt_reads + lane.debt_programs + lane.debt_folds + lane.debt_erases)


@inner
def _step(ssd: int, lane_id: int, now_ns: int) -> None:
    """Move about a program's worth of units."""
    command_id = take_command(ssd)
    memory.queue(ssd).programs += 1
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
