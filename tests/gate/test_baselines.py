# SPDX-License-Identifier: GPL-2.0-or-later
"""Baselines of `freezingtime gate`: directories, archives, commits. They are of replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from freezingtime.cli.results import store as store_command
from freezingtime.errors import InputError
from freezingtime.explore.gate.commit import find_commit
from freezingtime.store.results.archive import export_results
from freezingtime.store.results.result_store import ResultStore
from tests.gate.conftest import TRACE, commit, git
from tests.gate.test_gate import command
from tests.results.test_compare import a_run, reads

IF = ("--fail-if", "p99 > +1%")
LINE = "randread,bs=4k,qd=2,count=50"


@pytest.fixture
def gate(tmp_path: Path) -> Any:
    def gated(*arguments: object, status: int = 0) -> str:
        return command("--store", tmp_path / "store", *arguments, status=status)

    return gated


def test_a_replay_is_gated_by_a_directory_or_an_archive(gate: Any, tmp_path: Path) -> None:
    for name in ("baseline", "baseline.tar"):
        given = ("--baseline", tmp_path / name, "--workload", LINE)
        same = (*given, "--disk", "constant:100us")
        gate(*same, "--update")
        said = gate(*same, *IF)
        assert "the candidate was found in the store" in said
        assert "identical: 50 requests" in said
        slower = gate(*given, "--disk", "constant:102us", *IF, status=1)
        assert "FAILED p99 > +1%" in slower
        gate(*given, "--disk", "constant:102us", "--update")
        assert "identical: 50 requests" in gate(*given, "--disk", "constant:102us", *IF)
    assert (tmp_path / "baseline" / "requests.parquet").is_file()


def test_what_is_no_baseline_is_named(gate: Any, tmp_path: Path) -> None:
    given = ("--workload", LINE, "--disk", "constant:100us")
    archive, text = tmp_path / "all.tar", tmp_path / "text"
    text.write_text("text")
    for disk in ("constant:1us", "constant:2us"):
        gate("--workload", LINE, "--disk", disk, "--baseline", tmp_path / disk, "--update")
    export_results(ResultStore(tmp_path / "store"), archive, [])
    for path, problem in (
        (archive, "all.tar: has 2 results, and nothing says which one is meant"),
        (text, "text: is no archive that 'store export' has written"),
    ):
        with pytest.raises(InputError, match=problem):
            gate(*given, *IF, "--baseline", path)
    with pytest.raises(InputError, match="text: is a file; name a directory, or a new FILE"):
        gate(*given, "--baseline", text, "--update")
    with pytest.raises(InputError, match="give either --baseline PATH or --baseline-commit REF"):
        gate(*given, *IF)
    run = a_run(tmp_path / "run", reads(10))
    said = gate(*given, *IF, "--baseline", run, status=3)
    assert "not comparable: the baseline is a run, and the candidate the record of a r" in said
    report = tmp_path / "report.xml"
    gate(*given, *IF, "--baseline", run, "--format", f"junit={report}", status=3)
    assert 'errors="1"' in report.read_text()


def test_a_commit_that_changes_something_else_costs_no_run(gate: Any, repository: Path) -> None:
    given = ("--trace", "trace.csv", "--disk", "constant:100us")
    said = gate(*given, *IF, "--baseline-commit", "HEAD~1")
    assert "the baseline HEAD~1 (" in said
    assert "the candidate was found in the store" in said
    assert "identical: 2 requests" in said
    (repository / "trace.csv").write_text(TRACE + "200,read,8192,1048576\n")
    changed = gate(*given, "--fail-if", "requests > +0", "--baseline-commit", "HEAD~1", status=1)
    assert "FAILED requests > +0: requests 2 -> 3" in changed
    # Neither the working tree nor its index is touched.
    git("diff", "--quiet", "--cached")
    assert (repository / "trace.csv").read_text().startswith(TRACE + "200,")


def test_what_is_noted_of_a_commit_goes_before_what_git_has(gate: Any, repository: Path) -> None:
    given = ("--trace", "trace.csv", "--disk", "constant:100us")
    there = ("--baseline-commit", "HEAD")
    (repository / "trace.csv").write_text(TRACE + "200,read,8192,4096\n")
    with pytest.raises(InputError, match=r"HEAD: the working tree differs from it \(trace.csv\)"):
        gate(*given, *there, "--update")
    commit("more")
    with pytest.raises(InputError, match="HEAD~1: is not what is checked out"):
        gate(*given, "--baseline-commit", "HEAD~1", "--update")
    assert "HEAD (" in gate(*given, *there, "--update")
    assert "identical: 3 requests" in gate(*given, *IF, *there)
    workload = ("--workload", LINE, "--disk", "constant:100us")
    with pytest.raises(InputError, match="has no result of this command there, and the job has no"):
        gate(*workload, *IF, *there)
    gate(*workload, *there, "--update")
    assert "identical: 50 requests" in gate(*workload, *IF, *there)
    store = repository.parent / "store"
    arguments = ["--limit", "0", "--store", str(store)]
    pruned = CliRunner().invoke(store_command.app, ["prune", *arguments])
    assert "and 2 baselines of `gate` that needed them" in pruned.output
    assert list((store / "gates").iterdir()) == []
    # What git has is run again.
    assert "the baseline HEAD (" in gate(*given, *IF, *there)
    gate(*workload, *there, "--update")
    noted = next((repository.parent / "store" / "gates").rglob("*.json"))
    noted.write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        gate(*workload, *IF, *there)


def test_jobs_are_taken_from_a_commit_whole_or_not_at_all(repository: Path, tmp_path: Path) -> None:
    job = repository / "job"
    job.mkdir()
    (job / "run").write_text("#!/bin/sh\n")
    (job / "run").chmod(0o755)
    (repository / ".gitignore").write_text("job/built\n")
    commit("job")
    out = tmp_path / "out"
    out.mkdir()
    taken = find_commit("HEAD", job).take_out(job, out)
    assert [path.name for path in taken.iterdir()] == ["run"]
    assert taken.joinpath("run").stat().st_mode & 0o111
    with pytest.raises(InputError, match="HEAD~1: has no job"):
        find_commit("HEAD~1", job).take_out(job, out)
    (job / "built").touch()
    with pytest.raises(InputError, match="git does not track job/built, so it cannot tell what"):
        find_commit("HEAD", job).take_out(job, out)
    with pytest.raises(InputError, match="is not in the repository"):
        find_commit("HEAD", job).take_out(tmp_path, out)
    for ref in ("nothing", "--all"):
        with pytest.raises(InputError, match=f"{ref}: .* has no such commit"):
            find_commit(ref, job)
    with pytest.raises(InputError, match="is in no git repository"):
        find_commit("HEAD", tmp_path)
