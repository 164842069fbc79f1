# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps that are killed: no result is lost, none is wrong, and the same command finishes."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from freezingtime.store.results.result_store import ResultStore, StoredResult, damage
from tests.conftest import PROGRAM

POINTS = 24
KILLS = 10
_DEADLINE_S = 120.0


def start(tmp_path: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            str(PROGRAM),
            *("sweep", "--quiet", "--workers", "2", "--disk", "micron-7450-pro-960gb"),
            *("--workload", "randrw,qd=8,count=20k", "--set", f"seed=range({POINTS})"),
            *("--out", str(tmp_path / name), "--store", str(tmp_path / f"{name}-store")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_of(parent: int) -> list[int]:
    """The processes that the server of processes has started for a sweep."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stats[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    children = {pid for pid, of in stats.items() if of == parent}
    return sorted(pid for pid, of in stats.items() if of in children)


def session_members(session: int) -> set[str]:
    """What is still running of a session."""
    listed = subprocess.run(
        ["ps", "-s", str(session), "-o", "pid=,stat="], capture_output=True, text=True, check=False
    )
    return {line for line in listed.stdout.splitlines() if "Z" not in line}


def all_results(store: ResultStore) -> dict[str, str]:
    """The digest of each result's figures, all of which are sound."""
    results = {}
    for entry in store.entries():
        assert isinstance(entry, StoredResult)
        assert damage(entry.directory) is None
        results[entry.key] = entry.content.identity["requests"]
    return results


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_a_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = start(tmp_path, "whole")
    assert whole.communicate(timeout=_DEADLINE_S)[1] == ""
    expected = all_results(ResultStore(tmp_path / "whole-store"))
    assert len(expected) == POINTS
    generator = random.Random(17)
    store = ResultStore(tmp_path / "killed-store")
    known: dict[str, str] = {}
    for number in range(KILLS):
        sweep = start(tmp_path, "killed")
        time.sleep(generator.uniform(0.5, 6))
        victims = workers_of(sweep.pid) if number % 2 else []
        for victim in victims[:1] or [sweep.pid]:
            os.kill(victim, signal.SIGKILL)
        if victims:  # one worker: the sweep goes on, until it is killed as well
            time.sleep(generator.uniform(0, 2))
            sweep.kill()
        sweep.communicate(timeout=_DEADLINE_S)
        deadline_s = time.monotonic() + _DEADLINE_S
        while members := session_members(sweep.pid):
            assert time.monotonic() < deadline_s, members
            time.sleep(0.05)
        now = all_results(store)
        assert known.items() <= now.items() <= expected.items()
        known = now
    last = start(tmp_path, "killed")
    assert last.communicate(timeout=_DEADLINE_S)[1] == ""
    assert last.returncode == 0
    assert all_results(store) == expected
    tables = [pq.read_table(tmp_path / name / "results.parquet") for name in ("whole", "killed")]
    assert tables[0].equals(tables[1])
    assert list((tmp_path / "killed-store" / "results").glob(".*")) == []


@pytest.mark.slow
def test_ctrl_c_leaves_a_table_of_what_there_is(tmp_path: Path) -> None:
    sweep = start(tmp_path, "interrupted")
    store = ResultStore(tmp_path / "interrupted-store")
    deadline_s = time.monotonic() + _DEADLINE_S
    # No more than one for each worker is stored and not yet known to who is interrupted.
    while len(list(store.entries())) < 4:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.killpg(sweep.pid, signal.SIGINT)
    error = sweep.communicate(timeout=_DEADLINE_S)[1]
    assert re.fullmatch("freezingtime: interrupted\n", error)
    assert sweep.returncode == 130
    statuses = pq.read_table(tmp_path / "interrupted" / "results.parquet")["status"].to_pylist()
    assert set(statuses) == {"ok", "not run"}
    assert list((store.root / "results").glob(".*")) == []
    assert not session_members(sweep.pid)
