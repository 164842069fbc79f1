# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's clock is tied to guest time: a planted slow request is what a slow operation had."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import freezingtime as ft
from freezingtime.application.clock_tie import ClockTie
from freezingtime.store.saved_machine import remove_saved
from freezingtime.trace.record_digest import record_digest
from tests.support.guestlib import GuestRun, read_record, run_guest

pytestmark = pytest.mark.guest

#: A log as pgbench writes it, of writes that are each synced; the clock is read without a fork.
LOGGER = """
count=0
while [ $count -lt 20 ]; do
    count=$((count + 1))
    before=$EPOCHREALTIME
    dd if=/dev/zero of=/dev/vda bs=4k count=1 seek=$count conv=fsync,notrunc 2>/dev/null
    after=$EPOCHREALTIME
    us=$((${after%.*}${after#*.} - ${before%.*}${before#*.}))
    echo "0 $count $us 0 ${after%.*} ${after#*.}"
done >pgbench_log.1
"""
DISK = "constant:read=50us,write=50us,flush=300us,name=data"
PLANTED = 8
FAULT = rf"fault=slow_by=4ms\,operation=flush\,nth={PLANTED}"


def logged(out: Path, pattern: str = "pgbench_log*", **plan: object) -> GuestRun:
    return run_guest(LOGGER, f"{DISK},{FAULT}", out=out, collect=[pattern], **plan)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> GuestRun:
    return logged(tmp_path_factory.mktemp("clock") / "run")


def test_a_slow_operation_names_the_very_request_that_was_slow(run: GuestRun) -> None:
    tie = run.result.realtime
    assert isinstance(tie, ClockTie)
    assert 0 < tie.width_ns < 30_000
    out = run.result.plan.out
    assert out is not None
    frame = ft.open_run(out).slow_operations()
    assert frame.line.nunique() == 20
    flushes = [row for row in read_record(out) if row["operation"] == "flush"]
    assert [row["sequence"] for row in flushes if row["fault"]] == [
        flushes[PLANTED - 1]["sequence"]
    ]
    slow = frame[frame.fault.notna()]
    assert slow.sequence.tolist() == [flushes[PLANTED - 1]["sequence"]]
    assert slow.line.tolist() == [frame.line.iloc[0]] == [PLANTED]
    assert (slow.delivery_ns - slow.arrival_ns).tolist() == [4_300_000]
    assert slow.shared_ns.tolist() == [4_300_000]
    # The application is one process: each operation's flush is the one of its number.
    own = frame[frame.is_certain & (frame.operation == "flush")].sort_values("line")
    assert own.sequence.tolist() == [row["sequence"] for row in flushes[: len(own)]]
    assert len(own) == 20


@pytest.mark.slow
def test_reading_the_clock_moves_no_figure(run: GuestRun, tmp_path: Path) -> None:
    """A pattern of the same length that matches nothing: the same job, and no clock is read."""
    other = logged(tmp_path / "other", "qgbench_log*")
    assert other.result.realtime is None
    out = run.result.plan.out
    assert out is not None
    assert record_digest(out) == record_digest(tmp_path / "other")
    first, second = (
        json.loads((path / "run.json").read_text()) for path in (out, tmp_path / "other")
    )
    for part in ("audit", "faults", "statistics"):
        assert first[part] == second[part]
    for name in ("start_ns", "end_ns", "exit_status"):
        assert first["job"][name] == second["job"][name]


@pytest.mark.slow
def test_a_guest_that_is_saved_is_left_as_it_was(tmp_path: Path) -> None:
    name = f"test-clock-{os.getpid()}"
    try:
        said = logged(tmp_path / "run", save_as=name).result.realtime
    finally:
        remove_saved(name)
    assert said == "the machine was saved as the job left it, without reading its clock"


@pytest.mark.slow
def test_a_clock_that_is_set_is_no_clock(tmp_path: Path) -> None:
    """The log is of before: what was tied behind the job is another clock."""
    script = LOGGER + "date -s 2030-01-01 >/dev/null\n"
    out = tmp_path / "run"
    run_guest(script, DISK, out=out, collect=["pgbench_log*"])
    with pytest.warns(UserWarning, match="its times are not those of the job"):
        assert ft.open_run(out).slow_operations().empty


@pytest.mark.slow
def test_a_slow_read_of_fio_names_its_request(tmp_path: Path) -> None:
    """fio's times are good to 2 ms only; a read of 20 ms is found, and one of 0.3 ms may be."""
    fault = r"fault=slow_by=20ms\,operation=read\,nth=30"
    options = "--direct=1 --rw=randread --bs=4k --size=64m --number_ios=60"
    log = "--write_lat_log=run --log_unix_epoch=1 --log_offset=1"
    out = tmp_path / "run"
    run_guest(
        f"fio --name=t --filename=/dev/vda {options} {log} >/dev/null",
        f"constant:300us,name=data,{fault}",
        out=out,
        collect=["run_lat.*"],
    )
    frame = ft.open_run(out).slow_operations(60)
    [slow] = frame[frame.fault.notna() & frame.is_certain].itertuples()
    assert slow.Index == 0
    assert slow.shared_ns <= slow.delivery_ns - slow.arrival_ns == 20_300_000
    assert 1_000_000 <= slow.uncertain_ns < 1_020_000
    offsets = {
        number: int(line.split(",")[4])
        for number, line in enumerate(
            (out / "collected" / "run_lat.1.log").read_text().splitlines(), start=1
        )
    }
    assert offsets[slow.line] == slow.offset_bytes
    # Of each other its own request is among those that may have been under way.
    for line, requests in frame.groupby("line"):
        assert offsets[line] in set(requests.offset_bytes)


@pytest.mark.slow
def test_the_guest_s_clock_runs_with_guest_time(tmp_path: Path, run: GuestRun) -> None:
    """Of the same snapshot, after 2000 s and after none: bounds of the one constant."""
    log = "echo 0 1 5 0 ${EPOCHREALTIME%.*} ${EPOCHREALTIME#*.} >pgbench_log.1"
    out = tmp_path / "run"
    late = run_guest(f"sleep 2000; {log}", DISK, out=out, collect=["pgbench_log*"]).result
    assert late.job.end_ns - late.job.start_ns > 2000 * 10**9
    first, second = run.result.realtime, late.realtime
    assert isinstance(first, ClockTie)
    assert isinstance(second, ClockTie)
    assert abs(second.offset_min_ns - first.offset_min_ns) < 1000
    assert abs(second.offset_max_ns - first.offset_max_ns) < 1000
