# SPDX-License-Identifier: GPL-2.0-or-later
"""The hardware of an SSD: its flash, the buses to it, and the interface to the host."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import field

from freezingtime.device.schema import (
    Bandwidth,
    Notation,
    Parameters,
    SizeBytes,
    TimeNs,
    key,
)
from freezingtime.errors import InputError
from freezingtime.units import format_time_ns, parse_time_ns

PAGE_KINDS_MAX = 8

_SECTOR_BYTES = 512
#: Sums of times of at most a minute stay far inside 64 bits.
_MINUTE_NS = 60 * 10**9


def _parse_page_times_ns(text: object) -> tuple[int, ...]:
    try:
        times_ns = tuple(parse_time_ns(part) for part in str(text).split(","))
    except InputError as error:
        raise InputError(_PAGE_TIMES_PROBLEM) from error
    if len(times_ns) > PAGE_KINDS_MAX or not all(0 < time <= _MINUTE_NS for time in times_ns):
        raise InputError(f"must be 1 to {PAGE_KINDS_MAX} times above 0, up to 60s")
    return times_ns


_PAGE_TIMES_PROBLEM = 'must be a time such as "60us", or one per kind of page: "48us, 64us"'
#: One time, or several with commas between: one for each kind of page.
PageTimesNs: TypeAlias = Annotated[
    tuple[int, ...],
    Notation(
        kind="times",
        problem=_PAGE_TIMES_PROBLEM,
        parse=_parse_page_times_ns,
        show=lambda times_ns: ", ".join(map(format_time_ns, times_ns)),
        schema={"type": "string", "examples": ["48us, 64us, 80us"]},
    ).meta(),
]


DurationNs: TypeAlias = Annotated[TimeNs, key("", most=_MINUTE_NS)]


class Array(Parameters, frozen=True, kw_only=True):
    """Layout of the flash array."""

    channels: Annotated[int, key("buses between the controller and the flash", least=1, most=256)]
    chips_per_channel: Annotated[int, key("chips on each", least=1, most=256)] = 1
    dies_per_chip: Annotated[int, key("dies in each", least=1, most=64)] = 1
    planes_per_die: Annotated[int, key("planes of each", least=1, most=64)] = 1
    pages_per_block: Annotated[int, key("pages of a block of one plane", least=1, most=65536)]
    page_bytes: Annotated[SizeBytes, key("the size of a page of one plane", least=_SECTOR_BYTES)]
    blocks_per_plane: Annotated[
        int, key("blocks of a plane; 0: as many as the disk's size needs", most=2**24)
    ] = 0


class Cells(Parameters, frozen=True, kw_only=True):
    """The times of the flash itself."""

    read_ns: Annotated[
        PageTimesNs,
        key('time to read a page, or one for each kind of page, as in `"40us, 60us, 80us"`'),
    ] = field(name="t_read")
    program_ns: Annotated[PageTimesNs, key("time to program a page, likewise")] = field(
        name="t_program"
    )
    erase_ns: Annotated[DurationNs, key("time to erase a block")] = field(name="t_erase")
    pages_per_program: Annotated[
        int,
        key("pages of one plane that are programmed at once (3: one-shot TLC)", least=1, most=16),
    ] = 1
    multi_plane: Annotated[
        bool, key("whether the planes of a die work in lockstep on one wide page")
    ] = False
    scheduler: Annotated[
        Literal["plane", "die", "chip"],
        key("unit with one operation at a time (chip: as in MQSim)"),
    ] = "die"
    plane_reads: Annotated[
        bool, key("whether the planes of a die read for the host independently of each other")
    ] = False
    read_priority: Annotated[
        bool, key("whether the host's reads overtake waiting programs, erases and collection")
    ] = True
    suspend_ns: (
        Annotated[
            DurationNs,
            key(
                "the time to suspend a program or erase for a read",
                missing="it runs to its end",
            ),
        ]
        | None
    ) = field(default=None, name="t_suspend")
    resume_ns: Annotated[DurationNs, key("time to resume it")] = field(default=0, name="t_resume")
    suspensions_per_operation: Annotated[
        int, key("maximum suspensions of one program or erase", least=1, most=100)
    ] = field(default=4, name="suspensions")


class Channel(Parameters, frozen=True, kw_only=True):
    """The bus."""

    channel_bytes_per_s: Annotated[Bandwidth, key("its bandwidth")] = field(name="bandwidth")
    read_command_ns: Annotated[DurationNs, key("its time for a read command")] = field(
        default=300, name="t_read_command"
    )
    transfer_setup_ns: Annotated[DurationNs, key("its time before each transfer of data")] = field(
        default=0, name="t_setup"
    )
    program_command_ns: Annotated[DurationNs, key("its time for a program command")] = field(
        default=300, name="t_program_command"
    )


class Host(Parameters, frozen=True, kw_only=True):
    """The interface and the controller."""

    link_bytes_per_s: Annotated[Bandwidth, key("the bandwidth of the interface")] = field(
        name="bandwidth"
    )
    link_transfer: Annotated[
        Literal["pipelined", "whole"],
        key("whether read data goes to the host page by page, or once complete"),
    ] = field(default="pipelined", name="transfer")
    queue_depth: Annotated[int, key("queue depth of the controller", least=1, most=65536)] = 1024
    writes_waiting_max: Annotated[
        int,
        key(
            "while that many writes wait for buffer space, no command is fetched; 0: always",
            most=65536,
        ),
    ] = field(default=0, name="writes_waiting")
    submission_ns: Annotated[
        DurationNs, key("from the doorbell until the controller has the command")
    ] = field(default=0, name="t_submission")
    command_interval_ns: Annotated[DurationNs, key("minimum time between two fetched commands")] = (
        field(default=0, name="t_command_interval")
    )
    read_overhead_ns: Annotated[DurationNs, key("the controller's time for a read")] = field(
        default=0, name="t_read"
    )
    write_overhead_ns: Annotated[DurationNs, key("the controller's time for a write")] = field(
        default=0, name="t_write"
    )
    flush_ns: Annotated[DurationNs, key("the controller's time for a flush")] = field(
        default=0, name="t_flush"
    )
    discard_ns: Annotated[DurationNs, key("the controller's time for a discard")] = field(
        default=0, name="t_discard"
    )
