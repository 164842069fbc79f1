# SPDX-License-Identifier: GPL-2.0-or-later
"""A gate must be able to fail: unfit runs, figures that are always 0, flushes with their writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.application.fsync import PAUSE_NS
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.results.condition import failures, parse_condition
from freezingtime.results.fsync import fsync_latency_ns
from freezingtime.trace.record_paths import RECORD_NAME
from tests.conftest import RunProgram
from tests.results.test_compare import a_run, compared, reads
from tests.support.guestlib import run_guest
from tests.support.recordlib import completed, stream_of

W, F, R, Z = Operation.WRITE, Operation.FLUSH, Operation.READ, Operation.WRITE_ZEROES
Times = tuple[Operation, int, int]


def latencies_us(*requests: Times) -> list[float]:
    """Of requests as (operation, arrival, delivery) in us."""
    operation, arrival, delivery = zip(*requests, strict=True)
    columns = {
        "operation": np.asarray(operation, np.uint8),
        "arrival_ns": 1000 * np.asarray(arrival, np.int64),
        "delivery_ns": 1000 * np.asarray(delivery, np.int64),
    }
    return [value / 1000 for value in fsync_latency_ns(columns).tolist()]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([(F, 0, 7)], [7]),
        ([(W, 0, 500), (F, 503, 503)], [503]),
        ([(W, 0, 500), (F, 500, 600)], [600]),
        # Data, then the journal.
        ([(W, 0, 500), (W, 512, 1012), (F, 1018, 1018)], [1018]),
        # Many at once, of which an early one is the last.
        ([(W, 0, 900), (W, 10, 20), (W, 30, 40), (Z, 850, 870), (F, 901, 901)], [901]),
        # Written long before, by somebody else.
        ([(W, 0, 500), (F, 600, 610)], [10]),
        ([(W, 0, 500), (W, 600, 700), (F, 710, 710)], [110]),
        ([(W, 0, 500), (F, 599, 610)], [610]),
        # Not waited for: still under way, a read, and what the flush before has waited for.
        ([(W, 0, 500), (F, 10, 20)], [10]),
        ([(R, 0, 500), (F, 503, 503)], [0]),
        ([(W, 0, 500), (F, 503, 503), (F, 510, 511)], [503, 1]),
        ([(W, 0, 500), (F, 503, 503), (W, 505, 1005), (F, 1010, 1010)], [503, 505]),
        # A write that was under way at the flush before is waited for as a whole.
        ([(W, 0, 500), (F, 100, 110), (F, 503, 503)], [10, 503]),
        # Two flushes at once wait for the same.
        ([(W, 0, 500), (F, 503, 520), (F, 504, 521)], [520, 521]),
        ([(W, 0, 500), (R, 3, 4)], []),
    ],
)
def test_a_flush_with_its_writes(requests: list[Times], expected: list[float]) -> None:
    assert latencies_us(*requests) == expected
    assert latencies_us(*reversed(requests)) == expected


def slow_starts(requests: Sequence[Times]) -> list[int]:
    """By the definition, one flush at a time, in any order."""
    found = []
    for _, flush, end in (r for r in requests if r[0] == F):
        before = max((d for o, a, d in requests if o == F and d <= flush and a < flush), default=-1)
        writes = [(a, d) for o, a, d in requests if o in (W, Z) and before < d <= flush]
        start = flush
        while joining := [a for a, d in writes if d > start - PAUSE_NS // 1000 and a < start]:
            start = min(joining)
        found.append(end - start)
    return found


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from([W, F, Z, R]), st.integers(0, 900), st.integers(0, 300)),
        max_size=14,
        unique_by=lambda drawn: drawn[1],
    )
)
def test_it_is_what_the_definition_says(drawn: list[tuple[Operation, int, int]]) -> None:
    requests = [(operation, at, at + lasting) for operation, at, lasting in drawn]
    assert sorted(latencies_us(*requests or [(R, 0, 1)])) == sorted(slow_starts(requests))


def commits(write_ns: int, flush_ns: int = 0) -> list[CompletedRequest]:
    """Ten times a write, 3 us, and a flush."""
    rows, now_ns = [], 0
    for number in range(10):
        for operation, lasting_ns in ((W, write_ns), (F, flush_ns)):
            rows.append(
                completed(
                    operation=operation,
                    arrival_ns=now_ns,
                    completion_ns=now_ns + lasting_ns,
                    delivery_ns=now_ns + lasting_ns,
                    length_bytes=4096 if operation is W else 0,
                    sequence=2 * number + (operation is F),
                )
            )
            now_ns += lasting_ns + 3000
        now_ns += 200_000
    return rows


class TestGate:
    def test_a_flush_that_takes_no_time(self, freezingtime: RunProgram, tmp_path: Path) -> None:
        a = a_run(tmp_path / "a", commits(500_000))
        b = a_run(tmp_path / "b", commits(600_000))
        gate = freezingtime("compare", a, b, "--fail-if", "flush.p99 > +5%")
        assert gate.returncode == 0
        assert gate.stderr == (
            "freezingtime: --fail-if flush.p99 > +5%: data:flush.p99 is 0 in both; on this device "
            "a flush takes no time; fsync.p99 has the writes that it waits for\n"
        )
        better = freezingtime("compare", a, b, "--fail-if", "fsync.p99 > +5%")
        assert better.returncode == 1
        assert better.stderr == ""
        assert "data:fsync.p99 503us -> 603us, +100us (+19.881%)" in better.stdout
        same = freezingtime("compare", a, a, "--fail-if", "fsync.p99 > +5%", "--json")
        (found,) = json.loads(same.stdout)["comparisons"]
        assert (same.returncode, found["notes"], found["unfit"]) == (0, [], [])

    def test_a_latency_of_0_that_can_move_is_not_blamed_on_the_device(self, tmp_path: Path) -> None:
        rows = [*commits(500_000)[:-1], commits(500_000, flush_ns=9000)[-1]]
        a = a_run(tmp_path / "a", rows)
        notes = parse_condition("flush.p50 > 1us").notes(compared(a, a))
        assert notes == ["flush.p50 > 1us: data:flush.p50 is 0 in both"]
        assert parse_condition("flush.max > 1us").notes(compared(a, a)) == []
        assert parse_condition("count > +0").notes(compared(a, a)) == []

    @pytest.mark.parametrize(
        ("tables", "said", "bad_first"),
        [
            ({"job": {"exit_status": 3}}, "its job ended with exit status 3", True),
            ({"audit": {"valid": False}}, "NOT VALID: its results are not exact", False),
        ],
    )
    def test_unfit_runs_do_not_pass(
        self,
        freezingtime: RunProgram,
        tmp_path: Path,
        tables: dict[str, dict[str, object]],
        said: str,
        bad_first: bool,
    ) -> None:
        good = a_run(tmp_path / "good", reads(10))
        bad = a_run(tmp_path / "bad", reads(10), **tables)
        runs = [bad, good] if bad_first else [good, bad]
        gate = freezingtime("compare", *runs, "--fail-if", "p99 > +5%")
        assert gate.returncode == 1
        assert f"UNFIT {bad}: {said}\n" in gate.stdout
        looked_at = freezingtime("compare", *runs)  # no gate
        assert looked_at.returncode == 1
        assert f"UNFIT {bad}: {said}\n" in looked_at.stdout
        document = json.loads(freezingtime("compare", *runs, "--json").stdout)
        assert document["comparisons"][0]["unfit"] == [f"{bad}: {said}"]

    def test_nor_does_a_killed_one(self, freezingtime: RunProgram, tmp_path: Path) -> None:
        good = a_run(tmp_path / "good", reads(10))
        (tmp_path / "killed").mkdir()
        stream_of(tmp_path / "killed" / RECORD_NAME, [reads(10)])
        gate = freezingtime("compare", good, tmp_path / "killed", "--fail-if", "p99 > +5%")
        assert gate.returncode == 1
        assert "UNFIT" in gate.stdout
        # A record alone, as of a replay, has no job that could have failed.
        records = [good / RECORD_NAME, good / RECORD_NAME]
        assert freezingtime("compare", *records, "--fail-if", "p99 > +5%").returncode == 0

    def test_what_fsync_has_not(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="fsync has no iops; flush has"):
            parse_condition("fsync.iops < 5")
        a = a_run(tmp_path / "a", reads(10))
        with pytest.raises(InputError, match="no such metric"):
            failures([parse_condition("fsync.p99 > +5%")], compared(a, a))


@pytest.mark.guest
def test_it_is_what_an_application_waits(tmp_path: Path) -> None:
    """fio writes to the page cache, and measures fdatasync."""
    ran = run_guest(
        "fio --name=t --filename=/dev/vda --bs=4k --rw=randwrite --size=8m --ioengine=psync "
        "--fdatasync=1 --number_ios=100 --output-format=json",
        "constant:read=100us,write=500us,flush=0ns,size=64MiB,name=data",
        out=tmp_path / "run",
    )
    said_ns = ran.fio()["sync"]["lat_ns"]["mean"]
    comparison = compared(tmp_path / "run", tmp_path / "run")
    figures = {str(found.key): found.a for found in comparison.metrics}
    assert figures["data:flush.max"] == 0
    assert figures["data:fsync.count"] == figures["data:flush.count"]
    assert figures["data:fsync.mean"] == pytest.approx(said_ns, rel=0.02)
