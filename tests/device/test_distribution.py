# SPDX-License-Identifier: GPL-2.0-or-later
"""Distributions: parsed from TOML, with the mean and shape that their formulas say."""

from __future__ import annotations

import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freezingtime.device.latency.distribution import (
    MAX_DRAW_NS,
    Distribution,
    Lognormal,
    TruncatedNormal,
    time_stream,
)
from freezingtime.device.latency.service_time import FlushTime
from freezingtime.device.parameters import Table
from freezingtime.errors import InputError

DRAWS = 400_000


def parse(text: str) -> Distribution:
    return Table(tomllib.loads(f"fixed = {text}"), "disk.toml").read(FlushTime).distribution


def draws_ns(distribution: Distribution, count: int = DRAWS, seed: int = 1) -> NDArray[np.int64]:
    return time_stream(distribution, np.random.SeedSequence(seed)).take(count)


@pytest.mark.parametrize(
    ("text", "mean_ns", "sd_ns"),
    [
        ('"75us"', 75_000, 0),
        ('{kind = "constant", time = "75us"}', 75_000, 0),
        ('{kind = "uniform", from = "10us", to = "30us"}', 20_000, 20_000 / math.sqrt(12)),
        ('{kind = "exponential", mean = "80us"}', 80_000, 80_000),
        ('{kind = "gamma", mean = "80us", shape = 4}', 80_000, 40_000),
        ('{kind = "gamma", mean = "80us", shape = 0.5}', 80_000, 80_000 * math.sqrt(2)),
        ('{kind = "normal", mean = "80us", sd = "5us"}', 80_000, 5_000),
        # Half of a normal distribution: mean and variance are location + sd sqrt(2/pi) and
        # sd^2 (1 - 2/pi).
        (
            '{kind = "normal", mean = "80us", sd = "5us", least = "80us"}',
            80_000 + 5_000 * math.sqrt(2 / math.pi),
            5_000 * math.sqrt(1 - 2 / math.pi),
        ),
        (
            '{kind = "lognormal", mean = "80us", sigma = 0.5}',
            80_000,
            80_000 * math.sqrt(math.exp(0.25) - 1),
        ),
        (
            '{kind = "lognormal", median = "80us", sigma = 0.5}',
            80_000 * math.exp(0.125),
            80_000 * math.exp(0.125) * math.sqrt(math.exp(0.25) - 1),
        ),
        # The law of total variance: 0.75 * 25^2 + 0.25 * 75^2 = 1875 = 43.30^2.
        (
            '{kind = "mixture", parts = [{weight = 3, kind = "constant", time = "100us"},'
            ' {weight = 1, kind = "constant", time = "200us"}]}',
            125_000,
            1000 * math.sqrt(1875),
        ),
    ],
)
def test_mean_and_standard_deviation(text: str, mean_ns: float, sd_ns: float) -> None:
    distribution = parse(text)
    assert distribution.mean_ns == pytest.approx(mean_ns, rel=1e-9)
    draws = draws_ns(distribution)
    # Five standard errors; the skewed ones' standard deviations converge slowly.
    assert abs(draws.mean() - mean_ns) <= 5 * sd_ns / math.sqrt(DRAWS) + 0.5
    assert draws.std() == pytest.approx(sd_ns, rel=0.02, abs=1)


@pytest.mark.parametrize(
    "text",
    [
        '{kind = "lognormal", mean = "80us", p99 = "200us"}',
        '{kind = "lognormal", mean = "80us", p99 = "1190us"}',
        '{kind = "lognormal", mean = "80us", p99 = "80us"}',
    ],
)
def test_lognormal_keeps_the_mean_and_p99_that_were_asked_for(text: str) -> None:
    distribution = parse(text)
    p99_ns = float(text.split('"')[-2].removesuffix("us")) * 1000
    assert distribution.mean_ns == pytest.approx(80_000, rel=1e-9)
    assert np.quantile(draws_ns(distribution), 0.99) == pytest.approx(p99_ns, rel=0.03)


def test_lognormal_of_median_and_p99() -> None:
    draws = draws_ns(parse('{kind = "lognormal", median = "80us", p99 = "200us"}'))
    assert np.quantile(draws, [0.5, 0.99]) == pytest.approx([80_000, 200_000], rel=0.01)


def test_exponential_follows_its_distribution_function() -> None:
    draws = np.sort(draws_ns(parse('{kind = "exponential", mean = "80us"}')))
    expected = 1 - np.exp(-draws / 80_000)
    distance = np.abs(expected - np.arange(1, DRAWS + 1) / DRAWS).max()
    assert distance < 1.95 / math.sqrt(DRAWS)  # Kolmogorov-Smirnov, one in a thousand


def test_bounds_are_kept() -> None:
    assert draws_ns(TruncatedNormal(100, 80, 60)).min() == 60
    uniform = draws_ns(parse('{kind = "uniform", from = "3ns", to = "5ns"}'))
    assert sorted(set(uniform.tolist())) == [3, 4, 5]
    assert draws_ns(Lognormal(MAX_DRAW_NS, 5.0)).max() == MAX_DRAW_NS


@given(st.lists(st.integers(0, 6000), max_size=6), st.integers(0, 2**32))
def test_draws_do_not_depend_on_how_many_are_taken_at_once(counts: list[int], seed: int) -> None:
    distribution = parse('{kind = "exponential", mean = "80us"}')
    stream = time_stream(distribution, np.random.SeedSequence(seed))
    pieces: list[int] = []
    for count in counts:
        pieces += stream.take(count).tolist()
        pieces.append(int(stream.next()))
    assert pieces == draws_ns(distribution, len(pieces), seed).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("75", 'disk.toml: fixed = 75: must be a time such as "75us"'),
        ('"75"', "disk.toml: fixed = '75': must be a time such as \"75us\""),
        ('"12d"', "disk.toml: fixed = '12d': must be a time such as \"75us\""),
        ('"1000001s"', "disk.toml: fixed = '1000001s': must be at most 1000000s"),
        (
            "{}",
            "disk.toml: fixed.kind: is missing; it must be one of: constant, uniform, normal, "
            "lognormal, gamma, exponential, mixture",
        ),
        (
            '{kind = "normale"}',
            "disk.toml: fixed.kind = 'normale': must be one of: constant, uniform, normal, "
            "lognormal, gamma, exponential, mixture",
        ),
        (
            '{kind = "uniform", from = "2us", to = "1us"}',
            "disk.toml: fixed.to = '1us': must be at least 2us",
        ),
        (
            '{kind = "normal", mean = "2us", sd = "0"}',
            "disk.toml: fixed.sd = '0': must be at least 1ns",
        ),
        (
            '{kind = "normal", mean = "2us", sd = "1us", least = "3us"}',
            "disk.toml: fixed.least = '3us': must be at most the mean",
        ),
        (
            '{kind = "lognormal", mean = "80us"}',
            "disk.toml: fixed.p99: give either p99 or sigma",
        ),
        (
            '{kind = "lognormal", mean = "80us", p99 = "1200us"}',
            "disk.toml: fixed.p99 = '1200us': must be at most 14.9 times the mean: "
            "no lognormal has more",
        ),
        (
            '{kind = "gamma", mean = "80us", shape = -1}',
            "disk.toml: fixed.shape = -1: must be a number from 0.01 to 1e+06",
        ),
        (
            '{kind = "exponential", mean = "80us", shape = 2}',
            "disk.toml: fixed.shape: unknown key; allowed: kind, mean",
        ),
        (
            '{kind = "mixture", parts = []}',
            "disk.toml: fixed.parts: must have at least one part, such as {weight = 1, kind = ...}",
        ),
        (
            '{kind = "mixture", parts = [{weight = 0, kind = "constant", time = "1us"}]}',
            "disk.toml: fixed.parts[1].weight = 0: must be a number from 1e-09 to 1e+09",
        ),
    ],
)
def test_bad_input_is_one_line_that_says_where(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value) == message
