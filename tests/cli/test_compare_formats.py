# SPDX-License-Identifier: GPL-2.0-or-later
"""`compare --format`: each read by its consumer's own parser, where there is one in Python."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from typer.testing import CliRunner

from freezingtime import __version__
from freezingtime.cli.results.compare import app
from freezingtime.errors import InputError
from freezingtime.simulate.replay import TraceSource, open_new_record
from tests.results.test_compare import a_run, reads

CONDITIONS = ("--fail-if", "read.p99 > +5%", "--fail-if", "guest_time > +1%")
FIGURES = {
    "metrics": [
        {"name": "tps", "value": 1000.5, "unit": "1/s", "direction": "higher"},
        {"name": "commit", "value": 2.25, "unit": "ms", "direction": "lower"},
        {"name": "rows", "value": 7, "unit": "", "direction": None},
    ]
}


def command(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status
    return result.stdout


def with_figures(run: Path) -> Path:
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(document | FIGURES))
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """One run, another whose reads take 10 % longer, and one that is like the first."""
    a = a_run(tmp_path / "a", reads(10_000, 10_000))
    b = a_run(tmp_path / "b", reads(11_000, 11_000), versions={"qemu": "9 <\x1b[1m&\"'>"})
    return [with_figures(run) for run in (a, b, a_run(tmp_path / "c", reads(10_000, 10_000)))]


def test_junit_has_a_case_for_each_condition(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(command(*runs, *CONDITIONS, "--format", "junit", status=1))
    slower, same = JUnitXml.fromfile(str(tmp_path / "r.xml"))
    assert [(suite.tests, suite.failures, suite.errors) for suite in (slower, same)] == [
        (3, 1, 0),
        (3, 0, 0),
    ]
    cases = {case.name: case for case in slower}
    assert set(cases) == {
        *("runs are valid and their jobs succeeded", "read.p99 > +5%", "guest_time > +1%"),
    }
    [failure] = cases["read.p99 > +5%"].result
    assert isinstance(failure, Failure)
    assert failure.message == "read.p99 > +5%: data:read.p99 10us -> 11us, +1us (+10.000%)"
    assert "first differing request, data 0: latency_ns 10000 -> 11000" in failure.text
    assert cases["guest_time > +1%"].is_passed
    properties = {each.name: each.value for each in slower.properties()}
    assert properties["a.freezingtime"] == "0.1.0"
    assert properties["b.qemu"] == "9 <\\x1b[1m&\"'>"  # and the file is XML all the same


def test_junit_says_of_a_replay_what_its_record_knows(tmp_path: Path) -> None:
    for name, spec in (("a", "constant:10us"), ("b", "constant:11us")):
        source = TraceSource(tmp_path / "trace.csv")
        with open_new_record(tmp_path / name, [spec], source, seed=7) as record:
            record.begin()
    [suite] = JUnitXml.fromstring(command(tmp_path / "a", tmp_path / "b", "--format", "junit"))
    properties = {each.name: each.value for each in suite.properties()}
    assert properties == {
        "a.freezingtime": __version__,
        "a.source": "trace.csv",
        "a.seed": "7",
        "a.disk.constant:10us": "constant:10us",
        "b.freezingtime": __version__,
        "b.source": "trace.csv",
        "b.seed": "7",
        "b.disk.constant:11us": "constant:11us",
    }


def test_a_run_that_is_not_fit_is_an_error_in_each(tmp_path: Path) -> None:
    a = a_run(tmp_path / "a", reads(10_000))
    failed = a_run(tmp_path / "b", reads(10_000), job={"exit_status": 3})
    wrong = a_run(tmp_path / "c", reads(10_000), audit={"valid": False})
    report = tmp_path / "r.xml"
    # Without any condition, too: who asks for no figure has not been told that they are right.
    for run, reason in ((failed, "its job ended with exit status 3"), (wrong, "NOT VALID")):
        text = command(a, run, "--format", f"junit={report}", status=1)
        assert f"UNFIT {run}: {reason}" in text
        [suite] = JUnitXml.fromfile(str(report))
        [error] = next(iter(suite)).result
        assert isinstance(error, Error)
        assert error.message.startswith(f"{run}: {reason}")
        annotation = command(a, run, "--format", "github", status=1)
        assert annotation.startswith(f"::error title=freezingtime::{run}: {reason}")
        assert "**Failed**: identical" in command(a, run, "--format", "markdown", status=1)
    assert command(a, a_run(tmp_path / "d", reads(10_001))).startswith(f"{a} -> ")


BENCHER = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "type": "object",
            "required": ["value"],
            "properties": {
                name: {"type": "number"} for name in ("value", "lower_value", "upper_value")
            },
            "additionalProperties": False,
        },
    },
}
GITHUB_BENCHMARK = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string"},
            "value": {"type": "number"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
        "additionalProperties": False,
    },
}


def test_services_get_the_figures_of_the_later_run(runs: list[Path]) -> None:
    a, b, c = runs
    bencher: Any = json.loads(command(a, b, "--format", "bmf"))
    jsonschema.validate(bencher, BENCHER)
    assert bencher["data:read"]["p99 (ns)"] == {"value": 11_000.0}
    assert bencher["run"]["guest_time (ns)"] == {"value": 1_000_000.0}
    assert bencher["app"]["commit (ms)"] == {"value": 2.25}
    smaller, bigger = (
        json.loads(command(a, b, "--format", name))
        for name in ("gh-benchmark", "gh-benchmark-bigger")
    )
    for entries in (smaller, bigger):
        jsonschema.validate(entries, GITHUB_BENCHMARK)
    by_name = {entry["name"]: entry for entry in smaller}
    assert by_name["data:read.p99"] == {
        "name": "data:read.p99",
        "unit": "ns",
        "value": 11_000,
        "extra": "was 10us, +1us (+10.000%)",
    }
    assert by_name["app.commit"]["value"] == 2.25
    assert {entry["name"] for entry in bigger} == {
        *("data:all.iops", "data:all.bandwidth", "data:read.iops", "data:read.bandwidth"),
        "app.tps",
    }
    several = json.loads(command(a, b, c, "--format", "bmf"))
    assert several[f"{c} data:read"]["p99 (ns)"] == {"value": 10_000.0}
    assert several[f"{b} data:read"]["p99 (ns)"] == {"value": 11_000.0}


def test_openmetrics_is_exact_in_seconds(runs: list[Path]) -> None:
    a, b, c = runs
    text = command(a, b, "--format", "openmetrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    [p99] = [
        sample
        for sample in families["freezingtime_p99_seconds"].samples
        if sample.labels == {"disk": "data", "operation": "read"}
    ]
    assert p99.value == 11e-6
    assert families["freezingtime_p99_seconds"].unit == "seconds"
    assert families["freezingtime_guest_time_seconds"].samples[0].value == 1e-3
    own = families["freezingtime_application"].samples
    assert {(each.labels["name"], each.value) for each in own} == {
        ("tps", 1000.5),
        ("commit", 2.25),
        ("rows", 7.0),
    }
    said = re.search(r"^freezingtime_p99_seconds\{[^}]*read[^}]*\} (.*)$", text, re.MULTILINE)
    assert said is not None
    assert Decimal(said[1]) == Decimal(11_000) / 10**9
    both = list(text_string_to_metric_families(command(a, b, c, "--format", "openmetrics")))
    [guest_time] = [each for each in both if each.name == "freezingtime_guest_time_seconds"]
    assert {sample.labels["run"] for sample in guest_time.samples} == {str(b), str(c)}


def test_otava_finds_where_figures_change(runs: list[Path], tmp_path: Path) -> None:
    """By its own reader where it is installed, which needs other versions of numpy and scipy."""
    a, b, c = runs
    text = command(a, b, c, "--format", "otava")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["run"] for row in rows] == [str(b), str(c)]
    assert [int(row["data:read.p99"]) for row in rows] == [11_000, 10_000]
    assert all(float(value) >= 0 for row in rows for name, value in row.items() if "." in name)
    assert all(datetime.fromisoformat(row["time"]).tzinfo for row in rows)
    header, slower, same = (line.split(",") for line in text.splitlines())
    start = datetime(2026, 1, 1, tzinfo=UTC)
    history = [
        [(start + timedelta(hours=place)).isoformat(), *(same if place < 10 else slower)[1:]]
        for place in range(20)
    ]
    (tmp_path / "history.csv").write_text(
        "".join(",".join(row) + "\n" for row in [header, *history])
    )
    (tmp_path / "otava.yaml").write_text(
        "tests:\n  gate:\n    type: csv\n    file: history.csv\n    attributes: [run]\n"
        '    metrics:\n      p99: {column: "data:read.p99", direction: -1}\n'
    )
    otava = shutil.which("otava")
    if otava is None:  # also where all tools are required: it cannot be installed beside ours
        pytest.skip("otava is not installed")
    done = subprocess.run(
        [otava, "analyze", "gate", "--since", "2025-12-31"],
        cwd=tmp_path,
        env={**os.environ, "OTAVA_CONFIG": "otava.yaml"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "+10.0%" in done.stdout


def test_annotations_are_few_and_the_worst_first(tmp_path: Path) -> None:
    a = a_run(tmp_path / "a", reads(10_000, 10_000))
    b = a_run(tmp_path / "b%\n::error::x", reads(11_000, 10_000))
    conditions = [f"max > {'+' if place else ''}{place}ns" for place in range(12)]
    given = [word for text in conditions for word in ("--fail-if", text)]
    lines = command(a, b, *given, "--fail-if", "mean > +1ns", "--format", "github", status=1)
    errors = [line for line in lines.splitlines() if line.startswith("::error")]
    assert len(errors) == 10
    assert "max > 0ns: data:all.max 10us -> 11us" in errors[0]
    assert errors[-1] == "::error title=freezingtime::4 more conditions are met"
    assert all(
        line.startswith(("::error title=", "::notice title=")) for line in lines.splitlines()
    )
    assert "b%25%0A::error::x" in errors[0] or "b%25\\n::error::x" in errors[0]


def test_markdown_is_a_table_whatever_names_there_are(runs: list[Path], tmp_path: Path) -> None:
    a, b, _ = runs
    text = command(a, b, *CONDITIONS, "--format", "markdown", status=1)
    shown = MarkdownIt("commonmark").enable("table").render(text)
    assert shown.count("<table>") == 3
    assert "<td>data:read.p99</td>\n<td>10us</td>\n<td>11us</td>" in shown
    assert "<strong>failed</strong>: read.p99 &gt; +5%" in shown
    odd = a_run(tmp_path / "<b>|x`", reads(10_000, 10_000))
    shown = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(command(a, odd, "--format", "markdown"))
    )
    assert "&lt;b&gt;|x`" in shown
    assert "Passed: identical" in shown


def test_json_is_what_it_was(runs: list[Path]) -> None:
    assert command(*runs, "--format", "json") == command(*runs, "--json")


def test_several_formats_at_once(runs: list[Path], tmp_path: Path) -> None:
    files = {name: tmp_path / f"f.{name}" for name in ("junit", "markdown", "bmf")}
    given = [word for name, file in files.items() for word in ("--format", f"{name}={file}")]
    text = command(*runs, *CONDITIONS, *given, status=1)
    assert "FAILED read.p99 > +5%: data:read.p99 10us -> 11us, +1us (+10.000%)" in text
    for name, file in files.items():
        assert file.read_text() == command(*runs, *CONDITIONS, "--format", name, status=1)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["junitt"], "--format junitt: unknown format; did you mean junit?"),
        (["junit="], "--format junit=: has no file"),
        (["text=x"], "--format text=x: text goes to stdout"),
        (["junit", "bmf"], "--format: only one goes to stdout"),
        (["junit=/no/such/x"], "--format /no/such/x: no directory /no/such; create it first"),
    ],
)
def test_what_is_no_format(runs: list[Path], given: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        command(*runs, *(word for name in given for word in ("--format", name)))
