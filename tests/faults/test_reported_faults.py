# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults in a report: the rules, and the requests that were hit, over time."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from freezingtime.report.faults import kinds_table, rules_table
from freezingtime.report.figures.run_figures import FAULTS, draw_run_figure
from freezingtime.report.page import report_page
from freezingtime.report.read import read_run
from freezingtime.report.side_by_side import side_by_side
from freezingtime.request import Fault, FaultKind
from freezingtime.trace.run_directory import DOCUMENT_NAME
from tests.support.recordlib import HEADER, completed, write_record

RULES = ("error=EIO,nth=3", "slow=5,probability=0.1", "lose")
DOCUMENT = {"format": 1, "versions": {}, "plan": {}, "job": {}, "audit": {}, "totals": {}}


def write_run(path: Path, hits: object) -> None:
    """A run of 100 requests: every tenth is slow, one fails."""
    path.mkdir()
    rows = []
    for number in range(100):
        fault = Fault(FaultKind.SLOW) if number % 10 == 0 else None
        fault = Fault(FaultKind.ERROR, 5) if number == 33 else fault
        arrival_ns = 1000 * number
        times = {"arrival_ns": arrival_ns, "completion_ns": arrival_ns + 10}
        times["delivery_ns"] = times["completion_ns"]
        rows.append(completed(sequence=number, disk_index=0, fault=fault, **times))
    disks = [msgspec.structs.replace(HEADER.disks[0], faults=RULES), HEADER.disks[1]]
    write_record(path, rows, msgspec.structs.replace(HEADER, disks=disks))
    (path / DOCUMENT_NAME).write_text(json.dumps({**DOCUMENT, "faults": hits}))


def test_a_report_has_the_rules_and_what_they_hit(tmp_path: Path) -> None:
    name = HEADER.disks[0].name
    hits = [{"rule": rule, "hits": count} for rule, count in zip(RULES, (1, 10, 0), strict=True)]
    write_run(tmp_path / "a", {name: hits})
    runs = side_by_side([read_run(tmp_path / "a", lambda notice: None)])
    assert [row[-2:] for row in rules_table(runs).rows] == [
        *(["error=EIO,nth=3", "1"], ["slow=5,probability=0.1", "10"], ["lose", "never"])
    ]
    assert [row[-2:] for row in kinds_table(runs).rows] == [["slow", "10"], ["error", "1"]]
    faults = runs[0].disks[name].faults
    (error_bin,) = faults[FaultKind.ERROR].nonzero()[0].tolist()
    assert error_bin == runs[0].span.bins_of(33_010)


@pytest.mark.slow
def test_a_page_draws_what_they_hit(tmp_path: Path) -> None:
    name = HEADER.disks[0].name
    hits = [{"rule": rule, "hits": count} for rule, count in zip(RULES, (1, 10, 0), strict=True)]
    write_run(tmp_path / "a", {name: hits})
    runs = side_by_side([read_run(tmp_path / "a", lambda notice: None)])
    assert len(draw_run_figure(FAULTS, runs, [".svg"])) == 1
    page = report_page(runs)
    assert all(words in page for words in ("Rules of faults", "lose", "never", 'id="faults"'))


def test_what_a_document_says_of_rules_is_not_trusted(tmp_path: Path) -> None:
    for number, hits in enumerate([None, [], {HEADER.disks[0].name: [1, {"hits": "many"}]}]):
        write_run(tmp_path / str(number), hits)
        run = read_run(tmp_path / str(number), lambda notice: None)
        assert [row[-1] for row in rules_table([run]).rows] == ["-"] * 3


def test_a_report_without_rules_says_nothing_of_faults(tmp_path: Path) -> None:
    write_record(tmp_path, [completed(sequence=number) for number in range(3)])
    run = read_run(tmp_path, lambda notice: None)
    assert not rules_table([run]).rows
    assert not run.header.has_faults
