# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime gate`: what passes, what fails, and what cannot be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from freezingtime.cli.results import gate
from freezingtime.errors import InputError, RunError
from freezingtime.explore.gate import gate as gate_module
from freezingtime.explore.gate.candidate import Execution
from freezingtime.explore.sweep import replay_unit
from tests.gate.conftest import commit
from tests.results.test_compare import a_run, reads

SOFTWARE = {"kernel": "6.1", "qemu_sha256": "aa", "agent": "bb", "packages": {"fio": "3.33"}}


def command(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(gate.app, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status, result.output
    return result.output


def a_baseline(path: Path, *latencies_ns: int, **tables: dict[str, Any]) -> Path:
    versions = SOFTWARE | tables.pop("versions", {})
    return a_run(path, reads(*latencies_ns), versions=versions, **tables)


@pytest.fixture
def candidate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes the run that the job has given, without running it."""

    def become(*latencies_ns: int, **tables: dict[str, Any]) -> None:
        number = len(list(tmp_path.glob("candidate*")))
        path = a_baseline(tmp_path / f"candidate{number}", *latencies_ns, **tables)
        found = [Execution(path, "0" * 64, is_cached=True)]
        monkeypatch.setattr(gate_module, "execute_points", lambda *_, **__: found)

    return become


def test_what_got_worse_fails(candidate: Any, tmp_path: Path) -> None:
    baseline = a_baseline(tmp_path / "baseline", 10_000)
    given = ("--baseline", baseline, "--fail-if", "read.p99 > +1%")
    candidate(10_000)
    said = command(*given, "--", "true")
    assert "the candidate was found in the store" in said
    assert "identical: 1 request, " in said
    candidate(11_000)
    assert "FAILED read.p99 > +1%" in command(*given, "--", "true", status=1)
    report = tmp_path / "r.md"
    command(*given, "--format", f"markdown={report}", "--", "true", status=1)
    assert "**Failed**" in report.read_text()
    candidate(10_000, job={"exit_status": 2})
    assert "its job ended with exit status 2" in command(*given, "--", "true", status=1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kernel": "6.2"}, "versions.kernel is 6.1 in the baseline, and 6.2 now"),
        ({"qemu_sha256": "ab"}, "versions.qemu_sha256 is aa in the baseline, and ab now"),
        ({"agent": "bc"}, "versions.agent is bb in the baseline, and bc now"),
        ({"packages": {"fio": "3.34"}}, "versions.packages.fio is 3.33 in the baseline, and 3.34"),
        ({"packages": {}}, "versions.packages.fio is 3.33 in the baseline, and - now"),
    ],
)
def test_other_software_is_not_comparable(
    changed: dict[str, Any], said: str, candidate: Any, tmp_path: Path
) -> None:
    """Also where the figures are the same, or a condition is met."""
    baseline = a_baseline(tmp_path / "baseline", 10_000)
    for latency_ns in (10_000, 11_000):
        candidate(latency_ns, versions=changed)
        output = command(
            *("--baseline", baseline, "--fail-if", "read.p99 > +1%", "--", "true"), status=3
        )
        assert f"not comparable: {said}" in output


def test_our_own_version_may_differ(candidate: Any, tmp_path: Path) -> None:
    baseline = a_baseline(tmp_path / "baseline", 10_000)
    candidate(10_000, versions={"freezingtime": "0.2.0"})
    command("--baseline", baseline, "--fail-if", "p99 > +0", "--", "true")


def test_a_baseline_is_replaced_whole(
    candidate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = tmp_path / "below" / "baseline"
    candidate(10_000)
    for latency_ns in (10_000, 12_000):
        candidate(latency_ns)
        assert f"{baseline} is the baseline now" in command(
            "--baseline", baseline, "--update", "--", "true"
        )
        command("--baseline", baseline, "--fail-if", "p99 != +0", "--", "true")
    candidate(10_000, audit={"valid": False})
    with pytest.raises(RunError, match=r"NOT VALID: .*; the baseline stays as it was"):
        command("--baseline", baseline, "--update", "--", "true")
    candidate(12_000)
    command("--baseline", baseline, "--fail-if", "p99 != +0", "--", "true")
    assert [path.name for path in baseline.parent.iterdir()] == ["baseline"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError, match="is not empty, and no run directory"):
        command("--baseline", tmp_path / "mine", "--update", "--", "true")
    # Whoever is in a directory keeps it.
    monkeypatch.chdir(baseline)
    for name in (".", "none/.."):
        with pytest.raises(InputError, match=rf"--baseline {name}: is the current directory, or"):
            command("--baseline", name, "--update", "--", "true")
    assert not Path("none").exists()


def test_an_interrupted_update_leaves_the_baseline(
    tmp_path: Path, candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline, rename = tmp_path / "baseline", Path.rename
    candidate(10_000)
    command("--baseline", baseline, "--update", "--", "true")

    def interrupted(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(path, target)

    candidate(12_000)
    with monkeypatch.context() as patches:
        patches.setattr(Path, "rename", interrupted)
        command("--baseline", baseline, "--update", "--", "true", status=130)
    assert [path.name for path in tmp_path.iterdir() if "baseline" in path.name] == ["baseline"]
    command("--baseline", baseline, "--fail-if", "p99 != +0", "--", "true", status=1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--fail-if", "p99 > +1%"], "give a COMMAND behind '--'"),
        (["--", "true"], "baseline: does not exist; make one with --update"),
        (["--fail-if", "p98 > +1%", "--", "true"], "unknown metric 'p98'"),
        (["--format", "x", "--", "true"], "--format x: unknown format"),
    ],
)
def test_bad_input_is_named_before_anything_runs(
    arguments: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        command("--baseline", tmp_path / "baseline", *arguments)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"other: is no run directory: it has no run\.json"):
        command("--baseline", tmp_path / "other", "--", "true")
    with pytest.raises(InputError, match="give at least one --fail-if"):
        command("--baseline", a_baseline(tmp_path / "b", 1), "--", "true")


@pytest.mark.guest
@pytest.mark.slow
def test_a_job_in_a_guest_is_gated(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline"
    fixed = ["--baseline", baseline, "--store", tmp_path / "store"]
    job = ["--", "dd", "if=/dev/zero", "of=/dev/vda", "bs=4k", "count=50", "oflag=direct"]
    disk = ["--disk", "constant:10us,name=data"]
    assert "the candidate was run" in command(*fixed, *disk, "--update", *job)
    document = json.loads((baseline / "run.json").read_text())
    assert re.fullmatch("[0-9a-f]{64}", document["versions"]["agent"])
    condition = ["--fail-if", "guest_time > +1%", "--fail-if", "write.p99 != +0"]
    said = command(*fixed, *disk, *condition, *job)
    assert "found in the store" in said
    assert "identical: " in said
    slower = command(*fixed, "--disk", "constant:11us,name=data", *condition, *job, status=1)
    assert "the candidate was run" in slower
    assert "FAILED write.p99 != +0: data:write.p99 10us -> 11us, +1us (+10.000%)" in slower


@pytest.mark.guest
@pytest.mark.slow
def test_phases_of_a_job_are_gated_by_a_commit(repository: Path, tmp_path: Path) -> None:
    """One write more in each phase is a change, though guest times differ by far more than that."""
    job = repository / "job"
    job.mkdir()
    text = "#!/bin/sh\ndd if=/dev/zero of=/dev/vda bs=4k count=50 oflag=direct\n"
    (job / "run").write_text(text)
    (job / "run").chmod(0o755)
    commit("job")
    (job / "run").write_text(text.replace("50", "51"))
    report = tmp_path / "report.json"
    said = command(
        *("--baseline-commit", "HEAD", "--store", tmp_path / "store", "--job", job),
        *("--disk", "constant:10us,name=data", "--phases", "11", "--format", f"json={report}"),
        *("--fail-if", "requests > +0", "--fail-if", "guest_time > +10%"),
        status=1,
    )
    assert "the candidate: 11 phases, 11 of them run" in said
    assert "FAILED requests > +0: requests 50 -> 51" in said
    assert "FAILED guest_time" not in said
    [comparison] = json.loads(report.read_text())["comparisons"]
    requests, guest_time = comparison["phases"]
    assert requests["p_value"] == 1 / 2048
    assert max(guest_time["a"]) > 1.2 * min(guest_time["a"])
    assert all(b > a for a, b in zip(guest_time["a"], guest_time["b"], strict=True))


def test_what_is_wrong_with_an_output_or_a_format_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--baseline", "b", "--disk", "constant:1us", "--store", "store")
    workload = (*given, "--workload", "randread,bs=4k,qd=1,count=20")
    command(*workload, "--update")
    condition = ("--fail-if", "p99 > 1ms")
    (tmp_path / "trace").write_text("no trace\n")
    for arguments, problem in (
        ((*workload, "--format", "junit=nowhere/x"), "--format nowhere/x: no directory nowhere;"),
        ((*workload, "--format", "junit=store"), "--format store: is not a regular file"),
        ((*workload, "--trace-format", "csv"), "--trace-format csv: cannot be combined with a"),
        ((*given, "--trace", "trace", "--trace-format", "cvs"), "--trace-format cvs: unknown for"),
        ((*given, "--trace", "trace"), "unknown format, begins with 'no trace'; name one with --t"),
    ):
        monkeypatch.setattr(replay_unit.ReplayUnit, "execute", _must_not)
        with pytest.raises(InputError, match=problem):
            command(*arguments, *condition)


def _must_not(*_: object) -> None:
    raise AssertionError("something was run")


def test_phases_that_are_not_compared_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--baseline", "b", "--disk", "constant:1us", "--store", "store")
    replay = (*given, "--workload", "randread,bs=4k,qd=1,count=20")
    command(*replay, "--phases", "3", "--update")
    said = command(*replay, "--fail-if", "p99 > +1%")
    assert "--baseline b: has 3 phases, of which phase 0 is compared; --phases 3 compares" in said
