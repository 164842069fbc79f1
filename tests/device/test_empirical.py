# SPDX-License-Identifier: GPL-2.0-or-later
"""The empirical model: interpolation by hand, marginals by Kolmogorov-Smirnov, and itself."""

from __future__ import annotations

import math
import time
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freezingtime.device.empirical.model import EmpiricalDevice, EmpiricalParams
from freezingtime.device.parameters import Table
from freezingtime.device.trace_device import OperationClass
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from tests.support.modellib import assert_flushes_follow_writes

READ = OperationClass.READ

WRITE_TABLE = """
[[table]]
operation = "write"
size = "4KiB"
quantiles = [[0.0, "10us"], [1.0, "20us"]]
"""
ONE_READ_TABLE = (
    WRITE_TABLE
    + """
[[table]]
operation = "read"
size = "4KiB"
depth = 1
quantiles = [[0.0, "60us"], [0.5, "65us"], [0.99, "232us"], [1.0, "1ms"]]
"""
)


def read_table(size: str, depth: int, median: str) -> str:
    return (
        f'[[table]]\noperation = "read"\nsize = "{size}"\ndepth = {depth}\n'
        f'quantiles = [[0.0, "10us"], [0.5, "{median}"], [1.0, "2ms"]]\n'
    )


# The medians: by size 100 and 220 us at depth 1, 400 and 820 us at depth 9. The order of
# the tables must not matter.
GRID = (
    WRITE_TABLE
    + read_table("16KiB", 9, "820us")
    + read_table("4KiB", 1, "100us")
    + read_table("4KiB", 9, "400us")
    + read_table("16KiB", 1, "220us")
)
ALL_OPERATIONS = (
    GRID
    + """
[[table]]
operation = "flush"
quantiles = [[0.0, "1us"], [1.0, "2us"]]
[[table]]
operation = "discard"
size = "4KiB"
quantiles = [[0.0, "1us"], [1.0, "90us"]]
"""
)


def parse(text: str) -> EmpiricalParams:
    return Table(tomllib.loads(text), "disk.toml").read(EmpiricalParams)


def device(text: str, seed: int = 1) -> EmpiricalDevice:
    return EmpiricalDevice(parse(text), seed)


def lone_reads_ns(text: str, count: int, seed: int = 1) -> NDArray[np.int64]:
    """The times of reads that never meet."""
    arrivals_ns = np.arange(count, dtype=np.int64) * 10**9
    ones = np.ones(count, np.int64)
    completions_ns = device(text, seed).complete_all(
        arrivals_ns, Operation.READ * ones, 0 * ones, 4096 * ones
    )
    return completions_ns - arrivals_ns


@pytest.mark.parametrize(
    ("probability", "time_ns"),
    [
        (0.0, 60_000),
        (0.25, 62_500),
        (0.5, 65_000),
        (0.745, 65_000 + 0.5 * 167_000),
        (0.99, 232_000),
        (0.995, 616_000),
        (1.0, 1_000_000),
    ],
)
def test_between_two_quantiles_times_are_linear_in_the_probability(
    probability: float, time_ns: float
) -> None:
    model = device(ONE_READ_TABLE)
    assert model.quantile_ns(READ, 4096, 1, probability) == pytest.approx(time_ns, rel=1e-12)


@pytest.mark.parametrize(
    ("size_kib", "depth", "median_us"),
    [
        (4, 1, 100),
        (16, 1, 220),
        (4, 9, 400),
        (16, 9, 820),
        (10, 1, 160),  # halfway between the sizes
        (4, 3, 175),  # a quarter of the way between the depths
        (10, 5, (100 + 220 + 400 + 820) / 4),
        (7, 3, 0.75 * (0.75 * 100 + 0.25 * 220) + 0.25 * (0.75 * 400 + 0.25 * 820)),
        (1, 1, 100),  # outside: the nearest
        (64, 1, 220),
        (64, 100, 820),
    ],
)
def test_between_sizes_and_depths_quantiles_are_bilinear(
    size_kib: int, depth: int, median_us: float
) -> None:
    model = device(GRID)
    median_ns = model.quantile_ns(READ, size_kib * 1024, depth, 0.5)
    assert median_ns == pytest.approx(median_us * 1000, rel=1e-12)


def certain_table(size: str, depth: int, us: int) -> str:
    return (
        f'[[table]]\noperation = "read"\nsize = "{size}"\ndepth = {depth}\n'
        f'quantiles = [[0.0, "{us}us"], [1.0, "{us}us"]]\n'
    )


# Without spread, and linear over the whole grid: 10 us for each KiB and depth.
CERTAIN = WRITE_TABLE + "".join(
    certain_table(f"{kib}KiB", depth, 10 * kib * depth) for kib in (1, 8) for depth in (1, 100)
)


def test_the_depth_counts_what_is_in_flight_on_arrival() -> None:
    model = device(CERTAIN)
    read = Request(Operation.READ, 0, 1024)
    arrivals_us = [0, 0, 0, 0, 0, 10, 20, 1000]
    depths = [1, 2, 3, 4, 5, 5, 5, 1]  # at 10 us the first has just completed, and so on
    for arrival_us, depth in zip(arrivals_us, depths, strict=True):
        assert model.completion_ns(read, arrival_us * 1000) == (arrival_us + 10 * depth) * 1000


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), max_size=99))
def test_the_depth_is_right_in_whatever_order_requests_complete(
    trace: list[tuple[int, int]],
) -> None:
    model = device(CERTAIN)
    now_us = 0
    completions_us: list[int] = []
    for gap, kib in trace:
        now_us += 10 * gap
        depth = 1 + sum(completion_us > now_us for completion_us in completions_us)
        completions_us.append(now_us + 10 * kib * depth)
        read = Request(Operation.READ, 0, kib * 1024)
        assert model.completion_ns(read, now_us * 1000) == completions_us[-1] * 1000


def kolmogorov_smirnov(times_ns: NDArray[np.int64]) -> float:
    """The distance between the times and the table of ``ONE_READ_TABLE``."""
    ordered = np.sort(times_ns)
    expected = np.interp(ordered, [60_000, 65_000, 232_000, 1_000_000], [0.0, 0.5, 0.99, 1.0])
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_the_marginal_is_the_table_whatever_the_correlation(correlation: float) -> None:
    """Every 200th time, so that what is left of the correlation (0.9^200) is nothing."""
    count = 20_000
    times_ns = lone_reads_ns(f"correlation = {correlation}\n{ONE_READ_TABLE}", count * 200)
    assert kolmogorov_smirnov(times_ns[::200]) < 1.63 / math.sqrt(count)  # one in a hundred


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_successive_times_are_correlated_as_asked(correlation: float) -> None:
    """Spearman's rank correlation of a Gaussian copula is 6 / pi asin(rho / 2)."""
    times_ns = lone_reads_ns(f"correlation = {correlation}\n{ONE_READ_TABLE}", 400_000)
    ranks = np.argsort(np.argsort(times_ns))
    for lag in (1, 2, 5):
        expected = 6 / math.pi * math.asin(correlation**lag / 2)
        measured = np.corrcoef(ranks[:-lag], ranks[lag:])[0, 1]
        assert measured == pytest.approx(expected, abs=0.01)


def test_the_same_seed_gives_the_same_times_and_another_seed_others() -> None:
    first, again, other = (lone_reads_ns(ONE_READ_TABLE, 1000, seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


@given(
    st.lists(
        st.tuples(st.integers(0, 200_000), st.sampled_from(list(Operation)), st.integers(1, 6)),
        max_size=150,
    ),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.5]),
)
def test_both_ways_agree_and_keep_the_invariants(
    trace: list[tuple[int, Operation, int]], seed: int, correlation: float
) -> None:
    text = f"correlation = {correlation}\n{ALL_OPERATIONS}"
    arrivals_ns = np.cumsum([gap_ns for gap_ns, *_ in trace], dtype=np.int64)
    requests = [
        Request(operation, 0, 0 if operation is Operation.FLUSH else pages * 4096)
        for _, operation, pages in trace
    ]
    model = device(text, seed)
    one_by_one = [
        model.completion_ns(request, int(arrival_ns))
        for request, arrival_ns in zip(requests, arrivals_ns, strict=True)
    ]
    columns = (
        arrivals_ns,
        np.array([request.operation for request in requests], np.int64),
        np.zeros(len(requests), np.int64),
        np.array([request.length_bytes for request in requests], np.int64),
    )
    pieces = device(text, seed)
    half = len(trace) // 2
    at_once = [
        *pieces.complete_all(*(column[:half] for column in columns)).tolist(),
        *pieces.complete_all(*(column[half:] for column in columns)).tolist(),
    ]
    assert at_once == one_by_one
    assert all(done >= came for done, came in zip(at_once, arrivals_ns.tolist(), strict=True))
    operations = [request.operation for request in requests]
    assert_flushes_follow_writes(zip(operations, one_by_one, strict=True))


def test_operations_without_tables_take_no_time() -> None:
    model = device(ONE_READ_TABLE)
    assert model.completion_ns(Request(Operation.DISCARD, 0, 4096), 7) == 7
    assert model.completion_ns(Request(Operation.FLUSH, 0, 0), 7) == 7


QUANTILES_HELP = (
    'disk.toml: table[2].quantiles: must be a list such as [[0.0, "60us"], [0.99, "232us"], '
    '[1.0, "1ms"]]: increasing probabilities from 0 to 1, non-decreasing times'
)


@pytest.mark.parametrize(
    "quantiles",
    [
        "[]",
        '[[0.0, "60us"]]',
        '[[0.1, "60us"], [1.0, "70us"]]',
        '[[0.0, "60us"], [0.9, "70us"]]',
        '[[0.0, "60us"], [0.5, "70us"], [0.5, "80us"], [1.0, "90us"]]',
        '[[0.0, "60us"], [nan, "70us"], [1.0, "90us"]]',
        '[[0.0, "60us"], [1.0, "50us"]]',
        '[[0.0, "60us", 1], [1.0, "70us"]]',
        "[[0.0, 60], [1.0, 70]]",
        '[[0.0, "60"], [1.0, "70"]]',
        "[1, 2]",
    ],
)
def test_bad_quantiles_are_refused(quantiles: str) -> None:
    text = f'{WRITE_TABLE}\n[[table]]\noperation = "read"\nsize = "4KiB"\nquantiles = {quantiles}'
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value) == QUANTILES_HELP


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WRITE_TABLE, 'table: there must be one with operation = "read"'),
        (
            WRITE_TABLE + read_table("4KiB", 1, "1ms") + read_table("8KiB", 2, "1ms"),
            "table: the read tables lack size 4KiB at depth 2",
        ),
        (
            WRITE_TABLE + read_table("4KiB", 1, "1ms") * 2,
            "table: the read tables have twice size 4KiB at depth 1",
        ),
        (
            WRITE_TABLE + read_table("4KiB", 0, "1ms"),
            "table[2].depth = 0: must be a whole number from 1 to 1048576",
        ),
        (
            "correlation = 1\n" + ONE_READ_TABLE,
            "correlation = 1: must be a number from 0 to 0.999",
        ),
        (
            '[[table]]\noperation = "trim"\n',
            "table[1].operation = 'trim': must be one of: discard, flush, read, write",
        ),
        ('[[table]]\noperation = "flush"\nsize = "4KiB"\n', None),
        (
            "corelation = 0.3\n" + ONE_READ_TABLE,
            "corelation: unknown key; did you mean correlation? allowed: correlation, table",
        ),
    ],
)
def test_bad_input_is_one_line_that_says_where(text: str, message: str | None) -> None:
    if message is None:
        text += 'quantiles = [[0.0, "1us"], [1.0, "2us"]]\n'
        message = "table[1].size = '4KiB': a flush has none; remove it"
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value) == f"disk.toml: {message}"


def bench_complete_all() -> None:
    """Print how many requests a second go through a grid, at depths of about 10."""
    count = 2_000_000
    model = device(GRID)
    ones = np.ones(count, np.int64)
    started_s = time.perf_counter()
    model.complete_all(ones[:1], 0 * ones[:1], ones[:1], ones[:1])
    compiled_s = time.perf_counter()
    model.complete_all(np.cumsum(50_000 * ones), 0 * ones, ones, 8192 * ones)
    rate = count / (time.perf_counter() - compiled_s)
    print(f"empirical: {rate / 1e6:.1f} M requests/s; compile {compiled_s - started_s:.1f} s")


if __name__ == "__main__":
    bench_complete_all()
