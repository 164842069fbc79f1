# SPDX-License-Identifier: GPL-2.0-or-later
"""The latency model against queueing theory, hand arithmetic, and itself."""

from __future__ import annotations

import math
import time
import tomllib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freezingtime.device.latency.model import LatencyDevice, LatencyParams
from freezingtime.device.parameters import Table
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from tests.support.modellib import assert_flushes_follow_writes

LOADS = [*(pytest.param(load, marks=pytest.mark.slow) for load in (0.3, 0.6)), 0.9]
MEAN_NS = 100_000
S = 10**9


def parse(text: str) -> LatencyParams:
    return Table(tomllib.loads(text), "disk.toml").read(LatencyParams)


def device(text: str, seed: int = 1) -> LatencyDevice:
    return LatencyDevice(parse(text), seed)


def poisson_arrivals_ns(count: int, rate_per_ns: float, seed: int) -> NDArray[np.int64]:
    gaps = np.random.default_rng(seed).exponential(1 / rate_per_ns, count)
    return np.cumsum(gaps).astype(np.int64)


def reads(count: int, length_bytes: int = 4096) -> tuple[NDArray[np.int64], ...]:
    """Operations, offsets and lengths of so many reads."""
    return (
        np.full(count, Operation.READ, np.int64),
        np.zeros(count, np.int64),
        np.full(count, length_bytes, np.int64),
    )


def mean_wait_ns(text: str, servers: int, load: float, count: int) -> float:
    """The mean time between arrival and start of service, under Poisson arrivals."""
    arrivals_ns = poisson_arrivals_ns(count, load * servers / MEAN_NS, seed=7)
    completions_ns = device(text).complete_all(arrivals_ns, *reads(count))
    # A second device without a limit of servers draws the same service times.
    unlimited = device(text.replace(f"servers = {servers}\n", ""))
    services_ns = unlimited.complete_all(arrivals_ns, *reads(count)) - arrivals_ns
    return float((completions_ns - arrivals_ns - services_ns).mean())


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival waits (Kleinrock, volume 1, equation 3.40)."""
    offered = servers * load
    full = offered**servers / math.factorial(servers) / (1 - load)
    return full / (sum(offered**k / math.factorial(k) for k in range(servers)) + full)


SERVICE = {
    "M": f'{{kind = "exponential", mean = "{MEAN_NS}ns"}}',
    "D": f'"{MEAN_NS}ns"',
}


def queue_text(service: str, servers: int) -> str:
    return f'servers = {servers}\nread.fixed = {SERVICE[service]}\nwrite.fixed = "0"\n'


@pytest.mark.parametrize("load", LOADS)
def test_m_d_1_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    expected_ns = MEAN_NS * load / (2 * (1 - load))
    assert mean_wait_ns(queue_text("D", 1), 1, load, 4_000_000) == pytest.approx(
        expected_ns, rel=0.02
    )


@pytest.mark.parametrize("load", LOADS)
def test_m_m_1_waits_as_theory_says(load: float) -> None:
    expected_ns = MEAN_NS * load / (1 - load)
    assert mean_wait_ns(queue_text("M", 1), 1, load, 8_000_000) == pytest.approx(
        expected_ns, rel=0.02
    )


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("servers", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_m_m_k_waits_as_erlang_says(servers: int, load: float) -> None:
    expected_ns = erlang_c(servers, load) * MEAN_NS / (servers * (1 - load))
    assert mean_wait_ns(queue_text("M", servers), servers, load, 8_000_000) == pytest.approx(
        expected_ns, rel=0.02
    )


def test_a_bandwidth_limit_is_an_m_d_1_queue() -> None:
    count, load = 4_000_000, 0.6
    pipe = device('bandwidth_limit = "4096MB/s"\nread.fixed = "0"\nwrite.fixed = "0"')
    arrivals_ns = poisson_arrivals_ns(count, load / 100_000, seed=7)
    waits_ns = pipe.complete_all(arrivals_ns, *reads(count, 409_600)) - arrivals_ns
    assert waits_ns.mean() == pytest.approx(100_000 * load / (2 * (1 - load)), rel=0.02)


def test_littles_law_holds_over_a_busy_period() -> None:
    """The time-average of the requests inside, counted, is rate times mean latency."""
    model = device(queue_text("M", 4))
    arrivals_ns = poisson_arrivals_ns(5_000, 0.8 * 4 / MEAN_NS, seed=3).tolist()
    now_ns = area = inside = latency_sum_ns = 0
    arrived_ns: dict[int, int] = {}
    while arrivals_ns or inside:
        event_ns = model.next_event_ns()
        next_arrival_ns = arrivals_ns[0] if arrivals_ns else None
        arriving = event_ns is None or (next_arrival_ns is not None and next_arrival_ns < event_ns)
        then_ns = next_arrival_ns if arriving else event_ns
        assert then_ns is not None
        assert then_ns >= now_ns
        area += inside * (then_ns - now_ns)
        now_ns = then_ns
        if arriving:
            arrived_ns[len(arrived_ns)] = arrivals_ns.pop(0)
            cookie = len(arrived_ns) - 1
            model.submit(Request(Operation.READ, 0, 4096, cookie=cookie), now_ns)
            inside += 1
        else:
            completed = model.advance(now_ns)
            inside -= len(completed)
            latency_sum_ns += sum(now_ns - arrived_ns[request.cookie] for request in completed)
    count = len(arrived_ns)
    assert Fraction(area, now_ns) == Fraction(count, now_ns) * Fraction(latency_sum_ns, count)


def run_one_by_one(model: LatencyDevice, trace: list[tuple[int, Operation, int]]) -> dict[int, int]:
    """Submit and advance as the emulator does: completion time by request number."""
    completions_ns: dict[int, int] = {}

    def advance_through(until_ns: float) -> None:
        while (event_ns := model.next_event_ns()) is not None and event_ns <= until_ns:
            for request in model.advance(event_ns):
                assert request.cookie not in completions_ns
                completions_ns[request.cookie] = event_ns

    for cookie, (arrival_ns, operation, length_bytes) in enumerate(trace):
        advance_through(arrival_ns)
        model.submit(Request(operation, 0, length_bytes, cookie=cookie), arrival_ns)
    advance_through(math.inf)
    return completions_ns


EVERYTHING = """
servers = 3
iops_limit = 300_000
read_iops_limit = 170_003
write_bandwidth_limit = "1GB/s"
bandwidth_limit = "1.7GB/s"
read = {fixed = {kind = "lognormal", mean = "20us", p99 = "90us"}, bandwidth = "2GB/s"}
write = {fixed = {kind = "gamma", mean = "5us", shape = 2}, bandwidth = "1.3GB/s"}
flush.fixed = {kind = "exponential", mean = "50us"}
discard.fixed = "10us"
"""

traces = st.lists(
    st.tuples(st.integers(0, 30_000), st.sampled_from(list(Operation)), st.integers(1, 64)).map(
        lambda t: (t[0], t[1], 0 if t[1] is Operation.FLUSH else t[2] * 4096)
    ),
    max_size=60,
)


@given(traces, st.integers(0, 2**32), st.booleans())
def test_both_ways_agree_and_keep_the_invariants(
    gaps: list[tuple[int, Operation, int]], seed: int, flush_waits: bool
) -> None:
    text = f"flush_waits = {str(flush_waits).lower()}\n{EVERYTHING}"
    arrivals_ns = np.cumsum([gap_ns for gap_ns, _, _ in gaps], dtype=np.int64)
    trace = [(int(at), *rest) for at, (_, *rest) in zip(arrivals_ns, gaps, strict=True)]
    one_by_one = run_one_by_one(device(text, seed), trace)

    operations = np.array([operation for _, operation, _ in gaps], np.int64)
    lengths = np.array([length for _, _, length in gaps], np.int64)
    columns = (arrivals_ns, operations, np.zeros_like(lengths), lengths)
    at_once = device(text, seed).complete_all(*columns)
    assert at_once.tolist() == [one_by_one[number] for number in range(len(trace))]

    pieces = device(text, seed)
    half = len(trace) // 2
    first = pieces.complete_all(*(column[:half] for column in columns))
    second = pieces.complete_all(*(column[half:] for column in columns))
    assert [*first.tolist(), *second.tolist()] == at_once.tolist()

    assert np.all(at_once >= arrivals_ns)
    if flush_waits:
        operations = [operation for _, operation, _ in trace]
        assert_flushes_follow_writes(zip(operations, at_once.tolist(), strict=True))


def test_the_same_seed_gives_the_same_times_and_another_seed_others() -> None:
    arrivals_ns = poisson_arrivals_ns(1000, 1 / MEAN_NS, seed=1)
    first, again, other = (
        device(EVERYTHING, seed).complete_all(arrivals_ns, *reads(1000)).tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_times_of_reads_do_not_depend_on_the_writes_among_them() -> None:
    text = EVERYTHING.replace("servers = 3", "")
    alone, mixed = device(text), device(text)
    for now_ns in range(0, 10 * S, S):
        mixed.completion_ns(Request(Operation.WRITE, 0, 512), now_ns + S // 2)
        read = Request(Operation.READ, 0, 512)
        assert alone.completion_ns(read, now_ns + S) == mixed.completion_ns(read, now_ns + S)


def test_service_time_is_fixed_part_plus_transfer_rounded_up() -> None:
    model = device('read = {fixed = "75us", bandwidth = "3GB/s"}\nwrite.fixed = "10us"')
    assert model.completion_ns(Request(Operation.READ, 0, 4096), 5) == 5 + 75_000 + 1366
    assert model.completion_ns(Request(Operation.WRITE_ZEROES, 0, 2**32 - 1), 5) == 5 + 10_000
    assert model.completion_ns(Request(Operation.DISCARD, 0, 4096), 5) == 5


@pytest.mark.parametrize("prefix", ["", "read_"])
@pytest.mark.parametrize("iops", [1, 3, 7, 30_000, 999_999_937])
def test_an_iops_limit_spaces_the_starts_without_drift(prefix: str, iops: int) -> None:
    count = 2000
    model = device(f'{prefix}iops_limit = {iops}\nread.fixed = "10us"\nwrite.fixed = "0"')
    completions_ns = model.complete_all(np.full(count, 17), *reads(count))
    expected_ns = [17 + 10_000 + -(-number * S // iops) for number in range(count)]
    assert completions_ns.tolist() == expected_ns


def test_a_bandwidth_limit_lets_the_next_request_start_when_the_last_one_is_through() -> None:
    model = device('bandwidth_limit = "3B/s"\nread.fixed = "1us"\nwrite.fixed = "1us"')
    starts_ns = [
        model.completion_ns(Request(Operation.READ, 0, length), 0) - 1000 for length in (4, 1, 7, 1)
    ]
    assert starts_ns == [0, -(-4 * S // 3), -(-5 * S // 3), 4 * S]


def test_a_direction_limit_holds_back_its_own_direction_only() -> None:
    model = device('servers = 1\nread_iops_limit = 10\nread.fixed = "1us"\nwrite.fixed = "1us"')
    read, write = Request(Operation.READ, 0, 1), Request(Operation.WRITE, 0, 1)
    reads_ns = [model.completion_ns(read, 0) for _ in range(5)]
    assert reads_ns == [1000, *(S * number // 10 + 1000 for number in range(1, 5))]
    assert model.completion_ns(write, 10_000) == 11_000


def test_servers_take_requests_in_order_of_arrival() -> None:
    model = device('servers = 2\nread.bandwidth = "1GB/s"\nread.fixed = "0"\nwrite.fixed = "0"')
    lengths = [100, 10, 50, 5, 1]  # server A: 0-100; B: 0-10, 10-60, 60-65, 65-66
    completions = [model.completion_ns(Request(Operation.READ, 0, n), 0) for n in lengths]
    assert completions == [100, 10, 60, 65, 66]


def test_a_flush_waits_for_the_writes_before_it() -> None:
    text = 'read.fixed = "0"\nwrite.fixed = "100us"\nflush.fixed = "7us"\n'
    flush, write = Request(Operation.FLUSH, 0, 0), Request(Operation.WRITE, 0, 512)
    waiting, passing = device(text), device(text + "flush_waits = false")
    for model in (waiting, passing):
        model.submit(write, 1000)
    assert waiting.completion_ns(flush, 2000) == 108_000
    assert passing.completion_ns(flush, 2000) == 9_000


READ_AND_WRITE = 'read.fixed = "1us"\nwrite.fixed = "1us"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'disk.toml: read.fixed: is missing; it must be a time such as "75us"'),
        ('read = "1us"', "disk.toml: read = '1us': must be a table: [read]"),
        ("[read]", 'disk.toml: read.fixed: is missing; it must be a time such as "75us"'),
        (
            'read = {fixed = "1us", bandwidth = "3GHz"}',
            "disk.toml: read.bandwidth = '3GHz': must be a bandwidth such as \"3.2GB/s\"",
        ),
        (
            READ_AND_WRITE + "servers = 0",
            "disk.toml: servers = 0: must be a whole number from 1 to 1048576",
        ),
        (
            READ_AND_WRITE + "iops_limit = -5",
            f"disk.toml: iops_limit = -5: must be a whole number from 1 to {10**15}",
        ),
        (
            READ_AND_WRITE + 'write_bandwidth_limit = "0"',
            "disk.toml: write_bandwidth_limit = '0': must be at least 1B/s",
        ),
        (
            READ_AND_WRITE + 'flush = {fixed = "1us", bandwidth = "1GB/s"}',
            "disk.toml: flush.bandwidth: unknown key; allowed: fixed",
        ),
        (
            READ_AND_WRITE + "server = 4",
            "disk.toml: server: unknown key; did you mean servers? allowed: "
            "bandwidth_limit, discard, flush, flush_waits, iops_limit, read, read_bandwidth_limit, "
            "read_iops_limit, servers, write, write_bandwidth_limit, write_iops_limit",
        ),
    ],
)
def test_bad_input_is_one_line_that_says_where(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1, 0], [0, 0], [0, 0], [1, 1]), "arrival times must not decrease"),
        (([0, 0], [0], [0, 0], [1, 1]), "same length"),
        (([0], [2], [0], [1]), r"operations must be one of \[0, 1, 3, 4, 6\]"),
        (([0], [7], [0], [1]), "operations must be from 0 to 6"),
        (([0], [0], [0], [-1]), "lengths must be from 0 to 8589934592 bytes"),
    ],
)
def test_a_bad_trace_is_refused(columns: tuple[list[int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        device(READ_AND_WRITE).complete_all(*columns)


def bench_complete_all() -> None:
    """Print how many requests a second go through the model with every limit set."""
    count = 2_000_000
    model = device(EVERYTHING)
    columns = reads(count)
    started_s = time.perf_counter()
    model.complete_all(np.zeros(1), *reads(1))
    compiled_s = time.perf_counter()
    model.complete_all(poisson_arrivals_ns(count, 1 / MEAN_NS, seed=1), *columns)
    rate = count / (time.perf_counter() - compiled_s)
    print(f"latency: {rate / 1e6:.1f} M requests/s; compile {compiled_s - started_s:.1f} s")


if __name__ == "__main__":
    bench_complete_all()
