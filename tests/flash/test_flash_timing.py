# SPDX-License-Identifier: GPL-2.0-or-later
"""What single requests to the SSD model cost, down to the nanosecond, and who waits for whom."""

from __future__ import annotations

import numpy as np
import pytest

from freezingtime.report.discard_notice import discard_notices
from freezingtime.request import Operation
from tests.support.flashlib import (
    MIB,
    device,
    discard,
    flush,
    is_stable,
    read,
    run,
    state_of,
    write,
)

READ_NS = 50_000
PROGRAM_NS = 500_000


def test_a_read_takes_command_cells_channel_and_link() -> None:
    ssd = device(
        precondition="sequential",
        read_command_ns=300,
        transfer_setup_ns=40,
        channel_bytes_per_s=1_000_000_000,
        link_bytes_per_s=4_000_000_000,
        submission_ns=2_000,
        read_overhead_ns=5_000,
    )
    expected_ns = 1_000 + 2_000 + 300 + READ_NS + 40 + 4_096 + 1_024 + 5_000
    assert run(ssd, [(1_000, read(8192))]) == [expected_ns]


def test_only_what_is_asked_for_is_transferred() -> None:
    ssd = device(precondition="sequential", channel_bytes_per_s=1_000_000_000)
    assert run(ssd, [(0, read(512, 1024))]) == [READ_NS + 1024]


def test_page_kinds_take_their_own_times() -> None:
    ssd = device(read_ns=(40_000, 60_000, 90_000), precondition="sequential")
    arrivals = [i * 1_000_000 for i in range(4)]
    completions = run(ssd, [(at, read(i * 4096)) for i, at in enumerate(arrivals)])
    services = [done - at for at, done in zip(arrivals, completions, strict=True)]
    assert services == [40_000, 60_000, 90_000, 40_000]


def test_dies_work_at_the_same_time_and_chips_may_not() -> None:
    shape = {"dies_per_chip": 2, "allocation": "static", "precondition": "sequential"}
    two_reads = [(0, read(0)), (0, read(4096))]
    assert run(device(**shape), two_reads) == [READ_NS, READ_NS]
    assert run(device(**shape, scheduler="chip"), two_reads) == [READ_NS, 2 * READ_NS]


@pytest.mark.parametrize(("order", "distance"), [("CWDP", 1), ("DPCW", 4), ("PDWC", 4)])
def test_the_striping_order_says_where_the_other_channel_is(order: str, distance: int) -> None:
    ssd = device(
        channels=2,
        dies_per_chip=2,
        planes_per_die=2,
        allocation="static",
        allocation_order=order,
    )
    channels = ssd.geometry.channel_of_lane.tolist()
    assert channels.index(1) == distance


def test_two_pages_share_the_channel_but_not_the_cells() -> None:
    ssd = device(
        dies_per_chip=2,
        allocation="static",
        precondition="sequential",
        channel_bytes_per_s=1_000_000_000,
    )
    assert run(ssd, [(0, read(0, 8192))]) == [READ_NS + 2 * 4096]


def test_units_of_one_page_are_sensed_once() -> None:
    wide = device(page_bytes=16384, precondition="sequential")
    assert run(wide, [(0, read(0, 16384))]) == [READ_NS]
    lockstep = device(planes_per_die=4, multi_plane=True, precondition="sequential")
    assert run(lockstep, [(0, read(0, 16384))]) == [READ_NS]


def test_the_link_takes_pages_as_they_come_or_all_at_once() -> None:
    shape = {
        "dies_per_chip": 2,
        "allocation": "static",
        "precondition": "sequential",
        "channel_bytes_per_s": 100_000_000,
        "link_bytes_per_s": 200_000_000,
    }
    both = [(0, read(0, 8192))]
    assert run(device(**shape), both) == [READ_NS + 2 * 40_960 + 20_480]
    whole = device(**shape, link_transfer="whole")
    assert run(whole, both) == [READ_NS + 2 * 40_960 + 40_960]


def test_what_was_never_written_is_read_without_the_cells() -> None:
    ssd = device(link_bytes_per_s=4_096_000_000)
    assert run(ssd, [(0, read(0))]) == [1_000]


def test_without_a_buffer_a_write_takes_a_program() -> None:
    ssd = device(channel_bytes_per_s=1_000_000_000, program_command_ns=200)
    assert run(ssd, [(0, write(0))]) == [200 + 4096 + PROGRAM_NS]
    assert is_stable(ssd, 0)


def test_a_part_of_a_unit_is_read_before_it_is_written() -> None:
    ssd = device(mapping_unit_bytes=4096, precondition="sequential")
    assert run(ssd, [(0, write(0, 512))]) == [READ_NS + PROGRAM_NS]
    fresh = device()
    assert run(fresh, [(0, write(0, 512))]) == [PROGRAM_NS]


def test_parts_that_meet_in_the_buffer_need_no_read() -> None:
    ssd = device(page_bytes=8192, precondition="sequential", write_buffer_bytes=MIB)
    halves = [(0, write(0, 2048)), (0, write(2048, 2048)), (0, write(4096)), (0, flush())]
    assert run(ssd, halves)[-1] == PROGRAM_NS
    assert ssd.statistics()["old_data_reads"] == 0
    assert ssd.statistics()["buffer_coalesced_units"] == 1


def test_a_buffer_acknowledges_at_its_own_speed_until_it_is_full() -> None:
    """8 units fit; from then on a write waits until a program has made room."""
    ssd = device(
        write_buffer_bytes=8 * 4096,
        buffer_bytes_per_s=4_096_000_000,
        buffer_access_ns=100,
        write_overhead_ns=7_000,
    )
    completions = run(ssd, [(0, write(i * 4096)) for i in range(12)])
    assert completions[:8] == [7_000 + 1_100 * (i + 1) for i in range(8)]
    first_program_ends_ns = 1_100 + PROGRAM_NS
    assert completions[8:] == [
        7_000 + 1_100 + first_program_ends_ns + i * PROGRAM_NS for i in range(4)
    ]


def test_overwriting_what_is_in_the_buffer_takes_no_room() -> None:
    ssd = device(page_bytes=16384, write_buffer_bytes=16384)
    assert run(ssd, [(i, write(0)) for i in range(20)]) == list(range(20))
    assert ssd.statistics()["programmed_bytes"] == 0


def test_a_write_larger_than_the_buffer_streams_through_it() -> None:
    ssd = device(write_buffer_bytes=4 * 4096)
    (completion_ns,) = run(ssd, [(0, write(0, 16 * 4096))])
    assert completion_ns == pytest.approx(12 * PROGRAM_NS, rel=0.01)


def test_a_read_of_what_is_buffered_comes_from_the_buffer() -> None:
    ssd = device(write_buffer_bytes=MIB, buffer_access_ns=100)
    assert run(ssd, [(0, write(0)), (1_000, read(0))]) == [100, 1_100]
    assert ssd.statistics()["buffer_read_hits"] == 1


def test_a_flush_waits_for_what_is_buffered() -> None:
    ssd = device(write_buffer_bytes=MIB, flush_ns=1_000)
    trace = [(0, write(0)), (0, write(4096)), (10, flush()), (20, write(8192)), (30, flush())]
    completions = run(ssd, trace)
    assert completions == [0, 0, 2 * PROGRAM_NS + 1_000, 20, 3 * PROGRAM_NS + 1_000]


def test_a_flush_pads_a_program_that_is_not_full() -> None:
    ssd = device(page_bytes=16384, write_buffer_bytes=MIB)
    assert run(ssd, [(0, write(0)), (10, flush())]) == [0, 10 + PROGRAM_NS]
    assert ssd.statistics()["write_amplification"] == 4.0


def test_power_loss_protection_makes_flushes_free() -> None:
    ssd = device(write_buffer_bytes=MIB, power_loss_protection=True, page_bytes=16384)
    assert run(ssd, [(0, write(0)), (10, flush()), (20, write(4096, fua=True))]) == [0, 10, 20]


def test_a_forced_write_waits_for_the_cells() -> None:
    ssd = device(write_buffer_bytes=MIB, page_bytes=16384)
    assert run(ssd, [(0, write(0)), (10, write(4096, fua=True))]) == [0, 10 + PROGRAM_NS]


def test_reads_pass_programs_that_wait() -> None:
    writes = [(0, write(i * 4096)) for i in range(3)]
    trace = [*writes, (1_000, read(MIB // 2))]
    first = device(precondition="sequential", write_buffer_bytes=MIB)
    assert run(first, trace)[-1] == PROGRAM_NS + READ_NS
    last = device(precondition="sequential", write_buffer_bytes=MIB, read_priority=False)
    assert run(last, trace)[-1] == 3 * PROGRAM_NS + READ_NS


def test_a_program_is_suspended_for_a_read_and_goes_on() -> None:
    ssd = device(precondition="sequential", suspend_ns=20_000, resume_ns=5_000)
    trace = [(0, write(0)), (100_000, read(MIB // 2))]
    write_ns, read_ns = run(ssd, trace)
    assert read_ns == 100_000 + 20_000 + READ_NS
    assert write_ns == read_ns + 5_000 + 400_000
    assert ssd.statistics()["suspensions"] == 1


def test_a_program_is_suspended_only_so_often() -> None:
    ssd = device(precondition="sequential", suspend_ns=0, suspensions_per_operation=2)
    reads = [(100_000 * i, read(MIB // 2)) for i in range(1, 5)]
    write_ns, *reads_ns = run(ssd, [(0, write(0)), *reads])
    assert write_ns == PROGRAM_NS + 2 * READ_NS
    assert reads_ns == [150_000, 250_000, write_ns + READ_NS, write_ns + 2 * READ_NS]


def test_a_program_that_is_nearly_done_is_not_suspended() -> None:
    ssd = device(precondition="sequential", suspend_ns=20_000)
    assert run(ssd, [(0, write(0)), (490_000, read(MIB // 2))]) == [
        PROGRAM_NS,
        PROGRAM_NS + READ_NS,
    ]


def test_one_shot_programs_wait_for_all_their_pages() -> None:
    ssd = device(pages_per_program=3, pages_per_block=33, write_buffer_bytes=MIB)
    run(ssd, [(0, write(0)), (0, write(4096))])
    assert not is_stable(ssd, 0)
    run(ssd, [(PROGRAM_NS, write(8192)), (PROGRAM_NS, flush())])
    assert is_stable(ssd, 0)
    assert ssd.statistics()["programmed_bytes"] == 3 * 4096


def test_a_program_lets_others_use_the_channel_between_its_pages() -> None:
    """A transfer of four pages to one die, and a read on the other: it waits for one page."""
    ssd = device(
        dies_per_chip=2,
        allocation="static",
        pages_per_program=4,
        precondition="sequential",
        write_buffer_bytes=MIB,
        channel_bytes_per_s=100_000_000,
        read_ns=(1,),
    )
    page_ns = 40_960
    writes = [(0, write(i * 8192)) for i in range(4)]
    *_, read_ns = run(ssd, [*writes, (10, read(4096))])
    assert read_ns == 3 * page_ns


def test_a_discard_frees_whole_units_only() -> None:
    ssd = device(precondition="sequential", discard_ns=900)
    assert run(ssd, [(0, discard(2048, 8192))]) == [900]
    assert run(ssd, [(1_000, read(0)), (1_000_000, read(4096))]) == [1_000 + READ_NS, 1_000_000]
    assert ssd.statistics()["mapped_units"] == MIB // 4096 - 1


def test_a_discard_that_is_ignored_takes_its_time_only() -> None:
    ssd = device(precondition="sequential", discard_ns=900, discard="ignored")
    assert run(ssd, [(0, discard(0, MIB))]) == [900]
    assert run(ssd, [(1_000, read(0))]) == [1_000 + READ_NS]
    said = ssd.statistics()
    assert (said["mapped_units"], said["discarded_units"]) == (MIB // 4096, 0)
    assert list(discard_notices("data", said)) == []


@pytest.mark.parametrize("kind", ["sequential", "steady"])
def test_discards_that_undo_the_precondition_are_said(kind: str) -> None:
    """What mkfs does: write amplification is then that of a fresh SSD, whatever was asked for."""
    ssd = device(precondition=kind)
    units = MIB // 4096
    assert ssd.statistics()["preconditioned_units"] == units
    run(ssd, [(0, discard(0, MIB // 20))])
    assert list(discard_notices("data", ssd.statistics())) == []
    run(ssd, [(10_000_000, discard(0, MIB)), (20_000_000, discard(0, MIB))])
    assert ssd.statistics()["discarded_units"] == units
    (notice,) = discard_notices("data", ssd.statistics())
    assert notice.startswith("data: discards emptied 100% of what the SSD held at the start")
    inside = {f"2.{name}": value for name, value in ssd.statistics().items()}
    assert next(discard_notices("data", inside)).startswith("data, member 2: discards emptied")


def test_a_fresh_ssd_has_nothing_to_lose() -> None:
    ssd = device(precondition="fresh")
    run(ssd, [(0, write(0)), (10_000_000, discard(0, MIB))])
    assert ssd.statistics()["discarded_units"] == 1
    assert list(discard_notices("data", ssd.statistics())) == []


def test_the_queue_depth_bounds_what_is_in_service() -> None:
    ssd = device(dies_per_chip=4, allocation="static", precondition="sequential", queue_depth=2)
    completions = run(ssd, [(0, read(i * 4096)) for i in range(4)])
    assert completions == [READ_NS, READ_NS, 2 * READ_NS, 2 * READ_NS]


def test_the_controller_takes_up_commands_at_its_own_pace() -> None:
    ssd = device(link_bytes_per_s=10**15, command_interval_ns=700, submission_ns=50)
    assert run(ssd, [(0, read(0)), (0, read(0)), (0, read(0))]) == [50, 750, 1_450]


def test_garbage_collection_may_come_at_once_or_be_spread() -> None:
    """The same work and the same wear; but at once, one write waits for all of it."""
    longest_ns = {}
    for pacing in ("spread", "burst"):
        ssd = device(8 * MIB, gc_pacing=pacing, precondition="steady")
        generator = np.random.Generator(np.random.PCG64(3))
        arrivals = np.arange(2_000) * 3_000_000
        offsets = generator.integers(0, 2048, arrivals.size) * 4096
        same = np.ones_like(arrivals)
        completions = ssd.complete_all(arrivals, same * Operation.WRITE, offsets, same * 4096)
        longest_ns[pacing] = (completions - arrivals).max()
        assert ssd.statistics()["write_amplification"] > 1.5
    assert longest_ns["burst"] > 1.5 * longest_ns["spread"]


def test_nothing_wakes_the_caller_while_nobody_waits() -> None:
    """Programs go on behind acknowledged writes without an event that anybody must attend."""
    ssd = device(write_buffer_bytes=MIB)
    ssd.submit(write(0), 0)
    assert len(ssd.advance(0)) == 1
    assert ssd.next_event_ns() is None
    assert state_of(ssd).servers["phase"][0] != 0
