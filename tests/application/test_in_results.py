# SPDX-License-Identifier: GPL-2.0-or-later
"""The application's own figures beside a run's: `compare`, `runs`, the report, Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import freezingtime as ft
from freezingtime.errors import InputError
from freezingtime.report.page import report_page
from freezingtime.report.read import read_run
from freezingtime.results.condition import failures, parse_condition
from tests.cli.conftest import RunHere, run_here
from tests.results.test_compare import a_run, compared, reads

__all__ = ["run_here"]


def said(run: Path, tps: float, **more: tuple[float, str]) -> Path:
    """Have a run's application say so many transactions per second, and more."""
    figures = [{"name": "tps", "value": tps, "unit": "1/s", "direction": "higher"}]
    figures += [{"name": n, "value": v, "unit": u, "direction": None} for n, (v, u) in more.items()]
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": figures}))
    return run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a, b = (a_run(tmp_path / name, reads(10_000, 30_000)) for name in "ab")
    return said(a, 1000.0, p99=(2.0, "ms")), said(b, 960.0, p99=(2.5, "ms"))


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ("app.tps < -3%", True),
        ("app.tps < -4%", False),
        ("app.tps <= -4%", True),
        ("app.tps < 961", True),
        ("app.tps < 960", False),
        ("app.p99 > 2ms", True),
        ("app.p99 > +0.5ms", False),
        ("app.p99 >= +0.5", True),
    ],
)
def test_a_condition_on_an_own_figure(
    runs: tuple[Path, Path], condition: str, is_met: bool
) -> None:
    assert bool(failures([parse_condition(condition)], compared(*runs))) is is_met


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("app.nosuch > 1", "have no such metric"),
        ("app.p99 > 2us", "app.p99 is in ms"),
        ("data:app.tps > 1", "app.tps is the application's own; write it without a disk"),
        ("app.tps > 3%", "a percentage is a change; write"),
        ("app.tps > many", "bad amount 'many': write a number, such as 5, 5ms or"),
    ],
)
def test_a_condition_that_cannot_be_judged_is_refused(
    runs: tuple[Path, Path], condition: str, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        failures([parse_condition(condition)], compared(*runs))


def test_a_figure_of_one_run_only_cannot_be_judged(runs: tuple[Path, Path]) -> None:
    a, b = runs
    said(b, 960.0, other=(1.0, ""))
    with pytest.raises(InputError, match=f"{b} has no app.p99"):
        failures([parse_condition("app.p99 > 1")], compared(a, b))


def test_compare_shows_them_and_they_alone_make_no_difference(
    runs: tuple[Path, Path], run_here: RunHere
) -> None:
    shown = run_here("compare", *runs)
    assert "identical: 2 requests" in shown.stdout  # the guest's requests are what is compared
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["app.tps", "1,000", "1/s", "960", "1/s", "-40", "1/s", "(-4.000%)"] in rows
    document = json.loads(run_here("compare", "--json", *runs).stdout)
    (tps,) = [m for m in document["comparisons"][0]["metrics"] if m["metric"] == "tps"]
    assert (tps["operation"], tps["unit"], tps["a"], tps["b"]) == ("app", "1/s", 1000.0, 960.0)


def test_runs_lists_them(runs: tuple[Path, Path], run_here: RunHere, tmp_path: Path) -> None:
    said(runs[1], 960.0, p99=(2.5, "ms"), x=(1, ""), y=(1, ""))
    header, a, b = run_here("runs", tmp_path).stdout.splitlines()
    assert header.split()[:3] == ["run", "valid", "application"]
    assert "tps 1,000 1/s, p99 2 ms  " in a
    assert "tps 960 1/s, p99 2.5 ms, 2 more  " in b
    document = json.loads(run_here("runs", "--json", tmp_path).stdout)
    assert document[0]["metrics"][0] == {
        **{"name": "tps", "value": 1000.0},
        **{"unit": "1/s", "direction": "higher"},
    }


def test_the_report_begins_with_them(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezingtime.report.page._figures", lambda *_: [])  # they take seconds
    page = report_page([read_run(run, pytest.fail) for run in runs])
    assert page.index("own figures</caption>") < page.index('<table class="answer">')
    assert "960 1/s (-4.0%)" in page
    bare = a_run(tmp_path / "bare", reads(10_000))
    assert "own figures</caption>" not in report_page([read_run(bare, pytest.fail)])


def test_python_has_them(runs: tuple[Path, Path]) -> None:
    assert ft.open_run(runs[0]).metrics == {"tps": 1000.0, "p99": 2.0}


@pytest.mark.parametrize("command", ["runs", "report", "compare"])
def test_a_damaged_figure_is_said(
    runs: tuple[Path, Path], run_here: RunHere, command: str, tmp_path: Path
) -> None:
    a, _ = runs
    said(a, float("nan"))
    paths = {"report": [a, "-o", tmp_path / "x.html"], "compare": runs, "runs": [tmp_path]}
    ended = run_here(command, *paths[command])
    message = f"{a / 'run.json'}: is damaged: a value is a finite number; repeat the run"
    assert message in ended.stdout + ended.stderr
    assert ended.returncode == (0 if command == "runs" else 2)
