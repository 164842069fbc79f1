# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of an exploration: what it says, and which directories it refuses."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from freezingtime.cli.results.report import report_command
from freezingtime.errors import InputError
from freezingtime.explore.crash.directory import ExplorationDirectory
from freezingtime.report.exploration.page import exploration_page
from freezingtime.report.exploration.read import read_exploration
from freezingtime.request import Operation, Request
from freezingtime.trace.explored.crash_files import (
    CrashFailure,
    CrashSummary,
    CutPoint,
    ExploredDocument,
    FirstCut,
    LostWrite,
    PointTally,
)
from freezingtime.trace.run_directory import STDOUT_NAME
from freezingtime.trace.writes.log import WriteLogWriter
from tests.crash.crashlib import crash_request

_POINT = CutPoint(3, 1_002_500, 4, "a flush completes")
_FAILURE = CrashFailure(
    number=1,
    point=_POINT,
    since_start_ns=2500,
    reason="the check exited with 1: <b>order</b> is lost",
    output=("order is \x1b[31mlost",),
    console=(),
    lost=(LostWrite("disk1", 4096, 4096, 1, 8, "old", ("data of /<shop>.db", "the journal")),),
    undecided_pieces=8,
    images=("out/failures/1-disk1.raw",),
)
_SUMMARY = CrashSummary(
    points=2, possible=1 << 60, derived=20, unique=15, run=9, pruned=6, failed=4, flushes=2
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An exploration that has ended, written by who writes them."""
    path = tmp_path / "out & about"
    with ExplorationDirectory(path) as directory:
        directory.begin(crash_request("echo <ACK>", "constant:1us,mount=/data").identity())
        write_explored(directory)
        directory.write_failure(1, asdict(_FAILURE))
        directory.job_path.mkdir()
        (directory.job_path / STDOUT_NAME).write_bytes(b"ACK order\n\0\xff")
        with WriteLogWriter(directory.job_path, [1 << 16]) as log:
            # Before the job: in no figure.
            log.complete(0, Request(Operation.FLUSH, 0, 0), log.arrive(0, _FLUSH, 10, 0), 20, 0)
            write = Request(Operation.WRITE, 0, 512, b"a" * 512)
            sequence = log.arrive(0, write, 1_000_500, 0)
            log.complete(0, write, sequence, 1_001_000, 4)
            log.arrive(0, _FLUSH, 1_001_500, 4)  # the job ends before it completes
    return path


_FLUSH = Request(Operation.FLUSH, 0, 0)


def write_explored(directory: ExplorationDirectory, **values: Any) -> None:
    points = [PointTally(replace(_POINT, event=1), 5, 0), PointTally(_POINT, 10, 4)]
    found = ExploredDocument(
        span_ns=(1_000_000, 1_004_000),
        disks=["disk1"],
        summary=_SUMMARY,
        recoveries=None,
        points=points,
        failures=[1],
    )
    directory.write_explored(replace(found, **values))


def test_the_page_has_the_answer_the_points_and_each_failure(out: Path) -> None:
    page = exploration_page(read_exploration(out))
    for text in (
        "4 failed:</strong> of 15 different states",
        "1.2e+18",
        "failed</th>",
        "4 of 10",
        "The power is cut 2.5us after the start of the job, before a flush completes.",
        "the check exited with 1: &lt;b&gt;order&lt;/b&gt; is lost",
        "data of /&lt;shop&gt;.db; the journal",
        "order is \u241b[31mlost",
        "ACK order\n\u2400\ufffd",
        "echo &lt;ACK&gt;",
        "--replay 1",
        "disk1: writes",
        "disk1: flushes",
        "states failed (1)",
    ):
        assert text in page, text
    assert "<b>order" not in page
    assert page == exploration_page(read_exploration(out))


def test_requests_are_those_of_the_job(out: Path) -> None:
    spans = [
        (span.is_flush, span.arrival_ns, span.completion_ns)
        for span in read_exploration(out).writes
    ]
    assert spans == [(False, 500, 1000), (True, 1500, 4000)]


def test_a_second_power_cut_and_one_that_loses_nothing(out: Path) -> None:
    first = FirstCut(_POINT, 2500, _FAILURE.lost, "00", "0" * 32)
    second = replace(_FAILURE, lost=(), recovery_of=first)
    with ExplorationDirectory(out) as directory:
        write_explored(directory, recoveries=_SUMMARY)
        directory.write_failure(1, asdict(second))
    page = exploration_page(read_exploration(out))
    assert "before a flush completes; and again 2.5us after the start of the recovery" in page
    assert "Lost by the first power cut" in page
    assert "It fails although all 8 pieces are kept that were not durable" in page
    assert "second ones, in recoveries" in page
    assert "8 failed:</strong> of 30" in page


def test_all_passed_is_said_first(out: Path) -> None:
    with ExplorationDirectory(out) as directory:
        passed = replace(_SUMMARY, failed=0, flushes=0)
        write_explored(directory, summary=passed, failures=[], points=[])
    page = exploration_page(read_exploration(out))
    assert "passed:</strong> all 15 different states" in page
    assert "the job never flushed its disks" in page


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("explored.json", None, "the exploration has not ended; run its command again"),
        ("explored.json", "{", "is damaged: "),
        ("explored.json", "[" * 100_000, "is damaged: "),
        ("explored.json", '{"format": 1}', "is damaged: Object missing required field `span_ns`"),
        ("failures/1.json", '{"number": "one"}', r"1\.json: is damaged: Expected `int`, got `str`"),
        ("failures/1.json", None, "No such file or directory; explore again"),
        ("job/stdout.txt", None, "No such file or directory; explore again"),
        ("job/writes.bin", None, "has no write log"),
    ],
)
def test_what_is_damaged_is_named(
    out: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is None:
        (out / name).unlink()
    else:
        (out / name).write_text(content)
    with pytest.raises(InputError, match=message):
        report_command([out], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_another_format_is_refused(out: Path, tmp_path: Path) -> None:
    document = json.loads((out / "explored.json").read_text())
    (out / "explored.json").write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(InputError, match="has format 2; this freezingtime reads format 1"):
        report_command([out], tmp_path / "page.html")


def test_the_command_writes_one_page_of_one_exploration(out: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(InputError, match="2 directories: an exploration of power cuts has its own"):
        report_command([out, tmp_path], page)
    with pytest.raises(InputError, match="--figures: is of runs"):
        report_command([out], page, tmp_path)
    with pytest.raises(InputError, match="is not a regular file; name another file"):
        report_command([out], tmp_path)
    assert report_command([out], page) == 0
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_an_exploration_that_goes_on_has_no_page_of_the_one_before(out: Path) -> None:
    with ExplorationDirectory(out) as directory:
        directory.begin(crash_request("echo <ACK>", "constant:1us,mount=/data").identity())
    with pytest.raises(InputError, match="has not ended"):
        read_exploration(out)
