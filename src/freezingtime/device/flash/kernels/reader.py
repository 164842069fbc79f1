# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers: what reads one page at a time. Compiled.

A server has one reader or, where the planes of a die read independently of each other, one
for each plane. While any of a server's readers is at work, the server does nothing else.
"""

from __future__ import annotations

from freezingtime.annotation import HeldBy
from freezingtime.device.annotations import kernels as annotation
from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.channel import occupy_channel, transfer_ns
from freezingtime.device.flash.kernels.completion import note_lane
from freezingtime.device.flash.kernels.event import push
from freezingtime.device.flash.layout import NONE, EventKind, ReadPhase, ServerPhase


@inner
def append_read(ssd: int, command_id: int, now_ns: int) -> int:
    """Let a read wait for its reader, which is returned."""
    commands = memory.commands(ssd)
    command = commands[command_id]
    reader_id = int(command.reader)
    reader = memory.readers(ssd)[reader_id]
    command.asked_ns = now_ns
    command.held_by = _held_by(ssd, reader.server)
    if reader.head == NONE:
        reader.head = command_id
    else:
        commands[reader.tail].next = command_id
    reader.tail = command_id
    memory.servers(ssd)[reader.server].reads_waiting += 1
    return reader_id


@inner
def _held_by(ssd: int, server_id: int) -> int:
    """Return the cause of waiting of a read that comes to a server now."""
    server = memory.servers(ssd)[server_id]
    phase = server.suspended_phase if server.phase == ServerPhase.SUSPENDING else server.phase
    if phase >= ServerPhase.GC_SENSE:
        return HeldBy.COLLECTION
    return HeldBy.PROGRAM if phase >= ServerPhase.OLD_SENSE else HeldBy.REQUESTS


@inner
def _note_start(ssd: int, command_id: int, now_ns: int) -> None:
    """A read for the host is begun: note how long it has waited, and for what."""
    command = memory.commands(ssd)[command_id]
    if command.request == NONE:
        return
    note = memory.requests(ssd)[command.request].annotation
    annotation.start(note, now_ns)
    if annotation.hold(note, command.held_by, now_ns - command.asked_ns):
        note_lane(ssd, command.request, command.lane)


@inner
def start_reads(ssd: int, server_id: int, now_ns: int) -> bool:
    """Start the server's idle readers on what goes first; whether any reader is at work."""
    server = memory.servers(ssd)[server_id]
    if server.reads_waiting:
        readers = memory.config(ssd).readers_per_server
        for reader_id in range(server_id * readers, (server_id + 1) * readers):
            start_read(ssd, reader_id, now_ns)
    return bool(server.reads_active)


@inner
def start_read(ssd: int, reader_id: int, now_ns: int) -> None:
    """Start a reader on the next of its reads, if it is idle and that goes before other work."""
    reader = memory.readers(ssd)[reader_id]
    if reader.phase != ReadPhase.IDLE or reader.head == NONE or not _goes_first(ssd, reader_id):
        return
    server = memory.servers(ssd)[reader.server]
    reader.read = reader.head
    command = memory.commands(ssd)[reader.read]
    reader.head = command.next
    command.next = NONE
    server.reads_waiting -= 1
    server.reads_active += 1
    reader.phase = ReadPhase.SENSE
    _note_start(ssd, reader.read, now_ns)
    command_ns = memory.config(ssd).read_command_ns
    begin_ns = occupy_channel(ssd, command.lane, command_ns, now_ns)
    push(ssd, begin_ns + command.array_ns, EventKind.READER, reader_id, 0)


@inner
def end_read_phase(ssd: int, reader_id: int, now_ns: int) -> int:
    """The reader's phase is over; returns the command that is thereby done, or NONE."""
    reader = memory.readers(ssd)[reader_id]
    if reader.phase == ReadPhase.SENSE:
        reader.phase = ReadPhase.DATA_OUT
        reader.bytes_left = memory.commands(ssd)[reader.read].bytes
        _transfer_page(ssd, reader_id, memory.config(ssd).transfer_setup_ns, now_ns)
    elif reader.bytes_left:
        _transfer_page(ssd, reader_id, 0, now_ns)
    else:
        command_id = reader.read
        reader.read = NONE
        reader.phase = ReadPhase.IDLE
        memory.servers(ssd)[reader.server].reads_active -= 1
        return int(command_id)
    return NONE


@inner
def _transfer_page(ssd: int, reader_id: int, setup_ns: int, now_ns: int) -> None:
    """One page to the controller: between two, others may use the channel."""
    config = memory.config(ssd)
    reader = memory.readers(ssd)[reader_id]
    length_bytes = min(reader.bytes_left, config.page_bytes)
    reader.bytes_left -= length_bytes
    duration_ns = setup_ns + transfer_ns(length_bytes, config.channel_bytes_per_s)
    lane_id = memory.commands(ssd)[reader.read].lane
    end_ns = occupy_channel(ssd, lane_id, duration_ns, now_ns)
    push(ssd, end_ns, EventKind.READER, reader_id, 0)


@inner
def _goes_first(ssd: int, reader_id: int) -> bool:
    """Whether the reader's next read goes before the server's jobs."""
    if memory.config(ssd).read_priority:
        return True
    reader = memory.readers(ssd)[reader_id]
    server = memory.servers(ssd)[reader.server]
    if server.job != NONE:
        return False
    if server.job_head == NONE:
        return True
    commands = memory.commands(ssd)
    return bool(commands[reader.head].sequence < commands[server.job_head].sequence)
