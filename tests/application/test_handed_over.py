# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures that a job hands over itself: lines ``METRIC``, and ``metrics.json``. None is trusted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from freezingtime.application.figure import FIGURES_MAX, figures_of
from freezingtime.application.read import AUTO, NONE, Said, check_source, read_figures
from freezingtime.errors import InputError


def said(
    text: bytes, directory: Path = Path(), files: Sequence[str] = (), source: str = AUTO
) -> Said:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(text)
        return read_figures(source, [file], directory, files)


def shown(found: Said) -> list[str]:
    return [f"{figure} {figure.direction.value}".strip() for figure in found.figures]


def test_lines() -> None:
    found = said(
        b"begin\nMETRIC commit_p99 2.22 ms lower\nMETRIC  tps\t1.5e3 1/s higher\r\n"
        b"METRIC plain 7\n not METRIC x 1\nMETRIC plain 8 lower"
    )
    assert shown(found) == [
        "commit_p99 2.22 ms lower",
        "tps 1,500 1/s higher",
        "plain 7",
        "plain_2 8 lower",
    ]
    assert found.notes == []
    assert said(b"METRIC x 1\n", source=NONE) == Said()
    assert said(b"METRIC x 1\n", source="dd").notes == [
        "--metrics dd: the job printed no figures of dd"
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"METRIC x nan", "a value is a finite number"),
        (b"METRIC x -inf", "a value is a finite number"),
        (b"METRIC x 1e999", "a value is a finite number"),
        (b"METRIC x two", "two is no number; write METRIC NAME VALUE [UNIT [lower|higher]]"),
        (b"METRIC x", "write METRIC NAME VALUE [UNIT [lower|higher]]"),
        (b"METRIC x 1 ms lower still", "write METRIC NAME VALUE [UNIT [lower|higher]]"),
        (b"METRIC x 1 ms fewer", "a direction is 'lower' or 'higher'"),
        (b"METRIC x 1 \x1b[31m", "a unit is up to 16 letters"),
        (b"METRIC x 1 " + b"s" * 17, "a unit is up to 16 letters"),
        (
            b"METRIC 9x 1",
            "a name is a letter, and up to 59 more letters, digits, '_' and '.' behind it",
        ),
    ],
)
def test_a_line_that_is_not_right_is_said_and_the_others_count(line: bytes, why: str) -> None:
    found = said(line + b"\nMETRIC good 1\n")
    assert shown(found) == ["good 1"]
    text = line.decode()
    assert found.notes == [f"no figure: {text[:80]}: {why}"]


def test_what_a_guest_prints_is_bounded() -> None:
    many = said(b"".join(b"METRIC m%d 1\n" % number for number in range(5 * FIGURES_MAX)))
    assert len(many.figures) == FIGURES_MAX
    assert len(said(b"METRIC same 1\n" * 5000).figures) == FIGURES_MAX
    wrong = said(b"METRIC x\n" * 5)
    assert len(wrong.notes) == 4
    assert wrong.notes[3] == "2 more figures are none"
    # Only the last 4 MiB are looked through, and in time.
    assert said(b"METRIC x 1\n" + b" " * (5 << 20)).figures == []
    for hostile in (b"{", b"[", b"{\n", b'{"fio version":', b"real\t", b" avg:  ", b"1" * 99):
        assert said(hostile * 50_000).figures == []
    job = {"jobname": "\x1b]", "read": {"total_ios": 1, "iops": 1e999, "lat_ns": {"mean": "x"}}}
    assert said(json.dumps({"fio version": 1, "jobs": [job, job, 3]}).encode()).figures == []


def test_a_collected_file(tmp_path: Path) -> None:
    figures = [{"name": "tps", "value": 5, "unit": "1/s", "direction": "higher"}]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "metrics.json").write_text(json.dumps(figures))
    (tmp_path / "own.json").write_text('{"a": 1, "b.c": 2.5}')
    files = ["own.json", "root/metrics.json"]
    assert shown(said(b"", tmp_path, files)) == ["tps 5 1/s higher"]
    assert shown(said(b"METRIC x 1", tmp_path, files, "own.json")) == ["a 1", "b.c 2.5"]
    missing = said(b"", tmp_path, files, "wn.json")
    assert missing.notes == ["--metrics wn.json: no such file was collected; see --collect"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("7", "must be a list of objects with name, value, unit and direction"),
        ("[1]", "must be a list of objects with name, value, unit and direction"),
        ('[{"name": "x", "value": NaN}]', "figure 1: a value is a finite number"),
        ('{"x": true}', "figure 1: a value is a finite number"),
        ('{"x": 1' + "0" * 400 + "}", "figure 1: a value is a finite number"),
        ('[{"name": "x", "value": 1}, {"value": 1}]', "figure 2: a name is a letter, and up to"),
        ("[" * 100_000, "nests too deep"),
        (" " * (1 << 20) + "{}", "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_not_right_is_said(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    found = said(b"METRIC good 1", tmp_path, ["metrics.json"])
    assert shown(found) == ["good 1"]
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"no figures: metrics.json: {why}")


def test_a_source_that_there_is_not_is_refused() -> None:
    for source in ("auto", "none", "fio", "figures.json"):
        assert check_source(source) == source
    with pytest.raises(
        InputError, match=r"--metrics pgbnch: unknown; did you mean pgbench\? available: auto, none"
    ):
        check_source("pgbnch")


def test_a_run_json_is_not_trusted_either() -> None:
    assert figures_of(None) == figures_of({}) == []
    for damaged in ({"metrics": {}}, {"metrics": [1]}, {"metrics": [{"name": "x"}]}):
        with pytest.raises(ValueError, match=r"metrics is not|a value is"):
            figures_of(damaged)
