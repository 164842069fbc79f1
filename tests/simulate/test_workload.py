# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads in one line: what they mean, what is refused, and the requests they make."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.simulate.generator import RequestGenerator
from freezingtime.simulate.workload import BlockSize, parse_workload
from freezingtime.simulate.zipf import ZipfSlots
from freezingtime.trace.readers.columns import Trace, concatenate

R, W, F, D = Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD
DISK_BYTES = 1 << 30


def closed(text: str, *, seed: int = 0, disk_bytes: int = DISK_BYTES) -> Trace:
    """All requests of a workload with a queue depth and a count."""
    generator = RequestGenerator(parse_workload(text), seed=seed, disk_bytes=disk_bytes)
    return concatenate(list(generator.batches()))


def opened(text: str, *, seed: int = 0) -> Trace:
    """All requests of a workload with a rate."""
    return RequestGenerator(parse_workload(text), seed=seed, disk_bytes=DISK_BYTES).trace()


def same(a: Trace, b: Trace) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("arrival_ns", "operation", "offset_bytes", "length_bytes", "fua")
    )


def test_line_is_parsed() -> None:
    workload = parse_workload(
        "randrw,bs=4k/70:64k/30,qd=32,count=1M,time=2.5s,rwmixread=70,size=1g,offset=4k,"
        "seed=7,fsync=16,zipf=1.2"
    )
    assert workload.pattern.operations == (R, W)
    assert workload.pattern.random
    assert workload.block_sizes == (BlockSize(4096, 70), BlockSize(65536, 30))
    assert (workload.queue_depth, workload.rate_hz) == (32, None)
    assert (workload.count, workload.time_ns) == (1_000_000, 2_500_000_000)
    assert (workload.read_percent, workload.fsync_every) == (70, 16)
    assert (workload.size_bytes, workload.offset_bytes) == (1 << 30, 4096)
    assert (workload.seed, workload.zipf_theta) == (7, 1.2)


def test_defaults() -> None:
    workload = parse_workload("read")
    assert workload.block_sizes == (BlockSize(4096, 100),)
    assert (workload.queue_depth, workload.count, workload.time_ns) == (1, 100_000, None)
    assert workload.read_percent == 50
    assert workload.seed is None
    paced = parse_workload("randwrite,rate=2.5k,time=1s")
    assert (paced.queue_depth, paced.rate_hz, paced.count) == (None, 2500, None)
    assert paced.poisson
    assert not parse_workload("read,rate=10,arrival=even").poisson


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty: unknown pattern; available: read, write, rw, randread, randwrite, randrw"),
        ("seqread", "seqread: unknown pattern; did you mean read? available: read, write, rw, "),
        ("read,qq=1", "qq=1: unknown key; available: bs, qd, queue, think, rate, "),
        ("read,", "empty field: unknown key; available: bs, "),
        ("read,bs", "bs: has no value; write bs=VALUE"),
        ("read,qd=1,qd=2", "qd=2: qd= is given twice; keep one"),
        ("read,bs=4x", "bs=4x: bad size '4x': write a number of bytes with an optional unit"),
        ("read,bs=0", "bs=0: must be from 512 bytes to 1073741824 bytes"),
        ("read,bs=1000", "bs=1000: must be a multiple of 512 bytes"),
        ("read,bs=4k/60:8k/30", "bs=4k/60:8k/30: percentages must add up to 100, such as"),
        ("read,bs=4k/0:8k/100", "bs=4k/0:8k/100: must be a whole number from 1 to 100"),
        ("read,qd=0", "qd=0: must be a whole number from 1 to 65536"),
        ("read,qd=-1", "qd=-1: must be a whole number from 1 to 65536"),
        ("read,rate=0", "rate=0: bad rate '0': must be more than 0"),
        ("read,rate=2G", "rate=2G: must be at most 1000000000 per second"),
        ("read,qd=1,rate=5", "qd=1: cannot be combined with rate=; keep one"),
        ("read,rate=5,queue=2", "queue=2: is for closed loops; write qd= instead of rate="),
        ("read,rate=5,think=1us", "think=1us: is for closed loops; write qd= instead of rate="),
        ("read,qd=4,queue=0", "queue=0: must be a whole number from 1 to 65536"),
        ("read,arrival=even", "arrival=even: needs rate=IOPS"),
        ("read,rate=5,arrival=odd", "arrival=odd: write poisson or even"),
        ("read,count=0", "count=0: must be from 1 to 10000000000, such as 500000, 500k or 1M"),
        ("read,count=1.5M", "count=1.5M: must be from 1 to 10000000000, such as"),
        ("read,time=5", "time=5: bad time '5': write a number and a unit"),
        ("read,time=0", "time=0: must be more than 0"),
        ("read,rwmixread=50", "rwmixread=50: is for rw and randrw"),
        ("rw,rwmixread=101", "rwmixread=101: must be a whole number from 0 to 100"),
        ("read,zipf=1", "zipf=1: is for the random patterns"),
        ("randread,zipf=0", "zipf=0: must be a number more than 0 and at most 10, such as 1.1"),
        ("randread,zipf=nan", "zipf=nan: must be a number more than 0 and at most 10"),
        ("randread,fsync=1", "fsync=1: is for patterns that write"),
        ("read,size=512", "size=512: must be at least bs, 4096 bytes"),
    ],
)
def test_bad_line_names_key_and_value(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_workload(text)
    message = str(caught.value)
    assert message.startswith(f"--workload: {expected}")
    assert "\n" not in message


def test_workload_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit on a disk of 8192 bytes; change size="):
        closed("read,size=16k", disk_bytes=8192)
    with pytest.raises(InputError, match="does not fit"):
        closed("read,offset=8k", disk_bytes=8192)


def test_too_many_arrivals_are_refused() -> None:
    with pytest.raises(InputError, match="makes more than 1000000000 requests; lower time="):
        opened("read,rate=1M,time=2000s")


def test_sequential_runs_start_again_at_the_end_of_the_span() -> None:
    trace = closed("read,bs=4k,count=5,size=12k,offset=1M")
    assert (trace.offset_bytes - (1 << 20)).tolist() == [0, 4096, 8192, 0, 4096]
    assert set(trace.operation.tolist()) == {R}


def test_mixed_run_is_sequential_for_each_operation() -> None:
    trace = closed("rw,count=1000,rwmixread=70")
    for operation in (R, W):
        places = trace.offset_bytes[trace.operation == operation]
        assert places.tolist() == list(range(0, 4096 * len(places), 4096))
    # 70 % of 1000, three standard deviations of the binomial distribution
    assert abs(np.count_nonzero(trace.operation == R) - 700) < 3 * 14.5


def test_random_places_are_aligned_uniform_and_within_the_span() -> None:
    trace = closed("randwrite,bs=8k,count=100k,size=8M,offset=1M")
    slots, rest = np.divmod(trace.offset_bytes - (1 << 20), 8192)
    assert not rest.any()
    counts = np.bincount(slots, minlength=1024)
    assert len(counts) == 1024
    # Chi-square with 1023 degrees of freedom: mean 1023, standard deviation 45.
    chi_square = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert abs(chi_square - 1023) < 4 * 45


def test_trim_discards() -> None:
    assert set(closed("randtrim,count=10").operation.tolist()) == {D}


def test_block_sizes_have_their_shares() -> None:
    trace = closed("randread,bs=4k/70:64k/30,count=100k")
    share = np.count_nonzero(trace.length_bytes == 4096) / len(trace)
    assert set(trace.length_bytes.tolist()) == {4096, 65536}
    assert abs(share - 0.7) < 0.005
    assert not (trace.offset_bytes % 4096).any()


def test_flush_follows_every_nth_write() -> None:
    trace = closed("rw,count=150k,fsync=3")
    written = 0
    for index, operation in enumerate(trace.operation.tolist()):
        written += operation == W
        if operation == F:
            assert trace.operation[index - 1] == W
            assert written == 3
            assert trace.length_bytes[index] == trace.offset_bytes[index] == 0
            written = 0
    assert written < 3
    assert len(trace) - np.count_nonzero(trace.operation == F) == 150_000


def test_poisson_arrivals_have_exponential_gaps() -> None:
    trace = opened("randread,rate=10k,count=200k")
    gaps_ns = np.diff(trace.arrival_ns)
    assert abs(gaps_ns.mean() / 100_000 - 1) < 0.01
    assert abs(gaps_ns.std() / 100_000 - 1) < 0.02
    assert abs(np.mean(gaps_ns > 100_000) - np.exp(-1)) < 0.005


def test_even_arrivals_are_exact() -> None:
    trace = opened("read,rate=3,count=7,arrival=even")
    assert trace.arrival_ns.tolist() == [n * 10**9 // 3 for n in range(7)]


def test_time_ends_the_arrivals() -> None:
    trace = opened("read,rate=1k,time=100ms,arrival=even")
    assert len(trace) == 100
    assert trace.arrival_ns[-1] == 99_000_000
    poisson = opened("read,rate=1M,time=100ms")
    assert poisson.arrival_ns.max() < 100_000_000
    assert abs(len(poisson) - 100_000) < 4 * 316
    assert len(opened("read,rate=1k,time=100ms,count=5,arrival=even")) == 5


def test_workload_without_a_count_goes_on() -> None:
    generator = RequestGenerator(
        parse_workload("read,time=1s,bs=512"), seed=0, disk_bytes=DISK_BYTES
    )
    trace = concatenate(list(islice(generator.batches(), 3)))
    assert len(trace) == 3 << 16
    assert trace.offset_bytes[-1] == 512 * (len(trace) - 1)


@settings(max_examples=30)
@given(
    st.sampled_from(["read", "rw", "randread", "randrw", "randtrim", "randrw,fsync=2"]),
    st.sampled_from(["bs=512", "bs=4k", "bs=4k/50:12k/50"]),
    st.integers(0, 2**32),
    st.integers(1, 500),
)
def test_same_seed_same_requests_all_on_the_disk(
    pattern: str, sizes: str, seed: int, count: int
) -> None:
    text = f"{pattern},{sizes},count={count}"
    trace = closed(text, seed=seed, disk_bytes=1 << 20)
    assert same(trace, closed(text, seed=seed, disk_bytes=1 << 20))
    assert same(trace, closed(f"{text},seed={seed}", seed=seed + 1, disk_bytes=1 << 20))
    assert trace.offset_bytes.min() >= 0
    assert trace.end_bytes <= 1 << 20


def test_other_seed_other_requests() -> None:
    text = "randread,count=100"
    assert not same(closed(text, seed=1), closed(text, seed=2))


@pytest.mark.parametrize("theta", [0.5, 0.99, 1.0, 1.5, 3.0])
def test_zipf_frequencies_are_those_of_the_law(theta: float) -> None:
    count, drawn = 1000, 400_000
    slots = ZipfSlots(count, theta).draw(np.random.Generator(np.random.PCG64(3)), drawn)
    found = np.sort(np.bincount(slots, minlength=count))[::-1][:5] / drawn
    weights = np.arange(1, count + 1) ** -theta
    expected = (weights / weights.sum())[:5]
    # Five standard deviations of a binomial share.
    assert np.all(abs(found - expected) < 5 * np.sqrt(expected / drawn))


@given(st.integers(1, 2**45), st.floats(0.1, 5))
def test_zipf_stays_within_its_places(count: int, theta: float) -> None:
    slots = ZipfSlots(count, theta).draw(np.random.Generator(np.random.PCG64(1)), 100)
    assert len(slots) == 100
    assert slots.min() >= 0
    assert slots.max() < count


def test_zipf_scatters_ranks_without_collision() -> None:
    slots = ZipfSlots(50, 0.1).draw(np.random.Generator(np.random.PCG64(1)), 10_000)
    assert set(slots.tolist()) == set(range(50))
