# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run leaves on the console, and that its figures are those of its record."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.application.figure import make_figure
from freezingtime.application.read import Said
from freezingtime.cli.guest.run import run_command
from freezingtime.cli.guest.summary import print_summary
from freezingtime.clock.base import KvmAccount
from freezingtime.disk.spec import parse_disk
from freezingtime.emulator.loop import CompletedRequest, Totals
from freezingtime.errors import InputError
from freezingtime.images.guest_image import GuestImage
from freezingtime.request import Operation
from freezingtime.results.latency_summary import summarize_disk
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.progress import disk_tally
from freezingtime.runs.progress.disk_tally import DiskTally, OperationFigures
from freezingtime.runs.result import RunResult
from freezingtime.vm.job import JobResult
from tests.support.recordlib import completed, requests


def tally_of(rows: list[CompletedRequest], start_ns: int = 0) -> DiskTally:
    tally = DiskTally("data")
    tally.start(start_ns)
    for row in rows:
        tally.note(row)
    return tally


def figures_of_record(rows: list[CompletedRequest]) -> list[OperationFigures]:
    """By the code that reads records."""
    columns = {
        name: np.array([int(getattr(row, name)) for row in rows], np.int64)
        for name in ("operation", "length_bytes", "arrival_ns", "delivery_ns")
    }
    return [
        OperationFigures(
            found.operation,
            found.count,
            found.iops,
            found.bandwidth_bytes_per_s if found.operation in ("read", "write") else None,
            found.mean_ns,
            found.p50_ns,
            found.p99_ns,
            found.p99_9_ns,
        )
        for found in summarize_disk(columns)[1:]
    ]


@settings(max_examples=20)
@given(requests(), st.integers(1, 50))
def test_figures_are_those_of_the_record(rows: list[CompletedRequest], waiting_max: int) -> None:
    """Also where latencies are counted in parts, as in a long run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk_tally, "WAITING_MAX", waiting_max)
        assert tally_of(rows).figures() == figures_of_record(rows)


def test_figures_are_of_the_job_alone() -> None:
    """Before it, the guest looks for partitions; that request may end after the job's start."""
    before = completed(arrival_ns=1000, delivery_ns=1_000_000)
    own = completed(arrival_ns=900_000, delivery_ns=1_000_000)
    assert tally_of([before, own], 900_000).figures() == figures_of_record([own])
    assert tally_of([before], 900_000).figures() == []
    assert tally_of([own], 10**9).figures() == []


def result_of(**changes: object) -> RunResult:
    """A run of 2.1 s that took 84 s; nothing of a guest is looked at."""
    job = JobResult(0, 1_000_000, 2_101_000_000, 2_101_000_000, 84.0, Totals(request_count=2), ())
    figures = tally_of([completed(), completed(operation=Operation.FLUSH, length_bytes=0)])
    result = RunResult(
        plan=RunPlan(disks=(), script=b""),
        job=job,
        wall_host_s=90.0,
        image=cast("GuestImage", None),
        qemu_version="",
        qemu_sha256="",
        ready_ns=0,
        figures={"data": figures.figures(), "log": []},
    )
    job_changes = {
        key: changes.pop(key) for key in ("totals", "complaints", "disk_errors") if key in changes
    }
    return replace(result, job=replace(job, **job_changes), **changes)  # type: ignore[arg-type]


def summary(
    capsys: pytest.CaptureFixture[str], result: RunResult, *, verbose: bool = False
) -> list[str]:
    print_summary(result, verbose=verbose)
    return [line.removeprefix("freezingtime: ") for line in capsys.readouterr().err.splitlines()]


def test_a_run_ends_with_its_figures_and_how_long_it_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Said([make_figure("tps", 97.865773, "1/s", ""), make_figure("wait", 2.5e5, "ns", "")])
    assert summary(capsys, result_of(said=said)) == [
        "app.tps 97.8658 1/s",
        "app.wait 250 us",
        "disk  operation    IOPS   MB/s  mean   p50   p99  p99.9",
        "data  read       100000  409.6  10us  10us  10us   10us",
        "data  flush      100000      -  10us  10us  10us   10us",
        "data  fsync           -      -  10us  10us  10us   10us",
        "exact: 2 of 2 requests on time",
        "2.1 s in the guest took 84 s (40 times slower)",
    ]


def test_a_change_that_never_came_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The job took 2.1 s, from 1 ms on."""
    texts = ("constant:1us,at=2.1s read=1ms", "constant:1us,at=2100000001ns read=1ms")
    plan = RunPlan(disks=[parse_disk(text) for text in texts], script=b"")
    lines = summary(capsys, result_of(plan=plan))
    assert [line for line in lines if line.startswith("change ")] == [
        "change 2.100000001s read=1ms of log: NEVER REACHED, as the load ended before"
    ]


def test_how_the_time_was_spent_is_said_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    totals = Totals(request_count=2, frozen_host_ns=80_120_000_000, warped_ns=1_234_567)
    assert summary(capsys, result_of(totals=totals), verbose=True)[-1] == (
        "guest time 2.1s, real time 84.00 s, frozen 80.12 s, warped 1.234567ms; "
        "what the words mean: freezingtime explain frozen"
    )


def test_why_it_is_not_exact_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    late = Totals(request_count=5, late_count=2, worst_late_ns=1500, disturbed_ns=7000)
    lines = summary(capsys, result_of(totals=late, complaints=["WARNING: made up"]))
    assert lines[4:8] == [
        "NOT EXACT: 3 of 5 requests on time",
        "the latest request was 1.5us late",
        "NOT VALID: at guest time 7us an interrupt reached the guest that was of the host's "
        "making, and came at a time of the host's",
        "NOT VALID: kernel message: WARNING: made up",
    ]


def test_what_rules_of_faults_did_is_said_also_if_it_was_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    faults = {"data": [("error=EIO", 0), ("slow=2", 1), ("hang,for=1s", 7)]}
    errors = [f"I/O error, dev vda, sector {number}" for number in range(5)]
    lines = summary(capsys, result_of(faults=faults, disk_errors=errors))
    assert lines[5:12] == [
        "fault error=EIO of data: NEVER HIT",
        "fault slow=2 of data: hit 1 request",
        "fault hang,for=1s of data: hit 7 requests",
        *(f"kernel message: {line}" for line in errors[:3]),
        "2 more of them; run.json has all",
    ]


@pytest.mark.parametrize(
    ("late_count", "verdict", "of_several", "account"),
    [
        (
            0,
            "kvm clock: 5 requests, delivered within 380ns (p99), none beyond 10us",
            (0, 0),
            "1.5us left in); 40us of computing skipped",
        ),
        (
            2,
            "kvm clock, NOT VALID: 5 requests, delivered within 380ns (p99), 2 beyond 10us",
            (30_000, 7_000),
            "1.5us left in, 30us beside another CPU); 40us of computing skipped; "
            "7us of waiting for other CPUs to leave",
        ),
    ],
)
def test_a_run_under_kvm_is_never_called_exact(
    capsys: pytest.CaptureFixture[str],
    late_count: int,
    verdict: str,
    of_several: tuple[int, int],
    account: str,
) -> None:
    stolen_ns, gathering_ns = of_several
    kvm = (31, 812_000, 1_500, stolen_ns, 40_000, gathering_ns, 3598, 3480, 1_000_000, 1)
    totals = Totals(
        request_count=5,
        late_count=late_count,
        worst_late_ns=15_000,
        kvm=KvmAccount(*kvm),
        lateness=Counter({14: 4, 380: 1}),
    )
    lines = summary(capsys, result_of(totals=totals))
    assert lines[4] == verdict
    took = "the host took the CPU 31 times (812us taken out of guest time, "
    assert f"{took}{account}" in lines
    worst = "the worst request is off by 15us: what it was late, and what was left in"
    assert (worst in lines) == bool(late_count)
    assert not any("exact" in line for line in lines)


@pytest.mark.parametrize(
    ("environment", "totals", "shown"),
    [
        ({"FORCE_COLOR": "1"}, Totals(), "\x1b[1;32mexact\x1b[0m: "),
        ({"FORCE_COLOR": "1"}, Totals(late_count=1), "\x1b[1;31mNOT EXACT\x1b[0m: "),
        ({"FORCE_COLOR": "1"}, Totals(disturbed_ns=1), "freezingtime: exact: "),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, Totals(), "exact\x1b[0m: "),
        ({}, Totals(), "freezingtime: exact: "),
    ],
)
def test_colour_is_for_terminals(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    totals: Totals,
    shown: str,
) -> None:
    """rich takes FORCE_COLOR for a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    print_summary(result_of(totals=totals), verbose=False)
    printed = capsys.readouterr().err
    assert shown in printed
    assert ("32m" in printed) == ("32m" in shown)


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(InputError, match=r"^--verbose: --quiet suppresses"):
        run_command(command=["true"], quiet=True, verbose=True)
