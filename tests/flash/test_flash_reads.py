# SPDX-License-Identifier: GPL-2.0-or-later
"""How reads come past programs, and past each other: by plane, by suspension, in the queue."""

from __future__ import annotations

import pytest

from tests.support.flashlib import MIB, device, flush, read, run, write

READ_NS = 50_000
PROGRAM_NS = 500_000
#: Two planes in lockstep: their wide page holds units 0 and 1, the next one 2 and 3.
LOCKSTEP = {"planes_per_die": 2, "multi_plane": True, "precondition": "sequential"}


@pytest.mark.parametrize(
    ("plane_reads", "expected_ns"),
    [
        pytest.param(True, [READ_NS, READ_NS, 2 * READ_NS], id="each on its own"),
        pytest.param(False, [READ_NS, 2 * READ_NS, 3 * READ_NS], id="one after the other"),
    ],
)
def test_planes_read_independently_if_they_can(plane_reads: bool, expected_ns: list[int]) -> None:
    ssd = device(**LOCKSTEP, plane_reads=plane_reads)
    assert run(ssd, [(0, read(0)), (0, read(4096)), (0, read(8192))]) == expected_ns


def test_a_request_over_both_planes_takes_one_read_of_each() -> None:
    ssd = device(**LOCKSTEP, plane_reads=True)
    assert run(ssd, [(0, read(0, 8192)), (0, read(8192))]) == [READ_NS, 2 * READ_NS]


def test_planes_without_lockstep_read_independently_too() -> None:
    ssd = device(planes_per_die=2, allocation="static", precondition="sequential", plane_reads=True)
    assert run(ssd, [(0, read(0)), (0, read(4096)), (0, read(8192))]) == [
        READ_NS,
        READ_NS,
        2 * READ_NS,
    ]


def test_a_program_waits_until_no_plane_reads() -> None:
    ssd = device(**LOCKSTEP, plane_reads=True)
    reads = [(0, read(0)), (40_000, read(4096)), (80_000, read(0))]
    *reads_ns, write_ns = run(ssd, [*reads, (85_000, write(0))])
    assert reads_ns == [READ_NS, 40_000 + READ_NS, 80_000 + READ_NS]
    assert write_ns == 80_000 + READ_NS + PROGRAM_NS


def test_a_read_that_came_while_data_came_in_goes_before_their_program() -> None:
    """Data of 40.96 us for the cells; the read comes after 10 us and is not kept for 500 us."""
    page_ns, suspend_ns, resume_ns = 40_960, 20_000, 5_000
    ssd = device(
        precondition="sequential",
        channel_bytes_per_s=100_000_000,
        suspend_ns=suspend_ns,
        resume_ns=resume_ns,
    )
    write_ns, read_ns = run(ssd, [(0, write(0)), (10_000, read(MIB // 2))])
    assert read_ns == page_ns + suspend_ns + READ_NS + page_ns
    assert write_ns == read_ns + resume_ns + PROGRAM_NS


def test_reads_wait_behind_writes_that_fill_the_command_queue() -> None:
    """A buffer of one unit: the second write waits 500 us for room, and so does the read."""
    ssd = device(precondition="sequential", write_buffer_bytes=4096, writes_waiting_max=1)
    trace = [(0, write(0)), (0, write(4096)), (0, read(MIB // 2))]
    first_ns, second_ns, read_ns = run(ssd, trace)
    assert (first_ns, second_ns) == (0, PROGRAM_NS)
    assert read_ns == PROGRAM_NS + READ_NS


def test_reads_pass_writes_that_wait_for_room() -> None:
    """The same with room for commands: reads go first as soon as the program is done."""
    ssd = device(
        precondition="sequential", write_buffer_bytes=4096, writes_waiting_max=2, suspend_ns=0
    )
    trace = [(0, write(0)), (0, write(4096)), (100_000, read(MIB // 2))]
    assert run(ssd, trace)[-1] == 100_000 + READ_NS


def test_a_flush_is_seen_on_time_while_a_read_is_under_way() -> None:
    """A program that a read had suspended ends before the read's data have reached the host."""
    ssd = device(
        precondition="sequential",
        write_buffer_bytes=MIB,
        suspend_ns=1_000,
        resume_ns=100,
        link_bytes_per_s=100_000_000,
    )
    link_ns = 40_960
    trace = [(0, write(0)), (link_ns, flush()), (link_ns + 498_000, read(MIB // 2))]
    _, flush_ns, read_ns = run(ssd, trace)
    assert flush_ns == link_ns + 498_000 + 1_000 + READ_NS + 100 + 2_000
    assert read_ns == link_ns + 498_000 + 1_000 + READ_NS + link_ns
