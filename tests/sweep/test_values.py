# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sweep varies: values, side by side or drawn, and the points that they make."""

from __future__ import annotations

import re

import pytest

from freezingtime.errors import InputError
from freezingtime.explore.sweep.points import make_points
from freezingtime.explore.sweep.values import parse_set


def points(*said: str, zipped: tuple[str, ...] = (), sample: str | None = None) -> list[list[str]]:
    made = make_points([parse_set(text) for text in said], zipped, sample)
    assert all(list(point) == [text.partition("=")[0] for text in said] for point in made)
    return [list(point.values()) for point in made]


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ("k=7", ["7"]),
        ("k=0.07,0.14,0.28", ["0.07", "0.14", "0.28"]),
        ("k=choice(aws-gp3, 'constant:read=1us,write=2us')", None),
        ("k=range(3)", ["0", "1", "2"]),
        ("k=range(1,33,8)", ["1", "9", "17", "25"]),
        ("k=range(0.1,0.4,0.1)", ["0.1", "0.2", "0.3"]),
        ("k=range(5,1,-2)", ["5", "3"]),
        ("k='a,b',c", ["a,b", "c"]),
        ("k=f(1),2", ["f(1)", "2"]),
    ],
)
def test_values_are_read_as_hydra_has_them(said: str, values: list[str] | None) -> None:
    expected = values or ["aws-gp3", "constant:read=1us,write=2us"]
    assert points(said) == [[value] for value in expected]


def test_every_combination_is_a_point() -> None:
    assert points("a=1,2", "b=x,y") == [["1", "x"], ["1", "y"], ["2", "x"], ["2", "y"]]
    zipped = points("a=1,2", "b=x,y", "c=7,7", "d=p,q", zipped=("a,c",))
    assert len(zipped) == 8
    assert {(a, c) for a, _, c, _ in zipped} == {("1", "7"), ("2", "7")}


@pytest.mark.parametrize("kind", ["sobol", pytest.param("lhs", marks=pytest.mark.slow)])
def test_a_sample_fills_its_intervals_evenly_and_is_always_the_same(kind: str) -> None:
    said = ("a=interval(0.5,1.5)", "b=x,y", "c=tag(log,interval(1us,1000us))", "d=interval(1,4)")
    drawn = points(*said, sample=f"{kind}:64")
    assert drawn == points(*said, sample=f"{kind}:64")
    assert len(drawn) == 128
    first = [float(a) for a, b, _, _ in drawn if b == "x"]
    assert [sum(low <= value < low + 0.25 for value in first) for low in (0.5, 0.75, 1, 1.25)] == [
        16
    ] * 4
    assert {d for *_, d in drawn} == {"1", "2", "3", "4"}
    logs = [int(c.removesuffix("us")) for _, _, c, _ in drawn]
    assert min(logs) < 3
    assert sum(value < 32 for value in logs) == pytest.approx(64, abs=8)
    assert len(points("d=interval(1,4)", sample="lhs:64")) == 4  # and none twice


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (["qd"], "--set qd: write KEY=VALUES"),
        (["k="], "--set k=: write KEY=VALUES"),
        (["k=1,,2"], "--set k=1,,2: has an empty value"),
        (["k=1,1"], "--set k: 1 is given twice"),
        (["k=1", "k=2"], "--set k: is given twice"),
        (["k=range(1,1)"], "--set k=range(1,1): write range(STOP)"),
        (["k=range(1,9,0)"], "--set k=range(1,9,0): write range(STOP)"),
        (["k=range(x)"], "--set k=range(x): write range(STOP)"),
        (["k=range(nan)"], "--set k=range(nan): write range(STOP)"),
        (["k=range(10000000)"], "has 10000000 values; at most 100000"),
        (["k=range(1000)", "l=range(1000)"], "these are 1000000 points; at most 100000"),
        (["k=interval(1us,1ms)"], "the ends are in ms and us; write both in one unit"),
        (["k=interval(2,1)"], "the first end must be below the second"),
        (["k=tag(log,interval(0,1))"], "a logarithm needs ends above 0"),
        (["k=tag(lin,interval(0,1))"], "tag(...) is none of the forms"),
        (["k=glob(*)"], "glob(...) is none of the forms"),
        (["k=choice(a"], "a parenthesis is not closed"),
        (["k='a"], "the quote ' is not closed"),
        (["k=interval(1,2)"], "say how its interval is drawn from"),
    ],
)
def test_what_cannot_be_varied_is_named(said: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        points(*said)


@pytest.mark.parametrize(
    ("zipped", "sample", "problem"),
    [
        ("a,b", None, "--zip a,b: needs two or more keys of equally many values; a has 2, b has 3"),
        ("a,z", None, "--zip a,z: 'z' is not varied"),
        ("a", None, "--zip a: needs two or more keys"),
        ("a,i", "lhs:4", "--zip a,i: i is an interval"),
        (None, "lhs:0", "--sample lhs:0: write sobol:NUMBER"),
        (None, "sobol:6", "--sample sobol:6: a Sobol sequence needs a power of two"),
    ],
)
def test_what_does_not_go_together_is_named(
    zipped: str | None, sample: str | None, problem: str
) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        points(
            "a=1,2", "b=1,2,3", "i=interval(0,1)", zipped=(zipped,) if zipped else (), sample=sample
        )
    with pytest.raises(InputError, match="no key has an interval"):
        points("a=1,2", sample="lhs:4")
