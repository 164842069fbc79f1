# SPDX-License-Identifier: GPL-2.0-or-later
"""Fitting: known distributions into logs, into a device, and back; and what is refused."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import freezingtime as ft
from freezingtime.calibrate.distance import distance
from freezingtime.calibrate.fit.device_toml import device_toml
from freezingtime.calibrate.fit.distributions import fit_distribution
from freezingtime.calibrate.fit.fit import (
    Fit,
    FitPlan,
    fit,
    fit_content,
    parse_missing,
    simulate_cell,
)
from freezingtime.calibrate.fit.models import MODELS
from freezingtime.calibrate.fit.quantiles import correlation, quantile_points
from freezingtime.calibrate.fit.sources import Source, read_sources
from freezingtime.calibrate.halves import drift, split
from freezingtime.calibrate.latency_cells import Cell, LatencyCells, sort_into_cells
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.device.latency.distribution import Constant
from freezingtime.device.parameters import Table, content_of
from freezingtime.device.registry import declared_parameters, describe
from freezingtime.device.schema import keys_of
from freezingtime.device.trace_device import OperationClass
from freezingtime.errors import InputError
from freezingtime.trace.readers import Reading
from freezingtime.trace.readers.latencies import Latencies
from tests.conftest import RunProgram


def no_notes(reading: Reading) -> None:
    """All of a log is as it should be."""
    assert not reading.notes, reading.notes


Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
Integers = NDArray[np.int64]

READ = OperationClass.READ
COUNT = 10_000
KNOWN: dict[str, Draw] = {
    "lognormal": lambda g, n: g.lognormal(np.log(80_000), 0.3, n),
    "gamma": lambda g, n: g.gamma(5, 20_000, n),
    "exponential": lambda g, n: g.exponential(200_000, n),
    "uniform": lambda g, n: g.uniform(60_000, 90_000, n),
    "normal": lambda g, n: g.normal(100_000, 4_000, n),
    "mixture": lambda g, n: np.where(
        g.random(n) < 0.95, g.lognormal(np.log(70_000), 0.1, n), g.lognormal(np.log(1e6), 0.4, n)
    ),
}
# Three standard deviations of the 99th percentile of so many draws from a long tail, twice.
P99_TOLERANCE = {"exponential": 0.1, "mixture": 0.11}


def draws(name: str, seed: int = 1, count: int = COUNT) -> Integers:
    return np.rint(KNOWN[name](np.random.default_rng(seed), count)).astype(np.int64)


def write_fio_log(
    path: Path, latency_ns: Integers, *, direction: int = 0, size: int = 4096, depth: int = 1
) -> Path:
    """A log as fio leaves it, of a closed loop with that many in flight."""
    ends_ms = np.cumsum(latency_ns) // depth // 10**6
    lines = zip(ends_ms.tolist(), latency_ns.tolist(), strict=True)
    path.write_text("".join(f"{at}, {took}, {direction}, {size}, 0\n" for at, took in lines))
    return path


def write_log_pair(directory: Path, name: str) -> list[Path]:
    """Reads as drawn, and writes of a fifth of the time."""
    return [
        write_fio_log(directory / "r_lat.1.log", draws(name)),
        write_fio_log(directory / "w_lat.1.log", draws(name, seed=2) // 5, direction=1),
    ]


def fitted(paths: list[Path], plan: FitPlan) -> Fit:
    latencies, sources = read_sources(
        paths,
        LogOptions(),
        notify=pytest.fail,
        on_reading=no_notes,
        progress=lambda *step: None,
    )
    return fit(latencies, sources, plan)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", KNOWN)
def test_a_known_distribution_comes_back(model: str, name: str, tmp_path: Path) -> None:
    """From draws to a log, to a device file, to what a replay of that file gives."""
    out = tmp_path / "device.toml"
    fitted(write_log_pair(tmp_path, name), FitPlan(model)).write(out)
    cell = Cell(READ, 4096, 1, draws(name))
    replayed = simulate_cell(describe(str(out)), cell, seed=5)
    apart = distance(draws(name, seed=3, count=100_000), replayed)
    # The standard deviation of two means of as many draws, three times.
    spread = float(np.std(replayed) / np.mean(replayed)) * 3 * (2 / COUNT) ** 0.5
    assert apart.ks < 0.025
    assert abs(apart.error("mean")) < max(0.01, spread)
    assert abs(apart.error("p50")) < 0.03
    assert abs(apart.error("p99")) < P99_TOLERANCE.get(name, 0.06)


@pytest.mark.parametrize("name", KNOWN)
def test_the_kind_of_distribution_is_found(name: str) -> None:
    taken, *others = fit_distribution(draws(name))
    assert taken.distribution.kind == name
    assert taken.ks < 0.015
    kinds = {"uniform", "exponential", "normal", "lognormal", "gamma", "mixture"}
    assert {found.distribution.kind for found in (taken, *others)} == kinds


def test_a_constant_time_is_one() -> None:
    (taken,) = fit_distribution(np.full(100, 80_000))
    assert taken.distribution == Constant(time_ns=80_000)


def test_the_distances_of_candidates_are_those_of_scipy() -> None:
    sample = draws("lognormal")
    logs = np.log(sample)
    exact = stats.kstest(sample, stats.lognorm(logs.std(), scale=np.exp(logs.mean())).cdf)
    found = {fitted.distribution.kind: fitted.ks for fitted in fit_distribution(sample)}
    assert found["lognormal"] == pytest.approx(exact.statistic, abs=2e-4)


@given(
    values=st.lists(st.integers(1, 10**9), min_size=2, max_size=400),
)
@settings(max_examples=60)
def test_quantile_points_are_a_table_and_keep_the_mean(values: list[int]) -> None:
    points = quantile_points(np.array(values))
    probabilities, times_ns = (np.array(column) for column in zip(*points, strict=True))
    assert (probabilities[0], probabilities[-1]) == (0, 1)
    assert (np.diff(probabilities) > 0).all()
    assert (np.diff(times_ns) >= 0).all()
    ordered = np.sort(values)
    places = (np.arange(len(values)) + 0.5) / len(values)
    error_ns = np.abs(np.interp(places, probabilities, times_ns) - ordered)
    assert (error_ns <= 0.02 * ordered + 2).all()
    mean_ns = float(np.trapezoid(times_ns, probabilities))
    assert mean_ns == pytest.approx(ordered.mean(), rel=0.02, abs=2)


def test_sizes_depths_and_bandwidth_of_the_latency_model(tmp_path: Path) -> None:
    """100 us and 1 ns per byte, 4 servers: 16 in flight take four times as long."""
    paths = []
    for direction in (0, 1):
        for size in (4096, 65536):
            lone_ns = draws("normal", seed=size) + size
            paths.append(
                write_fio_log(
                    tmp_path / f"a{direction}{size}_lat.log",
                    lone_ns,
                    direction=direction,
                    size=size,
                )
            )
        busy_ns = 4 * (draws("normal", seed=7) + 4096)
        paths.append(
            write_fio_log(tmp_path / f"b{direction}.log", busy_ns, direction=direction, depth=16)
        )
    parameters = fitted(paths, FitPlan("latency")).content["parameters"]
    assert parameters["servers"] == 4
    bandwidth = int(parameters["read"]["bandwidth"].removesuffix("B/s"))
    assert bandwidth == pytest.approx(10**9, rel=0.02)
    assert parameters["read"]["fixed"]["kind"] == "normal"


def test_a_hole_in_the_grid_is_as_the_nearest_depth(tmp_path: Path) -> None:
    paths = [
        write_fio_log(tmp_path / "1.log", draws("uniform")),
        write_fio_log(tmp_path / "2.log", 4 * draws("uniform"), depth=16),
        write_fio_log(tmp_path / "3.log", 3 * draws("uniform"), size=65536),
        write_fio_log(tmp_path / "4.log", draws("uniform"), direction=1),
    ]
    found = fitted(paths, FitPlan())
    reads = [t for t in found.content["parameters"]["table"] if t["operation"] == "read"]
    grid = {(table["size"], table["depth"]): table["quantiles"] for table in reads}
    assert sorted(grid) == [("4KiB", 1), ("4KiB", 16), ("64KiB", 1), ("64KiB", 16)]
    assert grid["64KiB", 16] == grid["64KiB", 1]
    hole = "read: 64KiB at depth 16 was not measured; the nearest measured depth is used"
    assert hole in found.uncovered
    assert "flush: not in the log; it takes no time" in found.uncovered


def test_clusters_are_found_and_come_back(tmp_path: Path) -> None:
    """Latencies whose logarithms are an AR(1) process with a coefficient of 0.6."""
    generator = np.random.default_rng(1)
    state = np.zeros(COUNT)
    for place in range(1, COUNT):
        state[place] = 0.6 * state[place - 1] + 0.8 * generator.normal()
    latency_ns = np.rint(80_000 * np.exp(0.3 * state)).astype(np.int64)
    paths = [
        write_fio_log(tmp_path / "r_lat.log", latency_ns),
        write_fio_log(tmp_path / "w_lat.log", latency_ns, direction=1),
    ]
    found = fitted(paths, FitPlan())
    assert found.content["parameters"]["correlation"] == pytest.approx(0.6, abs=0.03)
    again = found.cells[0].cell.with_latencies(found.cells[0].simulated_ns)
    assert correlation([again]) == pytest.approx(0.6, abs=0.03)
    assert "correlation" not in fitted(paths, FitPlan(with_correlation=False)).content["parameters"]


def test_the_file_says_where_it_is_from(tmp_path: Path) -> None:
    out = tmp_path / "device.toml"
    found = fitted(write_log_pair(tmp_path, "uniform"), FitPlan(summary="a drive"))
    found.write(out)
    content = tomllib.loads(out.read_text())
    assert content["summary"] == "a drive"
    assert content["sources"]["LOG1"].startswith(f"{tmp_path}/r_lat.1.log, of 20")
    assert content["sources"]["LOG1"].endswith(f", {COUNT} requests")
    assert content["fitted"]["parameters"].startswith("to the log by empirical, 20")
    assert content == found.content


@pytest.mark.parametrize("model", MODELS)
def test_all_that_is_declared_is_written_and_read_back(model: str) -> None:
    cells = [
        Cell(operation_class, size, depth, draws("mixture") + size)
        for operation_class in OperationClass
        for size, depth in ((4096, 1), (4096, 8), (65536, 1))
        if size == 4096 or operation_class is not OperationClass.FLUSH
    ]
    sources = [Source(Path("a.log"), "2020-01-01", "a log", 1)]
    content, _ = fit_content(LatencyCells(cells, []), sources, FitPlan(model))
    read = tomllib.loads(device_toml(content))
    assert read == content
    table = Table(read["parameters"], "-")
    declared = declared_parameters(model)
    assert content_of(table.read(declared)) == read["parameters"]
    # Nothing with a value of its own is left to a default, which may change.
    given = {key.name for key in keys_of(declared) if key.needed or key.default}
    assert given <= set(read["parameters"])


def test_missing_operations_can_be_said(tmp_path: Path) -> None:
    log = write_fio_log(tmp_path / "r_lat.1.log", draws("uniform"))
    with pytest.raises(InputError, match="there are no writes in the log; log some"):
        fitted([log], FitPlan())
    for model in MODELS:
        plan = FitPlan(model, parse_missing(["write=read", "flush=1ms"]))
        found = fitted([log], plan)
        assert found.content["assumed"] == {
            "write": "as reads: not in the log",
            "flush": "1ms: not in the log",
        }
        description = found.describe()
        writes = simulate_cell(
            description, Cell(OperationClass.WRITE, 4096, 1, draws("uniform")), 1
        )
        assert distance(draws("uniform"), writes).ks < 0.03
        flushes = simulate_cell(description, Cell(OperationClass.FLUSH, 0, 1, draws("uniform")), 1)
        assert set(flushes.tolist()) == {1_000_000}


def test_too_few_requests_are_refused(tmp_path: Path) -> None:
    paths = [
        write_fio_log(tmp_path / "r_lat.1.log", draws("uniform")),
        write_fio_log(tmp_path / "w_lat.1.log", draws("uniform")[:99] * 10, direction=1),
    ]
    with pytest.raises(InputError) as caught:
        fitted(paths, FitPlan())
    assert str(caught.value) == (
        "too few requests: write 4KiB depth 1 has 99, the most of any write; 100 are needed"
    )


def test_a_trace_of_many_sizes_and_depths_is_put_together_by_powers_of_two() -> None:
    generator = np.random.default_rng(1)
    sizes = 512 * generator.integers(1, 257, COUNT)
    depths = generator.integers(1, 33, COUNT)
    cells = sort_into_cells(
        Latencies(
            np.zeros(COUNT, np.uint8), sizes, depths, draws("uniform"), np.ones(COUNT, np.bool_)
        )
    )
    assert len({cell.size_bytes for cell in cells.cells}) <= 9
    assert len({cell.depth for cell in cells.cells}) <= 6
    kept = [*cells.cells, *cells.thin]
    assert sum(len(cell.latency_ns) for cell in kept) == COUNT


def test_halves_share_a_drift() -> None:
    """Latencies that grow by half: the halves in time differ, the interleaved ones do not."""
    latency_ns = np.linspace(100_000, 150_000, COUNT).astype(np.int64)
    a_ns, b_ns = split(latency_ns)
    assert len(a_ns) + len(b_ns) == COUNT
    assert sorted([*a_ns.tolist(), *b_ns.tolist()]) == sorted(latency_ns.tolist())
    assert b_ns.mean() == pytest.approx(a_ns.mean(), rel=1e-3)
    found = drift(Cell(READ, 4096, 1, latency_ns))
    assert abs(found.interleaved.error("mean")) < 0.001
    assert found.in_time.error("mean") == pytest.approx(0.222, abs=0.01)
    assert found.mean_uncertainty == pytest.approx(found.block_variation / 32**0.5)
    assert found.block_variation == pytest.approx(np.std(np.linspace(1, 1.5, 64)) / 1.25, rel=0.02)


_TEXTS = st.text(max_size=20).filter(lambda text: "\ud800" not in text)
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False)),
    lambda inner: (
        st.lists(inner, max_size=4).filter(
            lambda items: not any(isinstance(item, dict) for item in items)
        )
        | st.dictionaries(_TEXTS.filter(lambda key: key != "kind"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(content=st.dictionaries(_TEXTS.filter(lambda key: key != "kind"), _VALUES, max_size=4))
@settings(max_examples=100)
def test_what_is_written_as_toml_is_read_back(content: dict[str, object]) -> None:
    def without_empty(value: object) -> object:
        """An empty table without anything below it need not stand there."""
        if isinstance(value, dict):
            return {k: v for k, i in value.items() if (v := without_empty(i)) != {}}
        return value

    read = tomllib.loads(device_toml(content))
    assert without_empty(read) == without_empty(content)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    write_log_pair(tmp_path, "lognormal")
    return tmp_path


def test_from_python(logs: Path) -> None:
    device = ft.fit(logs, missing=["flush=1ms"])
    assert device.summary.operation.tolist() == ["read", "write"]
    assert (device.summary.mean_error.abs() < 0.02).all()
    assert describe(str(device.path)).content == device.fitted.content
    assert device.not_covered[0] == "discard: not in the log; it takes no time"
    replayed = ft.replay("randread,bs=4k,qd=1,count=5k", [str(device.path)])
    p50_ns = replayed.summary.query("operation == 'all'").p50_ns.item()
    assert p50_ns == pytest.approx(80_000, rel=0.03)


def test_the_command_prints_and_draws(logs: Path, freezingtime: RunProgram) -> None:
    done = freezingtime(
        *("fit", logs, "-o", logs / "mine.toml", "--figures", logs / "figures", "--json", "-q")
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    read = document["cells"][0]
    assert (read["operation"], read["size_bytes"], read["depth"]) == ("read", 4096, 1)
    assert read["device_against_log"]["ks"] < 0.02
    assert read["log_against_itself"]["interleaved_halves"]["ks"] < 0.03
    figures = {path.name: path.read_text() for path in (logs / "figures").iterdir()}
    assert set(figures) == {"fit-quantiles.svg", "fit-distributions.svg"}
    assert all(text.startswith("<?xml") for text in figures.values())
    assert describe(str(logs / "mine.toml")).device_class == "fitted"


def test_the_command_refuses_in_one_line(logs: Path, freezingtime: RunProgram) -> None:
    cases = {
        ("fit", logs / "r_lat.1.log", "-o", logs / "out.toml"): "there are no writes in the log;",
        ("fit", logs / "none", "-o", logs / "out.toml"): f"{logs}/none: ",
        ("fit", logs, "-o", logs / "out.txt"): f"--out {logs}/out.txt: must end in .toml",
        ("fit", logs, "-o", logs / "no" / "out.toml"): f"--out {logs}/no/out.toml: no direc",
        ("fit", logs, "-o", logs / "o.toml", "--model", "x"): "--model x: must be one of: empi",
        ("fit", logs, "-o", logs / "o.toml", "--missing", "x=1us"): "--missing x=1us: must be OP",
        ("fit", logs, "-o", logs / "o.toml", "--missing", "flush=1"): "--missing flush=1: bad time",
    }
    for command, expected in cases.items():
        done = freezingtime(*command, "-q")
        assert (done.returncode, done.stdout) == (2, ""), command
        assert done.stderr.startswith(f"freezingtime: {expected}"), done.stderr
        assert done.stderr.count("\n") == 1
    assert not (logs / "out.toml").exists()
