# SPDX-License-Identifier: GPL-2.0-or-later
"""Slow operations of an application beside the device requests during them, on made-up records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import freezingtime as ft
from freezingtime.application.clock_tie import ClockTie, tie_document
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError
from freezingtime.report.layout.templates import page_template
from freezingtime.report.read import read_run
from freezingtime.report.run_data import RunData
from freezingtime.report.side_by_side import side_by_side
from freezingtime.report.slow.operations import SlowOperations, slow_operations
from freezingtime.report.slow.section import slow_section
from freezingtime.report.tables import ReportTable
from freezingtime.request import Operation
from freezingtime.trace.record_reader import open_record
from tests.support.recordlib import completed, write_record

#: What the guest's clock really is ahead, and what of it is known.
OFFSET_NS = 1_577_836_800_133_947_321
TIE = ClockTie(OFFSET_NS - 6000, OFFSET_NS + 9000)
LOG = "pgbench_log.7"


def make_run(
    directory: Path, requests: list[CompletedRequest], log: str, realtime: ClockTie | str | None
) -> Path:
    """A run's directory whose job took 10 s from 1 s on."""
    directory.mkdir(exist_ok=True)
    write_record(directory, requests)
    times = {"start_ns": 10**9, "end_ns": 11 * 10**9, "guest_ns": 10**10}
    document: dict[str, Any] = {
        **{"format": 1, "versions": {}, "totals": {}, **tie_document(realtime)},
        **{"plan": {"script": "true"}, "job": {"exit_status": 0, **times}},
        "audit": {"valid": True},
    }
    (directory / "run.json").write_text(json.dumps(document))
    (directory / "collected").mkdir(exist_ok=True)
    (directory / "collected" / LOG).write_text(log)
    return directory


def found_in(directory: Path, count: int = 20) -> SlowOperations:
    document = json.loads((directory / "run.json").read_text())
    found = slow_operations(directory, document, open_record(directory), count)
    assert found is not None
    return found


def log_line(number: int, end_ns: int, latency_ns: int, late_ns: int = 0) -> str:
    """As pgbench writes it: cut to us, and so much later than the end."""
    stamp_us = (end_ns + OFFSET_NS + late_ns) // 1000
    return f"0 {number} {latency_ns // 1000} 0 {stamp_us // 1_000_000} {stamp_us % 1_000_000:06}\n"


def request(number: int, operation: Operation, arrival_ns: int, delivery_ns: int) -> Any:
    return completed(
        operation=operation,
        length_bytes=0 if operation is Operation.FLUSH else 4096,
        arrival_ns=arrival_ns,
        completion_ns=delivery_ns,
        delivery_ns=delivery_ns,
        sequence=number,
    )


def clients(seed: int, count: int = 200) -> tuple[list[CompletedRequest], list[tuple[int, int]]]:
    """Four clients that write and flush one after the other; their operations' true spans."""
    random = np.random.default_rng(seed)
    rows: list[tuple[int, Operation, int]] = []
    spans = []
    for _ in range(4):
        now_ns = 10**9 + int(random.integers(10**6))
        for _ in range(count // 4):
            start_ns = now_ns
            for operation, typical_ns in ((Operation.WRITE, 60_000), (Operation.FLUSH, 900_000)):
                arrival_ns = now_ns + int(random.integers(300, 60_000))
                now_ns = arrival_ns + int(random.exponential(typical_ns)) + 1
                rows.append((arrival_ns, operation, now_ns))
            now_ns += int(random.integers(300, 40_000))
            spans.append((start_ns, now_ns))
    numbers = {row: number for number, row in enumerate(sorted(rows))}
    ordered = sorted(rows, key=lambda row: row[2])
    return [request(numbers[r], r[1], r[0], r[2]) for r in ordered], spans


@pytest.mark.parametrize("seed", range(3))
def test_what_is_certain_is_true_and_what_is_true_is_named(tmp_path: Path, seed: int) -> None:
    """However far within its bounds the clock is tied, and a time was written late."""
    requests, spans = clients(seed)
    random = np.random.default_rng(seed)
    lines = [
        log_line(number, end_ns, end_ns - start_ns, int(random.integers(9000)))
        for number, (start_ns, end_ns) in enumerate(spans, start=1)
    ]
    found = found_in(make_run(tmp_path / "run", requests, "".join(lines), TIE))
    assert (found.count, found.notes, len(found.operations)) == (200, [], 20)
    slowest_us = sorted(((end - start) // 1000 for start, end in spans), reverse=True)
    assert [each.latency_ns // 1000 for each in found.operations] == slowest_us[:20]
    for operation in found.operations:
        start_ns, end_ns = spans[operation.line - 1]
        assert operation.log == LOG
        assert abs(operation.end_ns - end_ns) <= operation.uncertain_ns
        assert abs(operation.start_ns - start_ns) <= operation.uncertain_ns + 1000
        during = {
            each.sequence: each
            for each in requests
            if each.arrival_ns <= end_ns and each.delivery_ns >= start_ns
        }
        certain = {each.sequence for each in operation.requests if each.is_certain}
        assert certain <= set(during) <= {each.sequence for each in operation.requests}
        own = [
            each
            for each in during.values()
            if each.operation is Operation.FLUSH
            and start_ns <= each.arrival_ns
            and each.delivery_ns <= end_ns
        ]
        assert {each.sequence for each in own} <= certain  # its own flush above all
        assert operation.certain_count == len(certain)
        assert operation.certain_count + operation.possible_count == len(operation.requests)
        shared_ns = [each.shared_ns for each in operation.requests if each.is_certain]
        assert shared_ns == sorted(shared_ns, reverse=True)
        busy = np.zeros(operation.latency_ns, bool)
        for each in operation.requests:
            begin_ns, until_ns = (
                int(np.clip(time_ns - operation.start_ns, 0, operation.latency_ns))
                for time_ns in (each.arrival_ns, each.delivery_ns)
            )
            assert each.shared_ns == max(0, until_ns - begin_ns)
            busy[begin_ns:until_ns] = True
        assert operation.device_ns == np.count_nonzero(busy)


def test_a_request_at_the_edge_is_counted_apart(tmp_path: Path) -> None:
    """It ended 3 us behind the operation's start, which is known within some 13 us."""
    before = request(0, Operation.WRITE, 1_999_000_000, 2_000_003_000)
    within = request(1, Operation.FLUSH, 2_000_100_000, 2_004_000_000)
    log = log_line(1, 2_005_000_000, 5_000_000)
    run = make_run(tmp_path / "run", [before, within], log, TIE)
    [operation] = found_in(run).operations
    assert [(each.sequence, each.is_certain) for each in operation.requests] == [
        (1, True),
        (0, False),
    ]
    said = section_of(run)
    assert "flush 3.9ms; perhaps 1 more" in said
    assert "within 13.5us to either side" in said
    [table] = [part for part in slow_section([read(run)])[0].parts if isinstance(part, ReportTable)]
    shown = str(page_template("table.html").module.show(table))  # type: ignore[attr-defined]
    assert '<td class="number">5ms</td>' in shown
    assert '<td class="words">flush 3.9ms; perhaps 1 more</td>' in shown


def read(path: Path) -> RunData:
    return read_run(path, lambda notice: None)


def section_of(*paths: Path) -> str:
    """All text of the report's section; the figures of a whole page take seconds."""
    [section] = slow_section(side_by_side([read(path) for path in paths]))
    parts = [part for part in section.parts if isinstance(part, str)]
    tables = [part for part in section.parts if isinstance(part, ReportTable)]
    return "\n".join([*parts, *(cell for table in tables for row in table.rows for cell in row)])


def test_a_frame_has_a_row_for_each_request(tmp_path: Path) -> None:
    requests, spans = clients(7)
    lines = [log_line(n, end, end - start) for n, (start, end) in enumerate(spans, start=1)]
    run = make_run(tmp_path / "run", requests, "".join(lines), TIE)
    frame = ft.open_run(run).slow_operations(3)
    assert frame.line.nunique() == 3
    assert frame.latency_ns.is_monotonic_decreasing
    flushes = frame[frame.is_certain & (frame.operation == "flush")]
    assert set(flushes.line) == set(frame.line)
    assert (flushes.delivery_ns - flushes.arrival_ns).max() == flushes.shared_ns.max()
    assert "latency" in ft.in_unit(frame, "timedelta").columns


def test_an_operation_without_a_request_has_its_row(tmp_path: Path) -> None:
    log = log_line(1, 5 * 10**9, 2_000_000)
    run = make_run(tmp_path / "run", [request(0, Operation.READ, 10**9, 2 * 10**9)], log, TIE)
    frame = ft.open_run(run).slow_operations()
    assert frame.latency_ns.tolist() == [2_000_000]
    assert frame.device_ns.tolist() == [0]
    assert frame.operation.isna().all()
    assert "no request" in section_of(run)


REQUESTS = [request(0, Operation.READ, 10**9, 2 * 10**9)]
ONE = log_line(1, 5 * 10**9, 2_000_000)


@pytest.mark.parametrize(
    ("log", "realtime", "note"),
    [
        (ONE, "the guest has no shell", "the guest has no shell"),
        (
            ONE.replace(" 15", " 16"),
            TIE,
            f"{LOG}: its times are not those of the job: something sets the guest's clock, or its "
            "zone",
        ),
    ],
)
def test_what_cannot_be_joined_is_said(
    tmp_path: Path, log: str, realtime: ClockTie | str, note: str
) -> None:
    run = make_run(tmp_path / "run", REQUESTS, log, realtime)
    found = found_in(run)
    assert (list(found.operations), found.notes) == ([], [note])
    with pytest.warns(UserWarning, match=note[:30]):
        assert ft.open_run(run).slow_operations().empty
    other = make_run(tmp_path / "other", REQUESTS, ONE, TIE)
    assert f"B: not shown: {note}." in section_of(other, run)


def test_a_run_without_a_log_has_no_section(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", REQUESTS, "", None)
    assert read(run).slow is None
    assert slow_section([read(run)]) == []
    assert ft.open_run(run).slow_operations().empty


def test_a_damaged_tie_is_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", REQUESTS, ONE, TIE)
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**document, "realtime": 5}))
    with pytest.raises(InputError, match=r"run.json: is damaged: realtime is no table; repeat"):
        read(run)
