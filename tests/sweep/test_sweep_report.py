# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a sweep: which figures there are, what they say, and where their points lead."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import freezingtime
from freezingtime.application.figure import Direction
from freezingtime.cli.results.report import app
from freezingtime.cli.results.sweep import app as sweep_app
from freezingtime.errors import InputError
from freezingtime.explore.sweep.directory import SweepDirectory
from freezingtime.explore.sweep.sweep import Sweep, new_sweep
from freezingtime.explore.sweep.worker import PointOutcome
from freezingtime.report.sweep.axis import AxisScale, swept_axes
from freezingtime.report.sweep.data import SweepData
from freezingtime.report.sweep.figures import sweep_figures
from freezingtime.report.sweep.front import pareto_front
from freezingtime.report.sweep.page import sweep_page
from freezingtime.report.sweep.read import POINTS_MAX, read_sweep_data
from freezingtime.store.results.result_store import ResultStore, StoredFigures

UNITS = {"all.iops": "1/s", "all.p99": "ns", "app.score": "points"}
#: So many are in the store.
RUNS = 20
Figures = Callable[[Mapping[str, str]], Mapping[str, float] | None]


def of_depth(point: Mapping[str, str]) -> Mapping[str, float] | None:
    """More at once: more per second, and each waits longer; seed 9 is one that fails."""
    depth = int(point["workload.qd"])
    if point.get("seed") == "9":
        return None
    return {"all.iops": 1000.0 * depth + int(point.get("seed", "0")), "all.p99": 10_000 * depth}


def write_sweep(
    out: Path, figures: Figures, *, zipped: Sequence[str] = (), **values: Sequence[str]
) -> Path:
    """A sweep of every combination, as the command leaves it, without running anything."""
    names = [name.replace("__", ".") for name in values]
    points = [dict(zip(names, row, strict=True)) for row in itertools.product(*values.values())]
    return write_points(out, points, figures, zipped)


def write_points(
    out: Path, points: Sequence[Mapping[str, str]], figures: Figures, zipped: Sequence[str] = ()
) -> Path:
    store = ResultStore(out.parent / "store")
    with SweepDirectory(out) as directory:
        directory.begin({"kind": "replay", "workload": "a<b>", "zip": list(zipped)}, store.root)
        made: Sweep = new_sweep(points)
        for number, point in enumerate(points):
            found = figures(point)
            key = f"{number:064x}"
            if found is None:
                made.outcomes[number] = PointOutcome.of_error(InputError("no <such> device"))
                continue
            stored = StoredFigures(figures=dict(found), units=UNITS, identity={})
            made.outcomes[number] = PointOutcome.of(stored, key, is_cached=False)
            if number < RUNS:
                (store.place(key) / "run").mkdir(parents=True, exist_ok=True)
        directory.write(made)
    return out


def read(path: Path, *metrics: str) -> SweepData:
    return read_sweep_data(path, metrics, lambda key: f"file:///{int(key, 16)}/", "--metric")


def names_of(data: SweepData) -> list[str]:
    return [kind.name for kind in sweep_figures(data)]


def test_a_page_has_the_answer_what_failed_and_every_run(tmp_path: Path) -> None:
    depths, seeds = ["1", "4", "16"], ["0", "4", "9"]
    path = write_sweep(tmp_path / "out", of_depth, workload__qd=depths, seed=seeds)
    data = read(path)
    page = sweep_page(data)
    assert names_of(data) == ["lines", "pareto"]
    for text in (
        "3 failed:</strong> of 9 points (error: 3)",
        "Replays of <strong>a&lt;b&gt;</strong>",
        "no &lt;such&gt; device",
        "Points on the Pareto front",
        "by the median over the seeds",
        '<a href="file:///7/">7</a>',
        "16,002/s",  # the median of 16,000 and 16,004
    ):
        assert text in page, text
    assert "<such>" not in page
    # Each that has passed is a link of both panels, but none that is reached by every Tab.
    links = re.findall(r'<a xlink:href="file:///(\d+)/"[^>]* tabindex="-1"', page)
    assert sorted(map(int, links[:12])) == sorted([0, 1, 3, 4, 6, 7] * 2)
    said = json.loads(re.findall(r'id="points">(.*?)</script>', page)[0])
    assert said[0] == ["point 0", "workload.qd: 1", "seed: 0", "all.iops: 1,000/s", "all.p99: 10us"]
    assert said[2][-1] == "error: no <such> device"
    assert said[9][2:] == [
        "all.iops: 1,002/s (1,000/s to 1,004/s)",
        "all.p99: 10us (10us to 10us)",
        "1 of 3 failed",
    ]
    panels = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', page)[0])
    marks = {number: (x, y) for number, x, y in panels[0][5]}
    assert len(panels) == 2
    assert sorted(marks) == list(range(9))
    (left, top, right, bottom), *_ = panels[0]
    assert all(left <= x <= right and top <= y <= bottom for x, y in marks.values())
    # Depths are at even distances, as they are powers of 4; more is higher; failed is at the foot.
    assert marks[3][0] - marks[0][0] == pytest.approx(marks[6][0] - marks[3][0], abs=0.2)
    assert marks[6][1] < marks[3][1] < marks[0][1] < marks[2][1] == bottom


def test_what_is_varied_decides_what_is_drawn(tmp_path: Path) -> None:
    keys: dict[str, Sequence[str]] = {"workload__qd": ["1", "2", "3"]}
    assert names_of(read(write_sweep(tmp_path / "1", of_depth, **keys))) == ["lines", "pareto"]
    keys["disk"] = ["ssd", "disk", "none"]
    two = read(write_sweep(tmp_path / "2", of_depth, **keys))
    assert names_of(two) == ["lines", "heat-map", "pareto"]
    assert [axis.scale for axis in swept_axes(two)] == [AxisScale.EVEN, AxisScale.NAMES]
    keys["disk.read"] = ["10us", "1ms", "100us"]
    keys["disk.size"] = ["4KiB"]
    three = read(write_sweep(tmp_path / "3", of_depth, **keys))
    assert names_of(three) == ["parallel", "pareto"]
    read_axis = swept_axes(three)[2]
    assert read_axis.scale is AxisScale.LOG
    assert read_axis.ticks == [(1e4, "10us"), (1e5, "100us"), (1e6, "1ms")]
    points = [{"workload.qd": str(depth), "cpus": str(depth)} for depth in (1, 2, 4)]
    zipped = read(write_points(tmp_path / "4", points, of_depth, ["workload.qd,cpus"]))
    [axis] = swept_axes(zipped)
    assert [text for _, text in axis.ticks] == ["1, 1", "2, 2", "4, 4"]
    drawn = [{"workload.qd": str(x), "disk.x": f"{x * 7 % 11 / 10}"} for x in range(1, 12)]
    sampled = read(write_points(tmp_path / "5", drawn, of_depth))
    assert names_of(sampled) == ["scatter", "pareto"]
    failed = read(write_sweep(tmp_path / "6", of_depth, workload__qd=["1", "2"], seed=["9"]))
    assert names_of(failed) == []
    assert "available" not in sweep_page(failed)


def test_metrics_are_chosen_and_have_a_direction(tmp_path: Path) -> None:
    def with_own(point: Mapping[str, str]) -> Mapping[str, float]:
        return {"app.score": 2.0, **(of_depth(point) or {})}

    path = write_sweep(tmp_path / "out", with_own, workload__qd=["1", "2"])
    assert [metric.name for metric in read(path).metrics] == ["app.score", "all.iops"]
    # Nobody knows whether more points are better.
    *_, pareto = sweep_figures(read(path))
    assert "it is not known which values are better" in pareto.description
    chosen = read(path, "app.score=higher", "all.p99_ns").metrics
    assert [(each.name, each.direction) for each in chosen] == [
        ("app.score", Direction.HIGHER),
        ("all.p99", Direction.LOWER),
    ]
    assert chosen[1].text(12_345_678) == "12.35ms"
    with pytest.raises(InputError, match=r"--metric all\.iop: the sweep has no such figure; did"):
        read(path, "all.iop")
    with pytest.raises(InputError, match=r"--metric all\.p99: is given twice"):
        read(path, "all.p99", "all.p99=lower")


def test_the_front_is_what_nothing_is_better_than() -> None:
    lower, higher = Direction.LOWER, Direction.HIGHER
    places = [(1.0, 5.0), (2.0, 2.0), (2.0, 2.0), (3.0, 3.0), (2.0, 9.0), (4.0, 1.0)]
    assert pareto_front(places, (lower, lower)) == [0, 1, 2, 5]
    assert pareto_front(places, (higher, lower)) == [5]
    assert pareto_front(places, (lower, higher)) == [0, 4]
    assert pareto_front(places, (higher, higher)) == [4, 3, 5]
    for a, b in itertools.product((lower, higher), repeat=2):
        signs = [1 if each is lower else -1 for each in (a, b)]
        costs = [(x * signs[0], y * signs[1]) for x, y in places]
        best = {
            n
            for n, (x, y) in enumerate(costs)
            if not any(u <= x and v <= y and (u, v) != (x, y) for u, v in costs)
        }
        assert set(pareto_front(places, (a, b))) == best


def report(*arguments: Any) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stderr


def test_the_command_writes_the_page_of_one_sweep(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "out", of_depth, workload__qd=["1", "2"])
    page = tmp_path / "page.html"
    said = report(path, "-o", page, "--metric", "all.p99", "--figures", tmp_path / "figures")
    assert said.splitlines()[0].endswith(f"wrote {page}")
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == [
        "lines.png",
        "lines.svg",
    ]
    run = ResultStore(tmp_path / "store").place("0" * 63 + "1") / "run"
    assert f'<a href="{run.as_uri()}/">1</a>' in page.read_text()
    with pytest.raises(InputError, match=r"--points nowhere/x: name an existing directory, or one"):
        report(path, "-o", page, "--points", "nowhere/x")
    with pytest.raises(InputError, match="2 directories: a sweep has its own page"):
        report(path, path, "-o", page)
    (path / "results.parquet").unlink()
    with pytest.raises(InputError, match="the sweep has not ended; run its command again"):
        report(path, "-o", page)
    (path / "results.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"results\.parquet: is damaged"):
        report(path, "-o", page)
    (path / "sweep.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"sweep\.json: is damaged: it is no sweep"):
        report(path, "-o", page)


def test_a_very_large_sweep_is_drawn_in_part(tmp_path: Path) -> None:
    points = [{"workload.qd": str(depth + 1)} for depth in range(POINTS_MAX + 1)]
    data = read(write_points(tmp_path / "out", points, lambda point: {"all.iops": 1.0}))
    assert data.point_count == POINTS_MAX + 1
    assert list(data.numbers) == list(range(0, POINTS_MAX + 1, 2))


def test_a_program_gets_the_same_figures(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "out", of_depth, workload__qd=["1", "2"])
    sweep = freezingtime.open_sweep(path)
    assert sweep.table["all.p99_ns"].to_list() == [10_000, 20_000]
    [axes] = sweep.plot("all.p99").axes
    assert axes.get_title() == "all.p99"
    assert list(axes.lines[0].get_ydata()) == [10_000, 20_000]
    with pytest.raises(InputError, match=r"metric all\.p9: the sweep has no such figure; did you"):
        sweep.report(tmp_path / "page.html", "all.p9")
    failed = write_sweep(tmp_path / "failed", of_depth, seed=["9"], workload__qd=["1"])
    with pytest.raises(InputError, match="plot: there is nothing to draw"):
        freezingtime.open_sweep(failed).plot()


@pytest.mark.slow
def test_each_point_has_its_own_report(tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    arguments = ["--workload", "randread,count=50", "--out", out, "--store", store, "--quiet"]
    arguments += ["--workers", "1", "--set", "disk=constant:1us,constant:2us,none"]
    swept = CliRunner().invoke(sweep_app, list(map(str, arguments)), standalone_mode=False)
    assert swept.return_value == 1
    page = tmp_path / "page.html"
    report(out, "-o", page, "--points", tmp_path / "its points")
    assert sorted(file.name for file in (tmp_path / "its points").iterdir()) == ["0.html", "1.html"]
    assert '<a href="its%20points/1.html">1</a>' in page.read_text()
    assert "constant:2us" in (tmp_path / "its points" / "1.html").read_text()
