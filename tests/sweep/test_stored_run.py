# SPDX-License-Identifier: GPL-2.0-or-later
"""`run --store`: a run that is known is shown again, and nothing is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from freezingtime.cli.guest import stored_run
from freezingtime.cli.guest.run import app
from freezingtime.errors import InputError
from freezingtime.explore.sweep.run_unit import STDERR_NAME, RunUnit
from freezingtime.store.results.result_store import ResultStore, StoredResult

JOB = "echo out; echo err >&2; dd if=/dev/vda bs=4k count=9 iflag=direct | wc -c; exit $STATUS"
ON_FILE = "constant:1us,medium=file:file"
STDOUT = "out\n36864\n"


def run(*arguments: object, status: int = 0) -> Any:
    result = CliRunner().invoke(app, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status, result.output
    return result


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--refresh",), "--refresh: goes with --store"),
        (("--store", "file"), "the store file: is not a directory"),
        (("--store", "s", "--save", "x"), "--save x: goes not with a store of results"),
        (("--store", "s", "--clock", "kvm"), "--clock kvm: no two such runs are alike"),
        (
            ("--store", "s", "--disk", "constant:1us,medium=file:file,writable=yes"),
            "change no file",
        ),
    ],
)
def test_what_goes_not_with_a_store_is_refused_before_anything_runs(
    given: tuple[str, ...], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def must_not(*_: object) -> None:
        raise AssertionError("a guest was made ready")

    monkeypatch.setattr(stored_run, "ready_machine", must_not)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(bytes(4096))
    with pytest.raises(InputError, match=problem):
        run(*given, "--", "true")


@pytest.mark.guest
@pytest.mark.slow
def test_a_run_that_is_known_is_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    real: Callable[..., Any] = RunUnit.run

    def counted(*arguments: Any) -> Any:
        started.append(1)
        return real(*arguments)

    monkeypatch.setattr(RunUnit, "run", counted)
    store = tmp_path / "store"

    def shown(out: str, *options: object, status: int = 0) -> tuple[str, list[str]]:
        where = ("--store", store, "--disk", "constant:10us", "--out", tmp_path / out)
        job = ("--env", f"STATUS={status}", "--", JOB)
        result = run(*where, *options, *job, status=status)
        of_job = [each for each in result.stderr.splitlines() if not each.startswith("freezing")]
        return result.stdout, of_job

    first = shown("a")
    assert first == (STDOUT, ["err", "9+0 records in", "9+0 records out"])
    assert shown("b") == first
    assert len(started) == 1
    for name in ("run.json", "requests.parquet", "stdout.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not (tmp_path / "a" / STDERR_NAME).exists()
    with pytest.raises(InputError, match=r"--out .*: already contains a run"):
        shown("b")
    # A job that has failed has failed again.
    assert shown("c", status=3) == shown("d", status=3)
    assert len(started) == 2
    documents = [json.loads(shown(name, "--json")[0]) for name in ("e", "f")]
    assert documents[0] == documents[1]
    assert documents[0]["stdout"] == STDOUT
    assert shown("g", "--refresh")[0] == STDOUT
    assert len(started) == 3
    [found] = [
        each
        for each in ResultStore(store).entries()
        if isinstance(each, StoredResult) and each.content.failure is None
    ]
    (found.run_path / "stdout.txt").write_text("changed\n")
    assert shown("h")[0] == STDOUT, "what is damaged is run again"
    assert len(started) == 4
