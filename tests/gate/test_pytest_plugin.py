# SPDX-License-Identifier: GPL-2.0-or-later
"""`pytest --freezingtime-baseline`: in pytest's own pytester, in this process. Of replays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# pytester forgets what a test imports; numpy and others cannot be loaded again.
import freezingtime.explore.sweep.replay_unit
import freezingtime.testing.gate  # noqa: F401

PLUGIN = "freezingtime"
TEST = """
def test_reads(freezingtime_gate):
    freezingtime_gate(
        workload="randread,bs=4k,qd=1,count=20", disks=["{device}"], fail_if=["p99 > +1%"]
    )
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Any:
    def run_test(test: str, *arguments: str) -> pytest.RunResult:
        path = pytester.makepyfile(test_it=test)
        options = ("--freezingtime-baseline", "base", "--freezingtime-store", "store")
        return pytester.runpytest_inprocess("-p", PLUGIN, *options, *arguments, path)

    return run_test


def test_a_test_fails_with_the_comparison_as_its_message(run: Any, pytester: Any) -> None:
    same, slower = TEST.format(device="constant:100us"), TEST.format(device="constant:102us")
    missing = run(same)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["there is no baseline base/*; make it with --freezingtime-upd*"])
    run(same, "--freezingtime-update").assert_outcomes(passed=1)
    passed = run(same)
    passed.assert_outcomes(passed=1)
    passed.stdout.fnmatch_lines(
        [
            "*= freezingtime =*",
            "gate * figure * baseline  now    change         verdict",
            "test_it.py::test_reads  constant:100us:all.p99  100us     100us  0ns *  passed",
        ]
    )
    failed = run(slower, "--freezingtime-json", "gates.json", "--junitxml", "junit.xml")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        [
            "FAILED p99 > +1%: constant:100us:all.p99 100us -> 102us, +2us (+2.000%)",
            "base/test_it.py-test_reads/requests.parquet -> *: 20 of 20 requests differ *",
            "first differing requests: constant:100us 0: latency_ns 100000 -> 102000",
        ]
    )
    [gate] = json.loads((pytester.path / "gates.json").read_text())["gates"]
    assert (gate["test"], gate["verdict"]) == ("test_it.py::test_reads", "FAILED")
    [comparison] = gate["comparison"]["comparisons"]
    assert comparison["failed"][0]["condition"] == "p99 > +1%"
    assert "freezingtime" in (pytester.path / "junit.xml").read_text()


def test_what_is_not_right_is_one_line(run: Any) -> None:
    test = """
import pytest

@pytest.mark.parametrize(("given", "problem"), [
    ({"fail_if": "p9 > +1%"}, "unknown metric 'p9'"),
    ({"fail_if": "p99 > +1%", "wrkload": "x"}, "give either a job, or a workload or a trace"),
    ({"fail_if": "p99 > +1%", "job": "true", "memry": "1GiB"}, "memry: is no option here; did y"),
    ({"failif": "p99 > +1%", "workload": "randread"}, "failif: is no .* did you mean fail_if"),
    ({"fail_if": "p99 > +1%", "job": "true", "out": "x"}, "out: is no option here"),
])
def test_wrong(freezingtime_gate, given, problem):
    with pytest.raises(Exception, match=problem):
        freezingtime_gate(disks=["constant:1us"], **given)
    if "workload" not in given:
        with pytest.raises(Exception, match="was gated in this test; give it a name="):
            freezingtime_gate(disks=["constant:1us"], **given)
"""
    run(test.replace('{"fail_if": "p9 > +1%"}', '{"fail_if": "p9 > +1%", "job": "true"}')
        ).assert_outcomes(passed=5)  # fmt: skip


def test_without_a_baseline_there_is_no_gate(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(test_it=TEST.format(device="constant:1us"))
    result = pytester.runpytest_inprocess("-p", PLUGIN, "-rs", path)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * needs --freezingtime-baseline DIR"])


def test_what_does_not_go_without_a_baseline_is_refused(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(test_it=TEST.format(device="constant:1us"))
    for arguments, problem in (
        (["--freezingtime-update"], "--freezingtime-update: needs --freezingtime-baseline DIR"),
        (["--freezingtime-json=x"], "--freezingtime-json: needs --freezingtime-baseline DIR"),
        (
            ["--freezingtime-json=no/x", "--freezingtime-baseline=base"],
            "--freezingtime-json no/x: no directory no; create it first",
        ),
    ):
        result = pytester.runpytest_inprocess("-p", PLUGIN, *arguments, path)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {problem}"])


def test_figures_that_cannot_be_written_hide_no_failure(run: Any, pytester: Any) -> None:
    (pytester.path / "gates.json").mkdir()
    failed = run(TEST.format(device="constant:1us"), "--freezingtime-json", "gates.json")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        ["there is no baseline *", "ERROR: --freezingtime-json gates.json: I*"]
    )
    passed = run("def test_nothing(): pass", "--freezingtime-json", "gates.json")
    passed.assert_outcomes(passed=1)
    assert passed.ret == pytest.ExitCode.USAGE_ERROR


def test_who_does_not_gate_waits_for_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, pytest; import freezingtime.testing.plugin; "
        "slow = {'numpy', 'pandas', 'pyarrow', 'msgspec', 'freezingtime.api'} & set(sys.modules); "
        "sys.exit(str(slow) if slow else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
