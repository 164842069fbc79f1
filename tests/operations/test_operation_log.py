# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs of operations: which lines are some, when each ended; and the guest's clock beside time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.application.clock_tie import ClockTie, tie_clocks, tie_document, tie_of
from freezingtime.application.operation_log import (
    BYTES_MAX,
    FIO,
    PGBENCH,
    has_operations,
    read_logs,
)
from freezingtime.vm.realtime.marks import MARKS, parse_marks

OUTPUTS = Path(__file__).parent.parent / "application" / "outputs"


def test_pgbench_s_transactions_have_an_end_in_us() -> None:
    name = "pgbench_log.21225"
    [log], notes = read_logs(OUTPUTS, [name])
    lines = (OUTPUTS / name).read_text().splitlines()
    assert (log.name, log.kind, notes) == (name, PGBENCH, [])
    assert log.line_numbers.tolist() == list(range(1, len(lines) + 1))
    words = [[int(word) for word in line.split()] for line in lines]
    assert log.latencies_ns.tolist() == [1000 * each[2] for each in words]
    assert log.ends_ns.tolist() == [10**9 * each[4] + 1000 * each[5] for each in words]


def test_fio_s_dated_log_has_an_end_in_ms() -> None:
    name = "fio-dated_lat.1.log"
    [log], notes = read_logs(OUTPUTS, [name, "fio.json", "run_clat.1.log"])
    words = [
        [int(word) for word in line.split(",")]
        for line in (OUTPUTS / name).read_text().splitlines()
    ]
    assert (len(words), log.kind, notes) == (12, FIO, [])
    assert log.latencies_ns.tolist() == [each[1] for each in words]
    assert log.ends_ns.tolist() == [10**6 * each[0] for each in words]


def test_a_log_without_dates_says_what_it_lacks() -> None:
    logs, [note] = read_logs(OUTPUTS, ["fio-plain_lat.1.log"])
    assert logs == []
    assert note == (
        "fio-plain_lat.1.log: fio's log counts from its own start; have fio write dates with "
        "log_unix_epoch=1"
    )
    assert not has_operations(OUTPUTS, ["fio-plain_lat.1.log"])
    assert has_operations(OUTPUTS, ["fio-plain_lat.1.log", "fio-dated_lat.1.log"])


def test_means_over_a_time_are_no_operations() -> None:
    assert (OUTPUTS / "fio-mean_lat.1.log").stat().st_size > 0
    assert read_logs(OUTPUTS, ["fio-mean_lat.1.log"]) == ([], [])


def test_what_is_no_operation_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "pgbench_log.7").write_bytes(
        b"0 1 skipped 0 1577836801 6 1\n\0\xff\n0 2 4000 0 1577836801 8 120\n1577836801 5 6 7 8 9\n"
    )
    with (tmp_path / "pgbench_log.7").open("ab") as file:
        file.write(b"0 4 999999999999999 0 9999999999 999999\n")
    [log], _ = read_logs(tmp_path, ["pgbench_log.7"])
    assert log.line_numbers.tolist() == [3]
    assert log.ends_ns.tolist() == [1_577_836_801_000_008_000]
    (tmp_path / "run_lat.1.log").write_bytes(b"9999999999999, 999999999999999999, 0, 4096, 0\n")
    assert read_logs(tmp_path, ["run_lat.1.log"]) == ([], [])
    with (tmp_path / "pgbench_log.7").open("wb") as file:
        file.truncate(BYTES_MAX + 1)
    with pytest.raises(ValueError, match="logs of more than 64 MiB"):
        read_logs(tmp_path, ["pgbench_log.7"])


marks = st.tuples(st.integers(0, 10**12), st.integers(0, 10**5), st.integers(0, 10**5))


@settings(max_examples=40)
@given(st.integers(10**18, 2 * 10**18), st.lists(marks, min_size=1, max_size=20))
def test_a_tie_holds_the_offset_and_is_as_tight_as_its_marks(
    offset_ns: int, made: list[tuple[int, int, int]]
) -> None:
    """A request, and a clock in whole us that is read so long before and after it."""
    requests_ns = [request_ns for request_ns, _, _ in made]
    readings_us = [
        ((at + offset_ns - before) // 1000, (at + offset_ns + after) // 1000)
        for at, before, after in made
    ]
    tie = tie_clocks(readings_us, requests_ns)
    assert tie.offset_min_ns <= offset_ns <= tie.offset_max_ns
    assert tie.width_ns <= min(before + after for _, before, after in made) + 2000
    assert tie_of(json.loads(json.dumps(tie_document(tie)))) == tie


def test_marks_that_contradict_each_other_are_no_tie() -> None:
    with pytest.raises(ValueError, match="does not run with guest time; something sets it"):
        tie_clocks([(1000, 1001), (3000, 3001)], [0, 1_000_000])
    with pytest.raises(ValueError, match="around 1 requests, and made 2"):
        tie_clocks([(1000, 1001)], [0, 1])
    with pytest.raises(ValueError, match="around 0 requests, and made 0"):
        tie_clocks([], [])


@pytest.mark.parametrize(
    "text", ["", "MARKS 1.000000", "MARKS 1.5 2.000000", "MARKS x", "MARKS" + " 1.000000" * 258]
)
def test_what_a_guest_sends_as_marks_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match="something else than readings"):
        parse_marks(text)
    assert parse_marks(f"{MARKS} 1577836802.000005 1577836802.000020") == [
        (1_577_836_802_000_005, 1_577_836_802_000_020)
    ]


FAR = {"offset_min_ns": 0, "offset_max_ns": 1 << 80}
TURNED = {"offset_min_ns": 2, "offset_max_ns": 1}


def test_a_document_says_why_there_is_no_tie_or_is_damaged() -> None:
    assert tie_of(None) is None
    assert tie_of({}) is None
    assert tie_of(tie_document("no shell")) == "no shell"
    assert tie_document(None) == {}
    for damaged in (
        [],
        {},
        {"offset_min_ns": 1},
        {"offset_min_ns": 1, "offset_max_ns": "2"},
        FAR,
        TURNED,
    ):
        with pytest.raises(ValueError, match="realtime"):
            tie_of({"realtime": damaged})
    assert ClockTie(5, 9).width_ns == 4
