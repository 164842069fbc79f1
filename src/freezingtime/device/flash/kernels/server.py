# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers and channels: what the chips, dies or planes do, and for how long. Compiled.

A server does one thing at a time: it reads for the host (:mod:`.reader`), or works on
a job from its queue; a job is a program with what goes with it: reads of old data before, and
a share of garbage collection after it. Reads go first (``read_priority``), between any two
phases of a job, or even within a program or erase, which is then suspended.

A channel carries commands and data, first come first served.
"""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.channel import occupy_channel, transfer_ns
from freezingtime.device.flash.kernels.command import release_command
from freezingtime.device.flash.kernels.event import push
from freezingtime.device.flash.kernels.reader import append_read, start_read, start_reads
from freezingtime.device.flash.layout import NONE, EventKind, ServerPhase
from freezingtime.units import NEVER_NS


@inner
def enqueue_read(ssd: int, command_id: int, now_ns: int) -> None:
    """Give a host read to its reader."""
    reader_id = append_read(ssd, command_id, now_ns)
    server_id = memory.readers(ssd)[reader_id].server
    server = memory.servers(ssd)[server_id]
    server.idle_work = 0
    if server.phase == ServerPhase.IDLE:
        server.busy_since_ns = now_ns
        start_next(ssd, server_id, now_ns)
    elif server.phase == ServerPhase.READING:
        start_read(ssd, reader_id, now_ns)
    elif _may_suspend(ssd, server_id, now_ns):
        _suspend(ssd, server_id, now_ns)


@inner
def enqueue_job(ssd: int, command_id: int, now_ns: int) -> None:
    """Give a program, or a step of idle work, to its lane's server."""
    commands = memory.commands(ssd)
    command = commands[command_id]
    server_id = memory.lanes(ssd)[command.lane].server
    server = memory.servers(ssd)[server_id]
    server.idle_work = not command.host_part
    if server.job_head == NONE:
        server.job_head = command_id
    else:
        commands[server.job_tail].next = command_id
    server.job_tail = command_id
    if server.phase == ServerPhase.IDLE:
        server.busy_since_ns = now_ns
        start_next(ssd, server_id, now_ns)


@inner
def idle_work_due_ns(ssd: int, server_id: int, from_ns: int) -> int:
    """From ``from_ns`` on, when an idle server may begin another kind of work, or NEVER_NS."""
    config = memory.config(ssd)
    due_ns = NEVER_NS
    since_ns = memory.servers(ssd)[server_id].idle_since_ns
    if config.slc_blocks + config.slc_dynamic_blocks and since_ns + config.slc_idle_ns >= from_ns:
        due_ns = since_ns + config.slc_idle_ns
    if config.gc_idle_free_blocks and since_ns + config.gc_idle_ns >= from_ns:
        due_ns = min(due_ns, since_ns + config.gc_idle_ns)
    return int(due_ns)


@inner
def start_next(ssd: int, server_id: int, now_ns: int) -> None:
    """Begin what comes next, or fall idle."""
    server = memory.servers(ssd)[server_id]
    _end_job(ssd, server_id)
    if start_reads(ssd, server_id, now_ns):
        server.phase = ServerPhase.READING
    elif server.suspended_phase != ServerPhase.IDLE:
        _resume(ssd, server_id, now_ns)
    elif _take_job(ssd, server_id):
        _start_job_phase(ssd, server_id, now_ns)
    else:
        server.phase = ServerPhase.IDLE
        server.busy_ns += now_ns - server.busy_since_ns
        if not server.idle_work:
            server.idle_since_ns = now_ns
        due_ns = idle_work_due_ns(ssd, server_id, 0)
        if due_ns < NEVER_NS and not server.idle_event:
            server.idle_event = 1
            push(ssd, max(due_ns, now_ns), EventKind.IDLE, server_id, 0)


@inner
def end_phase(ssd: int, server_id: int, now_ns: int) -> int:
    """The server's phase is over; returns the job whose host part is thereby done, or NONE.

    Leaves the server in the next phase of the same thing, or DECIDING.
    """
    server = memory.servers(ssd)[server_id]
    phase = server.phase
    if phase == ServerPhase.OLD_SENSE:
        _begin_transfer(ssd, server_id, ServerPhase.OLD_OUT, memory.config(ssd).unit_bytes, now_ns)
    elif phase == ServerPhase.GC_SENSE:
        length_bytes = memory.commands(ssd)[server.job].gc_read_bytes
        _begin_transfer(ssd, server_id, ServerPhase.GC_OUT, length_bytes, now_ns)
    elif server.bytes_left:
        _transfer_page(ssd, server_id, phase, 0, now_ns)
    else:
        server.phase = ServerPhase.DECIDING
        if phase == ServerPhase.PROGRAM:
            return int(server.job)
    return NONE


@inner
def read_ended(ssd: int, reader_id: int, now_ns: int) -> None:
    """Let a reader that is done begin its next read; with the last, the server goes on."""
    start_read(ssd, reader_id, now_ns)
    server_id = memory.readers(ssd)[reader_id].server
    server = memory.servers(ssd)[server_id]
    if server.reads_active == 0:
        server.phase = ServerPhase.DECIDING
        start_next(ssd, server_id, now_ns)


@inner
def _end_job(ssd: int, server_id: int) -> None:
    """Put the server's job away if nothing of it is left."""
    server = memory.servers(ssd)[server_id]
    if server.job == NONE or server.suspended_phase != ServerPhase.IDLE:
        return
    job = memory.commands(ssd)[server.job]
    if job.host_part + job.gc_reads + job.gc_programs + job.erases == 0:
        release_command(ssd, server.job)
        memory.queue(ssd).programs -= 1
        server.job = NONE


@inner
def _take_job(ssd: int, server_id: int) -> bool:
    """Whether the server has a job; takes the next one if need be."""
    server = memory.servers(ssd)[server_id]
    if server.job == NONE and server.job_head != NONE:
        server.job = server.job_head
        job = memory.commands(ssd)[server.job]
        server.job_head = job.next
        job.next = NONE
    return bool(server.job != NONE)


@inner
def _start_job_phase(ssd: int, server_id: int, now_ns: int) -> None:
    config = memory.config(ssd)
    server = memory.servers(ssd)[server_id]
    job = memory.commands(ssd)[server.job]
    if job.erases_before:
        job.erases_before -= 1
        server.array_ns = now_ns
        _begin(ssd, server_id, ServerPhase.ERASE, now_ns + config.erase_ns)
    elif job.old_reads:
        job.old_reads -= 1
        _sense(ssd, server_id, ServerPhase.OLD_SENSE, job.lane, now_ns)
    elif job.host_part:
        job.host_part = 0
        _begin_transfer(ssd, server_id, ServerPhase.DATA_IN, job.bytes, now_ns)
    elif job.gc_reads:
        job.gc_reads -= 1
        _sense(ssd, server_id, ServerPhase.GC_SENSE, job.lane, now_ns)
    elif job.gc_programs:
        job.gc_programs -= 1
        program_bytes = config.slots_per_program * config.unit_bytes
        _begin_transfer(ssd, server_id, ServerPhase.GC_IN, program_bytes, now_ns)
    else:
        job.erases -= 1
        server.array_ns = now_ns
        _begin(ssd, server_id, ServerPhase.ERASE, now_ns + config.erase_ns)


@inner
def _begin(ssd: int, server_id: int, phase: int, done_ns: int) -> None:
    server = memory.servers(ssd)[server_id]
    server.phase = phase
    server.done_ns = done_ns
    server.suspensions = 0
    push(ssd, done_ns, EventKind.SERVER, server_id, server.generation)


@inner
def _sense(ssd: int, server_id: int, phase: int, lane_id: int, now_ns: int) -> None:
    """Cells to page register, once the command has come over the channel."""
    config = memory.config(ssd)
    begin_ns = occupy_channel(ssd, lane_id, config.read_command_ns, now_ns)
    _begin(ssd, server_id, phase, begin_ns + config.gc_read_ns)


@inner
def _begin_transfer(ssd: int, server_id: int, phase: int, length_bytes: int, now_ns: int) -> None:
    """Between page register and controller, either way."""
    config = memory.config(ssd)
    memory.servers(ssd)[server_id].bytes_left = length_bytes
    inward = phase in (ServerPhase.DATA_IN, ServerPhase.GC_IN)
    setup_ns = config.program_command_ns if inward else config.transfer_setup_ns
    _transfer_page(ssd, server_id, phase, setup_ns, now_ns)


@inner
def _transfer_page(ssd: int, server_id: int, phase: int, setup_ns: int, now_ns: int) -> None:
    """One page of what is to be transferred: between two, others may use the channel.

    After the last page of a program, the cells begin at once.
    """
    config = memory.config(ssd)
    server = memory.servers(ssd)[server_id]
    command = memory.commands(ssd)[server.job]
    length_bytes = min(server.bytes_left, config.page_bytes)
    server.bytes_left -= length_bytes
    duration_ns = setup_ns + transfer_ns(length_bytes, config.channel_bytes_per_s)
    end_ns = occupy_channel(ssd, command.lane, duration_ns, now_ns)
    if server.bytes_left == 0 and phase == ServerPhase.DATA_IN:
        _begin_program(ssd, server_id, ServerPhase.PROGRAM, end_ns, command.array_ns, now_ns)
    elif server.bytes_left == 0 and phase == ServerPhase.GC_IN:
        duration_ns = config.gc_program_ns
        if command.folds:
            command.folds -= 1
            duration_ns = config.fold_program_ns
        _begin_program(ssd, server_id, ServerPhase.GC_PROGRAM, end_ns, duration_ns, now_ns)
    else:
        _begin(ssd, server_id, phase, end_ns)


@inner
def _begin_program(
    ssd: int, server_id: int, phase: int, begin_ns: int, duration_ns: int, now_ns: int
) -> None:
    """Program what will have come over the channel; what came to be read meanwhile goes first."""
    server = memory.servers(ssd)[server_id]
    server.array_ns = begin_ns
    _begin(ssd, server_id, phase, begin_ns + duration_ns)
    if server.reads_waiting and _may_suspend(ssd, server_id, now_ns):
        _suspend(ssd, server_id, now_ns)


@inner
def _may_suspend(ssd: int, server_id: int, now_ns: int) -> bool:
    """Whether the server's program or erase lets the read that has just come go first."""
    config = memory.config(ssd)
    server = memory.servers(ssd)[server_id]
    return bool(
        config.suspend_ns != NONE
        and server.phase in (ServerPhase.PROGRAM, ServerPhase.GC_PROGRAM, ServerPhase.ERASE)
        and server.done_ns - max(now_ns, server.array_ns) > config.suspend_ns
        and server.suspensions < config.suspensions_max
    )


@inner
def _suspend(ssd: int, server_id: int, now_ns: int) -> None:
    server = memory.servers(ssd)[server_id]
    stop_ns = max(now_ns, server.array_ns)
    server.suspended_phase = server.phase
    server.remaining_ns = server.done_ns - stop_ns
    server.suspended_count = server.suspensions + 1
    server.generation += 1  # the event at done_ns is void
    memory.counters(ssd).suspensions += 1
    _begin(ssd, server_id, ServerPhase.SUSPENDING, stop_ns + memory.config(ssd).suspend_ns)


@inner
def _resume(ssd: int, server_id: int, now_ns: int) -> None:
    server = memory.servers(ssd)[server_id]
    phase = server.suspended_phase
    server.suspended_phase = ServerPhase.IDLE
    server.array_ns = now_ns + memory.config(ssd).resume_ns
    _begin(ssd, server_id, phase, server.array_ns + server.remaining_ns)
    server.suspensions = server.suspended_count
