# SPDX-License-Identifier: GPL-2.0-or-later
"""Cloud volumes against the providers' published arithmetic, to the nanosecond."""

from __future__ import annotations

import math
import time
import tomllib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freezingtime.device.latency.model import LatencyDevice, LatencyParams
from freezingtime.device.latency.queueing import QueueParams, TokenBucket, Unit
from freezingtime.device.parameters import Table
from freezingtime.device.volume.model import VolumeDevice, VolumeParams
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from tests.support.modellib import assert_flushes_follow_writes

S = 10**9
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

NO_LATENCY = 'read.fixed = "0"\nwrite.fixed = "0"\n'

# Amazon EC2 user guide, "General Purpose SSD volumes": 3 IOPS per GiB, 100 to 16,000; burst
# to 3,000 from 5.4 million credits; I/Os of up to 256 KiB, contiguous ones merged.
GP2 = (
    NO_LATENCY
    + """
io_size = "256KiB"
[iops]
baseline_per_gib = 3
baseline_least = 100
baseline_most = 16_000
burst = 3000
credits = 5_400_000
"""
)
GP3 = (
    NO_LATENCY
    + """
io_size = "256KiB"
[iops]
baseline = 3000
[throughput]
baseline = "125MiB/s"
"""
)
# "Throughput Optimized HDD volumes": 40 MiB/s per TiB, burst 250 MiB/s per TiB, both up to
# 500 MiB/s; 1 TiB of credits per TiB; an I/O of up to 1 MiB costs 1 MiB.
ST1 = (
    NO_LATENCY
    + """
io_size = "1MiB"
merge_sequential = true
charge_whole_ios = true
[throughput]
baseline_per_gib = "40KiB/s"
baseline_most = "500MiB/s"
burst_per_gib = "250KiB/s"
burst_most = "500MiB/s"
credits_per_gib = "1GiB"
credits_most = "16TiB"
"""
)


def parse(text: str) -> VolumeParams:
    return Table(tomllib.loads(text), "volume.toml").read(VolumeParams)


def volume(text: str, size_bytes: int | None = None) -> VolumeDevice:
    return VolumeDevice(parse(text), seed=1, size_bytes=size_bytes)


def columns(
    count: int, length_bytes: int, stride_bytes: int = GIB
) -> tuple[NDArray[np.int64], ...]:
    """Operations, offsets and lengths of so many reads, ``stride_bytes`` apart."""
    return (
        np.full(count, Operation.READ, np.int64),
        np.arange(count, dtype=np.int64) * stride_bytes,
        np.full(count, length_bytes, np.int64),
    )


def read(offset_bytes: int, length_bytes: int) -> Request:
    return Request(Operation.READ, offset_bytes, length_bytes)


def first_s(credit: int, baseline: int, burst: int, number: int, ios: int = 1) -> Fraction:
    """When request ``number`` (from 0), of ``ios`` I/Os, may start, all having arrived at 0.

    By hand: not before the burst rate has let those before it through, and not before its
    tokens are there: with it, (number + 1) * ios have then been used.
    """
    missing = max(0, (number + 1) * ios - credit)
    return max(Fraction(number * ios, burst), Fraction(missing, baseline))


@pytest.mark.parametrize(
    ("size_gib", "baseline", "burst_s", "ios"),
    [(33, 100, 1862, 25), (100, 300, 2000, 1), (334, 1002, 2703, 25), (750, 2250, 7200, 25)],
)
def test_gp2_bursts_as_long_as_the_published_table_says(
    size_gib: int, baseline: int, burst_s: int, ios: int
) -> None:
    """Overload from time 0: every start exactly, and the end of the burst as published."""
    count = 3000 * (burst_s + 60) // ios
    starts = volume(GP2, size_gib * GIB).complete_all(
        np.zeros(count, np.int64), *columns(count, ios * 256 * KIB)
    )
    at_burst_rate = -(-np.arange(count) * ios * S // 3000)
    burst_end = int(np.flatnonzero(starts != at_burst_rate)[0])
    assert round(starts[burst_end] / S) == burst_s
    for number in [*range(burst_end - 3, burst_end + 3000), count - 1]:
        assert starts[number] == math.ceil(S * first_s(5_400_000, baseline, 3000, number, ios))


def test_gp2_earns_its_credits_back_at_the_baseline_rate_and_no_more_than_the_cap() -> None:
    """100 GiB: 5.4 million credits spent take 18,000 s to earn (published)."""
    ios, count = 100, 60_000
    requests = columns(count, ios * 256 * KIB)
    for wait_s, credit in ((18_000, 5_400_000), (17_999, 5_399_700), (10**6, 5_400_000)):
        model = volume(GP2, 100 * GIB)
        # The 6 millionth I/O starts after 2000 s, with the last token there is.
        assert model.complete_all(np.zeros(count), *requests)[-1] == 2000 * S
        again_ns = (2000 + wait_s) * S
        starts = model.complete_all(np.full(count, again_ns), *requests)
        for number in (0, *range(59_000, count)):
            assert starts[number] == again_ns + math.ceil(
                S * first_s(credit, 300, 3000, number, ios)
            )


@pytest.mark.parametrize(
    ("size_gib", "baseline"), [(1, 100), (33, 100), (34, 102), (1000, 3000), (5334, 16_000)]
)
def test_gp2_baseline_by_size(size_gib: int, baseline: int) -> None:
    """Without credits, or above the burst rate, I/Os are 1 / baseline apart."""
    model = volume(GP2 + "start_credits = 0\n", size_gib * GIB)
    times = model.complete_all(np.zeros(1000), *columns(1000, 4 * KIB))
    first_token = 1 if baseline < 3000 else 0  # a balance of 0 has to earn the first one
    assert times.tolist() == [-(-S * (n + first_token) // baseline) for n in range(1000)]


def test_gp3_is_bound_by_iops_for_small_and_by_throughput_for_large_requests() -> None:
    small = volume(GP3).complete_all(np.zeros(3001), *columns(3001, 16 * KIB))
    assert small.tolist() == [-(-S * n // 3000) for n in range(3001)]
    large = volume(GP3).complete_all(np.zeros(1001), *columns(1001, 256 * KIB))
    assert large.tolist() == [n * 2_000_000 for n in range(1001)]  # 500 a second
    # 125 MiB/s over 3000 IOPS is 42 2/3 KiB: there the two meet.
    for kib, ns_each in ((42, Fraction(S, 3000)), (43, Fraction(43 * KIB * S, 125 * MIB))):
        times = volume(GP3).complete_all(np.zeros(3001), *columns(3001, kib * KIB))
        assert times[-1] == math.ceil(3000 * ns_each)


def test_st1_throughput_bursts_from_its_bucket() -> None:
    """1 TiB: 250 MiB/s for 1 TiB / (250 - 40) MiB/s = 4993.2 s, then 40 MiB/s."""
    count = 1_300_000
    times = volume(ST1, TIB).complete_all(np.zeros(count), *columns(count, MIB, 2 * MIB))
    tokens = TIB // MIB
    for number in (0, 1, 7, 1_248_304, 1_248_305, 1_248_306, count - 1):
        assert times[number] == math.ceil(S * first_s(tokens, 40, 250, number))
    assert times[1_248_304] // S == 4993


def test_st1_charges_a_whole_io_for_a_small_random_one_and_merges_contiguous_ones() -> None:
    random = volume(ST1, TIB).complete_all(np.zeros(26), *columns(26, 4 * KIB, 8 * MIB))
    assert random[-1] == 25 * S // 250
    # 256 contiguous requests of 4 KiB are one I/O of 1 MiB, paid for by the first of them.
    contiguous = volume(ST1, TIB).complete_all(np.zeros(1024), *columns(1024, 4 * KIB, 4 * KIB))
    assert contiguous.tolist() == [number // 256 * (S // 250) for number in range(1024)]


def test_larger_volumes_stop_at_the_published_caps() -> None:
    limit = parse(ST1).limits[0]
    assert limit.buckets(16 * TIB) == (TokenBucket(500 * MIB, Unit.BYTES),)
    assert limit.buckets(2 * TIB) == (
        TokenBucket(80 * MIB, Unit.BYTES, 2 * TIB, 2 * TIB),
        TokenBucket(500 * MIB, Unit.BYTES),
    )
    assert limit.buckets(125 * GIB)[0].rate_per_s == 125 * 40 * KIB


IOPS_10 = NO_LATENCY + 'io_size = "256KiB"\n{more}[iops]\nbaseline = 10\n'


def starts_ns(model: VolumeDevice, requests: list[Request]) -> list[int]:
    return [model.completion_ns(request, 0) for request in requests]


def test_a_request_longer_than_an_io_counts_as_several() -> None:
    model = volume(IOPS_10.format(more=""))
    lengths = [256 * KIB, 256 * KIB + 512, MIB, 512, 512]  # 1, 2, 4, 1 I/Os, then the last
    requests = [read(number * GIB, length) for number, length in enumerate(lengths)]
    assert starts_ns(model, requests) == [n * S // 10 for n in (0, 1, 3, 7, 8)]


def test_contiguous_requests_of_a_direction_merge_up_to_the_io_size() -> None:
    model = volume(IOPS_10.format(more="merge_sequential = true\n"))
    a_write = Request(Operation.WRITE, 77 * MIB, 4 * KIB)
    requests = [
        *(read(n * 32 * KIB, 32 * KIB) for n in range(8)),  # one I/O: a full 256 KiB
        read(256 * KIB, 32 * KIB),  # the next one's first part
        a_write,  # an I/O of its own, and no end of the reads' run
        read(288 * KIB, 32 * KIB),
        read(GIB, 32 * KIB),  # elsewhere
        read(0, 512),
    ]
    tenths = [0] * 8 + [1, 2, 3, 3, 4]
    # The part that needs no token waits for those before it: nothing overtakes.
    tenths[10] = 2
    assert starts_ns(model, requests) == [n * S // 10 for n in tenths]


def test_requests_wait_in_order_even_if_a_later_one_would_have_its_tokens() -> None:
    text = NO_LATENCY + '[iops]\nbaseline = 1000\n[throughput]\nbaseline = "1MiB/s"\n'
    model = volume(text)
    requests = [read(0, 2 * MIB), read(0, 512), read(0, 512)]
    assert starts_ns(model, requests) == [0, 2 * S, 2 * S + 1_000_000]


def test_flush_and_discard_need_no_tokens() -> None:
    model = volume(NO_LATENCY + 'discard.fixed = "3us"\nflush.fixed = "5us"\n[iops]\nbaseline = 1')
    assert starts_ns(model, [read(0, 512), read(0, 512)]) == [0, S]
    assert model.completion_ns(Request(Operation.DISCARD, 0, 2**40), 10) == 3_010
    assert model.completion_ns(Request(Operation.FLUSH, 0, 0), 10) == 5_010
    assert model.completion_ns(Request(Operation.WRITE, 0, 512), 10) == 2 * S
    assert model.completion_ns(Request(Operation.FLUSH, 0, 0), 10) == 2 * S + 5_000


def test_base_latency_comes_on_top_and_servers_bound_what_is_in_service() -> None:
    text = 'servers = 2\nread.fixed = "600us"\nwrite.fixed = "0"\n[iops]\nbaseline = 1_000_000\n'
    assert starts_ns(volume(text), [read(0, 512) for _ in range(4)]) == [
        600_000,
        601_000,
        1_200_000,
        1_201_000,
    ]


class HandBucket:
    """A token bucket as textbooks have it: a balance that is brought up to date."""

    def __init__(self, rate: int, capacity: int, balance: int) -> None:
        self.rate_per_ns = Fraction(rate, S)
        self.capacity = capacity
        self.balance = Fraction(balance)
        self.at_ns = 0

    def take(self, tokens: int, now_ns: int) -> int:
        """Take tokens as soon as they are there or the bucket is full; return when."""
        self._earn_until(now_ns)
        missing = min(tokens, self.capacity) - self.balance
        self._earn_until(self.at_ns + max(0, math.ceil(missing / self.rate_per_ns)))
        self.balance -= tokens
        return self.at_ns

    def _earn_until(self, now_ns: int) -> None:
        self.balance += (now_ns - self.at_ns) * self.rate_per_ns
        self.at_ns = now_ns
        if self.balance - self.capacity >= self.rate_per_ns:  # full since a nanosecond or more
            self.balance = Fraction(self.capacity)


buckets = st.builds(
    lambda rate, capacity, share: (rate, capacity, capacity * share // 100),
    st.integers(1, 10**6),
    st.integers(2, 50),
    st.integers(0, 100),
)


@settings(max_examples=200)
@given(buckets, st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 60))))
def test_one_bucket_equals_the_textbook_exactly(
    bucket: tuple[int, int, int], trace: list[tuple[int, int]]
) -> None:
    rate, capacity, start = bucket
    hand = HandBucket(rate, capacity, start)
    limits = QueueParams(shared=(TokenBucket(rate, Unit.BYTES, capacity, start),))
    model = LatencyDevice(Table(tomllib.loads(NO_LATENCY), "x").read(LatencyParams), 1, limits)
    now_ns = start_ns = 0
    for gap_ns, tokens in trace:
        now_ns += gap_ns
        start_ns = hand.take(tokens, max(now_ns, start_ns))
        assert model.completion_ns(read(0, tokens), now_ns) == start_ns


EVERYTHING = """
servers = 4
io_size = "16KiB"
merge_sequential = true
read = {fixed = {kind = "lognormal", mean = "500us", p99 = "900us"}, bandwidth = "2GB/s"}
write.fixed = {kind = "gamma", mean = "700us", shape = 3}
flush.fixed = "1ms"
discard.fixed = "1ms"
[iops]
baseline = 1_000
burst = 7_000
credits = 30
start_credits = 11
[throughput]
baseline = "10MB/s"
burst = "100MB/s"
credits = "1MB"
"""


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.sampled_from(list(Operation)),
            st.integers(0, 3),
            st.integers(1, 16),
        ),
        max_size=60,
    )
)
def test_both_ways_agree_and_keep_the_invariants(
    trace: list[tuple[int, Operation, int, int]],
) -> None:
    arrivals_ns = np.cumsum([gap_ns for gap_ns, *_ in trace], dtype=np.int64)
    requests = [
        Request(operation, place * 4096, 0 if operation is Operation.FLUSH else pages * 4096)
        for _, operation, place, pages in trace
    ]
    model = volume(EVERYTHING)
    one_by_one = [
        model.completion_ns(request, int(arrival_ns))
        for request, arrival_ns in zip(requests, arrivals_ns, strict=True)
    ]
    at_once = volume(EVERYTHING).complete_all(
        arrivals_ns,
        np.array([request.operation for request in requests], np.int64),
        np.array([request.offset_bytes for request in requests], np.int64),
        np.array([request.length_bytes for request in requests], np.int64),
    )
    assert at_once.tolist() == one_by_one
    assert np.all(at_once >= arrivals_ns)
    operations = [request.operation for request in requests]
    assert_flushes_follow_writes(zip(operations, one_by_one, strict=True))


def test_limits_per_gib_need_a_size() -> None:
    with pytest.raises(InputError, match=r"^a volume with limits per GiB needs a size; name one$"):
        volume(GP2)
    with pytest.raises(InputError, match="takes more than 31 years to earn at 1 per second"):
        volume(NO_LATENCY + '[throughput]\nbaseline = "1"\nburst = "2"\ncredits = "1TiB"\n')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[iops]\nburst = 1", "iops.baseline: is missing; give baseline or baseline_per_gib"),
        (
            "[iops]\nbaseline = 0",
            f"iops.baseline = 0: must be a whole number from 1 to {10**15}",
        ),
        ("[iops]\nbaseline = 10_000_000_000_000_000", None),
        (
            "[iops]\nbaseline = 5\nbaseline_per_gib = 3",
            "iops.baseline = 5: give either baseline or baseline_per_gib",
        ),
        (
            "[iops]\nbaseline = 5\nbaseline_least = 3",
            "iops.baseline_least = 3: needs baseline_per_gib, which it bounds",
        ),
        (
            "[iops]\nbaseline_per_gib = 5\nbaseline_least = 3\nbaseline_most = 2",
            "iops.baseline_least = 3: must be at most baseline_most",
        ),
        (
            "[iops]\nbaseline = 5\nburst = 7",
            "iops.burst = 7: burst and credits go together: give both or none",
        ),
        (
            "[iops]\nbaseline = 5\nstart_credits = 7",
            "iops.start_credits = 7: needs burst and credits",
        ),
        (
            "[throughput]\nbaseline = 5",
            'throughput.baseline = 5: must be a bandwidth such as "3.2GB/s"',
        ),
        (
            '[throughput]\nbaseline = "5MB/s"\ncredits = "1ms"',
            "throughput.credits = '1ms': must be a size such as \"16KiB\"",
        ),
        ("merge_sequential = true", "merge_sequential = True: needs io_size, the size of one I/O"),
        ('io_size = "1TiB"', "io_size = '1TiB': must be at most 8GiB"),
        (
            'io_siz = "1TiB"',
            "io_siz: unknown key; did you mean io_size? allowed: charge_whole_ios, discard, "
            "flush, flush_waits, io_size, iops, merge_sequential, read, servers, throughput, write",
        ),
    ],
)
def test_bad_input_is_one_line_that_says_where(text: str, message: str | None) -> None:
    if message is None:
        message = f"iops.baseline = {10**16}: must be a whole number from 1 to {10**15}"
    with pytest.raises(InputError) as caught:
        parse(NO_LATENCY + text)
    assert str(caught.value) == f"volume.toml: {message}"


def bench_complete_all() -> None:
    """Print how many requests a second go through a gp2 volume."""
    count = 2_000_000
    model = volume(GP2, 100 * GIB)
    model.complete_all(np.zeros(1), *columns(1, 4096))
    started_s = time.perf_counter()
    model.complete_all(np.zeros(count), *columns(count, 4 * KIB, 8 * KIB))
    print(f"volume: {count / (time.perf_counter() - started_s) / 1e6:.1f} M requests/s")


if __name__ == "__main__":
    bench_complete_all()
