# SPDX-License-Identifier: GPL-2.0-or-later
"""Hard disks: cache, flushes and the device interface, request by request and as a trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freezingtime.device.disk import DiskDevice, DiskParams
from freezingtime.request import Operation, Request
from tests.support.disklib import BLOCK_BYTES, TURN_NS, closed_loop, drive, random_offsets

MIB = 1 << 20
SIZE_BYTES = 4 * 10**12


@dataclass(frozen=True)
class Timed:
    """A request and when it comes."""

    arrival_ns: int
    request: Request


def serve(device: DiskDevice, trace: list[Timed]) -> dict[Request, int]:
    """Run a trace through submit and advance; each request's completion time."""
    completions_ns: dict[Request, int] = {}
    last_ns = 0

    def advance() -> None:
        nonlocal last_ns
        event_ns = device.next_event_ns()
        assert event_ns is not None
        assert event_ns >= last_ns
        last_ns = event_ns
        for request in device.advance(event_ns):
            assert request not in completions_ns
            completions_ns[request] = event_ns

    submitted_ns = -1
    for timed in trace:
        while timed.arrival_ns > submitted_ns:
            event_ns = device.next_event_ns()
            if event_ns is None or event_ns > timed.arrival_ns:
                break
            advance()
        submitted_ns = timed.arrival_ns
        device.submit(timed.request, timed.arrival_ns)
    while len(completions_ns) < len(trace):
        advance()
    return completions_ns


def read(block: int, blocks: int = 1) -> Request:
    return Request(Operation.READ, block * BLOCK_BYTES, blocks * BLOCK_BYTES)


def write(block: int, blocks: int = 1, *, fua: bool = False) -> Request:
    return Request(Operation.WRITE, block * BLOCK_BYTES, blocks * BLOCK_BYTES, fua=fua)


def flush() -> Request:
    return Request(Operation.FLUSH, 0, 0)


def run_alone(device: DiskDevice, request: Request, now_ns: int) -> int:
    """The service time of a request that has the drive to itself."""
    return serve(device, [Timed(now_ns, request)])[request] - now_ns


LINK_NS = 6827  # 4 KiB at 600 MB/s
OVERHEAD_NS = 50_000


# Reading.


def test_reading_on_comes_from_memory_at_the_speed_of_the_link() -> None:
    device = DiskDevice(drive(), seed=1)
    run_alone(device, read(1000), 0)
    # A block takes the platter 20 us: in 10 ms reading ahead has gone far beyond.
    assert run_alone(device, read(1001, 8), 30_000_000) == OVERHEAD_NS + 54_614
    assert device.statistics()["read_hits"] == 1


def test_reading_on_too_early_waits_for_the_platter_and_no_longer() -> None:
    device = DiskDevice(drive(), seed=1)
    first_ns = run_alone(device, read(1000), 0)
    service_ns = run_alone(device, read(1001, 100), first_ns)
    sector_ns = TURN_NS / 457
    assert service_ns == pytest.approx(100 * sector_ns, abs=2 * sector_ns)


def test_reading_ahead_ends_with_the_segment() -> None:
    device = DiskDevice(drive(), seed=1)
    first_ns = run_alone(device, read(0), 0)
    while (event_ns := device.next_event_ns()) is not None:
        device.advance(event_ns)
    segment_blocks = 2 * MIB // BLOCK_BYTES
    assert device.statistics()["sectors_read_ahead"] == segment_blocks
    assert run_alone(device, read(segment_blocks), first_ns + 10**9) < 2 * OVERHEAD_NS
    far = segment_blocks * 40
    assert run_alone(device, read(far), first_ns + 2 * 10**9) > 2 * OVERHEAD_NS


def test_no_cache_no_hit() -> None:
    device = DiskDevice(drive('cache = "0B"\nwrite_cache = false\n'), seed=1)
    run_alone(device, read(1000), 0)
    assert run_alone(device, read(1000), 50_000_000) > OVERHEAD_NS + LINK_NS
    assert device.statistics()["read_hits"] == 0


def test_a_write_makes_what_was_read_stale() -> None:
    device = DiskDevice(drive("write_cache = false\n"), seed=1)
    run_alone(device, read(1000), 0)
    run_alone(device, write(1000), 50_000_000)
    run_alone(device, read(1000), 100_000_000)
    assert device.statistics()["read_hits"] == 0


def test_each_segment_serves_a_stream() -> None:
    params = drive("segments = 4\n")
    for streams, hit in ((4, True), (5, False)):
        device = DiskDevice(params, seed=1)
        now_ns = 0
        for round_ in range(2):
            for stream in range(streams):
                now_ns += 10**9
                run_alone(device, read(stream * 10**6 + round_), now_ns)
        assert device.statistics()["read_hits"] == (streams if hit else 0)


# Writing.


def test_a_buffered_write_takes_overhead_and_link() -> None:
    device = DiskDevice(drive(), seed=1)
    assert run_alone(device, write(12345), 0) == OVERHEAD_NS + LINK_NS


@pytest.mark.parametrize("fua", [False, True])
def test_without_write_cache_or_with_fua_a_write_takes_the_platter(fua: bool) -> None:
    params = drive() if fua else drive("write_cache = false\n")
    offsets = random_offsets(300, SIZE_BYTES) // BLOCK_BYTES
    device = DiskDevice(params, seed=1)
    total_ns = 0
    for block in offsets.tolist():
        total_ns += run_alone(device, write(block, fua=fua), total_ns)
    expected_ns = OVERHEAD_NS + 500_000 + 8_500_000 + TURN_NS / 2
    assert total_ns / 300 == pytest.approx(expected_ns, rel=0.06)


def test_what_is_buffered_is_read_from_memory_and_absorbs_rewrites() -> None:
    device = DiskDevice(drive(), seed=1)
    serve(device, [Timed(0, write(0)), Timed(0, write(10**8, 8)), Timed(0, write(5 * 10**8, 8))])
    # The arm is at one of them; the others are still in the buffer.
    again = [Timed(300_000, write(10**8, 8)), Timed(300_000, write(5 * 10**8, 8))]
    serve(device, again)
    assert device.statistics()["writes_absorbed"] >= 1
    assert device.statistics()["writes_buffered"] + device.statistics()["writes_absorbed"] == 5
    serve(device, [Timed(700_000, read(10**8, 8)), Timed(700_000, read(5 * 10**8, 8))])
    assert device.statistics()["read_hits"] >= 1


def test_sequential_writes_are_written_back_in_large_extents() -> None:
    device = DiskDevice(drive(), seed=1)
    offsets_bytes = np.arange(4096, dtype=np.int64) * BLOCK_BYTES
    closed_loop(device, offsets_bytes, operation=Operation.WRITE)
    run_alone(device, flush(), 10**9)
    statistics = device.statistics()
    assert statistics["destaged_sectors"] == 4096
    assert statistics["destaged_extents"] < 200


def test_random_writes_are_sustained_at_the_speed_of_writing_back() -> None:
    device = DiskDevice(drive(), seed=1)
    _, completions_ns = closed_loop(
        device, random_offsets(6000, SIZE_BYTES), operation=Operation.WRITE
    )
    # From among 128 extents the scheduler does better than from 32 requests.
    steady_iops = 5000 / ((completions_ns[-1] - completions_ns[999]) / 1e9)
    assert 200 < steady_iops < 330
    assert device.statistics()["writes_stalled"] > 5000


# Flushing.


def test_flush_of_a_clean_drive_takes_the_overhead() -> None:
    device = DiskDevice(drive(), seed=1)
    assert run_alone(device, flush(), 0) == OVERHEAD_NS


def test_flush_waits_until_every_write_before_it_is_on_the_platters() -> None:
    device = DiskDevice(drive(), seed=1)
    blocks = (random_offsets(64, SIZE_BYTES) // BLOCK_BYTES).tolist()
    writes = [Timed(1000 * number, write(block)) for number, block in enumerate(blocks)]
    barrier = Timed(64_000, flush())
    completions_ns = serve(device, [*writes, barrier])
    assert device.statistics()["destaged_sectors"] == 64
    assert completions_ns[barrier.request] == max(completions_ns.values())
    # 64 positioned writes, scheduled: between 2 and 10 ms each.
    assert 64 * 2e6 < completions_ns[barrier.request] < 64 * 10e6


def test_flush_does_not_wait_for_writes_after_it() -> None:
    device = DiskDevice(drive('age_limit = "0"\n'), seed=1)
    barrier = Timed(10, flush())
    after = [Timed(20, write(int(o) // BLOCK_BYTES)) for o in random_offsets(20, SIZE_BYTES)]
    completions_ns = serve(device, [Timed(0, write(7)), barrier, *after])
    assert completions_ns[barrier.request] < 40_000_000
    assert device.statistics()["destaged_sectors"] < 5


def test_reads_in_number_do_not_starve_a_flush() -> None:
    device = DiskDevice(drive('age_limit = "100ms"\n'), seed=1)
    offsets = (random_offsets(401, SIZE_BYTES) // BLOCK_BYTES).tolist()
    barrier = Timed(1, flush())
    reads = [Timed(2 + number * 5_000_000, read(block)) for number, block in enumerate(offsets)]
    completions_ns = serve(device, [Timed(0, write(10**8)), barrier, *reads])
    assert completions_ns[barrier.request] < 200_000_000


# The device interface.


def random_requests() -> st.SearchStrategy[list[Timed]]:
    stream = st.builds(lambda stream, n: stream * 10**6 + n, st.integers(0, 3), st.integers(0, 600))
    block = st.one_of(stream, st.integers(0, SIZE_BYTES // BLOCK_BYTES - 5000))
    operation = st.sampled_from(list(Operation))
    gap_ns = st.one_of(st.just(0), st.integers(0, 100_000), st.integers(0, 40_000_000))
    fields = st.tuples(operation, block, st.sampled_from([1, 2, 8, 300, 4000]), gap_ns)

    def build(rows: list[tuple[Operation, int, int, int]]) -> list[Timed]:
        trace, now_ns = [], 0
        for operation, block, blocks, gap_ns in rows:
            now_ns += gap_ns
            empty = operation is Operation.FLUSH
            place = (0, 0) if empty else (block * BLOCK_BYTES, blocks * BLOCK_BYTES)
            trace.append(Timed(now_ns, Request(operation, *place)))
        return trace

    return st.lists(fields, min_size=1, max_size=60).map(build)


PARAMS = {
    "default": drive(),
    "small": drive('cache = "1MiB"\nsegments = 2\nwrite_extents = 4\nqueue = 4\n'),
    "plain": drive('cache = "0B"\nwrite_cache = false\nscheduler = "fcfs"\nqueue = 1\n'),
    "shingled": drive(
        '[smr]\nband = "4MiB"\ncache = "16MiB"\nmap_entries = 16\nclean_idle = "10ms"'
    ),
    "shingled plain": drive(
        'cache = "0B"\nwrite_cache = false\nqueue = 4\n'
        '[smr]\nband = "4MiB"\ncache = "8MiB"\nmap_entries = 20\nstream = "1MiB"\n'
        'cache_place = "middle"\nsafe_copy = false'
    ),
}


def as_arrays(trace: list[Timed]) -> tuple[NDArray[np.int64], ...]:
    rows = [
        (t.arrival_ns, int(t.request.operation), t.request.offset_bytes, t.request.length_bytes)
        for t in trace
    ]
    return tuple(np.array(column, np.int64) for column in zip(*rows, strict=True))


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS.keys())
@settings(max_examples=60)
@given(trace=random_requests())
def test_any_trace_keeps_the_promises(params: DiskParams, trace: list[Timed]) -> None:
    completions_ns = serve(DiskDevice(params, seed=9), trace)
    for timed in trace:
        completion_ns = completions_ns[timed.request]
        assert type(completion_ns) is int
        assert completion_ns >= timed.arrival_ns + OVERHEAD_NS
    for number, timed in enumerate(trace):
        if timed.request.operation is Operation.FLUSH:
            for earlier in trace[:number]:
                if earlier.request.operation in (Operation.WRITE, Operation.WRITE_ZEROES):
                    assert completions_ns[earlier.request] <= completions_ns[timed.request]


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS.keys())
@settings(max_examples=60)
@given(trace=random_requests())
def test_a_trace_at_once_gives_the_same_as_request_by_request(
    params: DiskParams, trace: list[Timed]
) -> None:
    one_by_one = serve(DiskDevice(params, seed=9), trace)
    at_once = DiskDevice(params, seed=9).complete_all(*as_arrays(trace))
    assert at_once.tolist() == [one_by_one[timed.request] for timed in trace]


def test_same_seed_same_times_and_other_seed_other_times() -> None:
    offsets_bytes = random_offsets(200, SIZE_BYTES)
    times = [closed_loop(DiskDevice(drive(), seed), offsets_bytes)[1] for seed in (1, 1, 2)]
    assert np.array_equal(times[0], times[1])
    assert not np.array_equal(times[0], times[2])


def test_a_trace_must_fit_the_disk_and_go_forward() -> None:
    device = DiskDevice(drive(), seed=1, size_bytes=MIB)
    with pytest.raises(ValueError, match=r"request 0 .* is outside the disk of 1048576 bytes"):
        closed_loop(device, np.array([MIB], np.int64))
    zero, one = np.zeros(2, np.int64), np.array([1, 0], np.int64)
    with pytest.raises(ValueError, match="must not decrease"):
        device.complete_all(one, zero, zero, zero + 4096)
    device.submit(read(0), 0)
    with pytest.raises(ValueError, match="1 requests are in flight"):
        device.complete_all(zero, zero, zero, zero + 4096)
