# SPDX-License-Identifier: GPL-2.0-or-later
"""Conditions on several phases: what is a shift, and what is their spread."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freezingtime.cli.results import gate
from freezingtime.errors import InputError
from freezingtime.explore.gate import candidate
from freezingtime.explore.gate.phases import phase_points
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.sweep import Sweep, SweepObserver, SweepOptions, run_sweep
from freezingtime.results.condition import parse_condition
from freezingtime.results.exports.json_document import to_json
from freezingtime.results.judged import JudgedComparison
from freezingtime.results.phases import judge_phases, require_enough_phases
from freezingtime.results.recorded_run import RecordedRun, open_recorded_run
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions
from tests.results.test_compare import a_run, reads
from tests.support.guestlib import run_guest

SPREAD = [1_000_000 + 40_000 * number for number in range(10)]


def phases_of(path: Path, guest_ns: Sequence[int], exit_status: int = 0) -> list[RecordedRun]:
    path.mkdir()
    return [
        open_recorded_run(
            a_run(
                path / f"{number}",
                reads(10_000),
                job={"guest_ns": each, "exit_status": exit_status if number else 0},
            ),
            print,
        )
        for number, each in enumerate(guest_ns)
    ]


@pytest.fixture
def baseline(tmp_path: Path) -> list[RecordedRun]:
    return phases_of(tmp_path / "baseline", SPREAD)


def judged_by(a: list[RecordedRun], b: list[RecordedRun], *texts: str) -> JudgedComparison:
    return judge_phases(a, b, [parse_condition(text) for text in texts])


def test_a_shift_is_seen_through_a_spread_that_is_larger(
    baseline: list[RecordedRun], tmp_path: Path
) -> None:
    slower = phases_of(tmp_path / "b", [each * 101 // 100 for each in SPREAD])
    judged = judged_by(baseline, slower, "guest_time > +0.5%")
    [spread] = judged.spreads
    assert spread.p_value == 1 / 1024
    [failure] = judged.failures
    assert (failure.found.a, failure.found.b) == (1_180_000, 1_191_800)
    assert not judged.has_passed
    for passed in ("guest_time < -0.5%", "guest_time > +12us"):
        assert judged_by(baseline, slower, passed).has_passed
    for failed in ("guest_time >= +1%", "guest_time > 1.1ms"):
        assert not judged_by(baseline, slower, failed).has_passed
    assert judged_by(baseline, slower, "guest_time > +1%").has_passed, "exactly that is not more"
    assert not judged_by(slower, baseline, "guest_time < -0.5%").has_passed
    document = json.loads(to_json([judged]))["comparisons"][0]["phases"][0]
    assert document["a"] == SPREAD
    assert document["p_value"] == 1 / 1024


def test_a_spread_without_a_shift_passes(baseline: list[RecordedRun], tmp_path: Path) -> None:
    """Also where every single pair is a change that the condition would fail by."""
    shuffled = random.Random(1).sample(SPREAD, len(SPREAD))
    assert judged_by(baseline, phases_of(tmp_path / "b", shuffled), "guest_time > +0").has_passed
    nine = [each + 40_000 if place else each - 1_000 for place, each in enumerate(SPREAD)]
    judged = judged_by(baseline, phases_of(tmp_path / "c", nine), "guest_time > +0")
    assert judged.spreads[0].p_value == 2 / 1024
    assert judged.has_passed
    assert judged_by(baseline, baseline, "guest_time > +0").has_passed
    assert judged_by(baseline, baseline, "guest_time > +0").spreads[0].p_value == 1.0


def test_a_phase_that_failed_never_passes(baseline: list[RecordedRun], tmp_path: Path) -> None:
    failed = phases_of(tmp_path / "b", SPREAD, exit_status=3)
    judged = judged_by(baseline, failed, "guest_time > +1%")
    assert not judged.failures
    assert not judged.has_passed
    assert "its job ended with exit status 3" in judged.unfit[0]


@pytest.mark.parametrize(
    ("count", "texts", "problem"),
    [
        (9, ["p99 > +1%"], "--phases 9: cannot show a change of 1 figure .* give --phases 10"),
        (10, ["p99 != +0"], "2 figures .* give --phases 11"),
        (11, ["p99 > +1%", "p50 > +1%", "max > +1%"], "3 figures .* give --phases 12"),
        (20, ["p99 == +0"], "== .0: has no meaning with --phases; write !="),
    ],
)
def test_too_few_phases_are_refused(count: int, texts: list[str], problem: str) -> None:
    conditions = [parse_condition(text) for text in texts]
    with pytest.raises(InputError, match=problem):
        require_enough_phases(count, conditions)
    require_enough_phases(2, [parse_condition("p99 > 1ms")])


def test_phases_differ_in_what_is_harmless() -> None:
    options = RunOptions(seed=7, start_delay="1s", env=["A=1"])
    request = RunRequest(options, Command(line="true"))
    points = phase_points(request, 10)
    assert points[0] == {}
    assert points == phase_points(request, 10), "the same on every machine"
    units = [request.unit(point).options for point in points]
    assert [each.seed for each in units] == list(range(7, 17))
    delays = [int(each.start_delay.removesuffix("ns")) for each in units[1:]]
    assert len(set(delays)) == 9
    assert all(10**9 <= each < 6 * 10**9 for each in delays)
    assert all(each.env[0] == "A=1" and len(each.env) == 2 for each in units[1:])
    assert len({len(each.env[1]) for each in units[1:]}) == 9
    replay = ReplayRequest(["constant:1us"], "randread,count=2,seed=3", None, ReplayOptions())
    assert phase_points(replay, 2) == [{}, {"seed": "1", "workload.seed": "4"}]


def test_phases_of_a_replay_are_gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_here(
        sweep: Sweep, request: SweepRequest, options: SweepOptions, observer: SweepObserver
    ) -> None:
        run_sweep(sweep, request, replace(options, workers=1), observer)

    monkeypatch.setattr(candidate, "run_sweep", run_here)

    def command(disk: str, *arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(
            gate.app,
            [
                *("--workload", "randread,bs=4k,qd=1,count=30", "--disk", disk),
                *("--phases", "10", "--store", str(tmp_path / "store")),
                *("--baseline", str(tmp_path / "baseline"), *map(str, arguments)),
            ],
            standalone_mode=False,
        )
        if result.exception is not None:
            raise result.exception
        return result.return_value, result.output

    assert command("constant:100us", "--update")[0] == 0
    assert sorted(path.name for path in (tmp_path / "baseline").iterdir())[0] == "phase-0"
    status, said = command("constant:100us", "--fail-if", "p50 > +0.5%")
    assert status == 0
    assert "the candidate: 10 phases, 0 of them run" in said
    status, said = command("constant:101us", "--fail-if", "p50 > +0.5%")
    assert status == 1
    assert "100us (100us to 100us)  101us (101us to 101us)  +1us (+1.000%)  0.00098" in said
    with pytest.raises(InputError, match="has 10 of 11 phases; make it again with --phases 11"):
        command("constant:101us", "--fail-if", "p50 > +0.5%", "--phases", "11")


@pytest.mark.guest
@pytest.mark.slow
def test_the_job_starts_later_and_is_on_time() -> None:
    """To what the kernel has to do at its timers; a short delay is within the wait for disks."""
    starts_ns = []
    for delay_ns in (0, 3_000_000_000, 3_001_234_567):
        ran = run_guest("dd if=/dev/vda bs=4k count=9", "constant:10us", start_delay_ns=delay_ns)
        assert ran.result.valid
        assert ran.result.as_dict()["plan"]["start_delay_ns"] == (delay_ns or None)
        starts_ns.append(ran.result.job.start_ns)
    without_ns, later_ns, still_later_ns = starts_ns
    assert 2.9e9 < later_ns - without_ns < 3.1e9
    assert abs(still_later_ns - later_ns - 1_234_567) < 10_000


def test_a_delay_is_no_longer_than_the_guest_waits() -> None:
    make_plan(RunOptions(start_delay="20s"), script=Command(line="true"))
    with pytest.raises(InputError, match="--start-delay 21s: must be from 0 to 20s"):
        make_plan(RunOptions(start_delay="21s"), script=Command(line="true"))
