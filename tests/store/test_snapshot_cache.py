# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of booted guests in the cache, without a guest: which go first, and what is damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from freezingtime.errors import InputError, RunError
from freezingtime.store.cache import cache_directory
from freezingtime.store.snapshot import Snapshot, find_snapshot, take_snapshot
from freezingtime.vm import machine_state
from freezingtime.vm.machine_state import save_state

SIZE_BYTES = 1 << 20


@pytest.fixture
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Of four snapshots with their small files, three fit.
    monkeypatch.setenv("FREEZINGTIME_SNAPSHOT_LIMIT", "3.5MiB")
    return cache_directory() / "snapshots"


def boot(target: Snapshot) -> int:
    target.state_path.write_bytes(os.urandom(SIZE_BYTES))
    return 42


def fail(_target: Snapshot) -> int:
    raise AssertionError("it is there already")


def take(key: str) -> None:
    with contextlib.ExitStack() as cleanup:
        assert take_snapshot(key, boot, cleanup).ready_ns == 42


def use(key: str, at_s: int) -> None:
    """Use a snapshot, at some time in the past."""
    with contextlib.ExitStack() as cleanup:
        snapshot = find_snapshot(key, cleanup)
        assert snapshot is not None
        os.utime(snapshot.directory / "snapshot.json", (at_s, at_s))


def keys(snapshots: Path) -> set[str]:
    return {path.name for path in snapshots.glob("[!.]*")}


class TestPruning:
    def test_the_least_recently_used_goes_first(self, snapshots: Path) -> None:
        for key in ("a", "b", "c"):
            take(key)
        for at_s, key in enumerate(("b", "c", "a"), start=1000):
            use(key, at_s)
        take("d")
        assert keys(snapshots) == {"a", "c", "d"}

    def test_being_used_counts_now(self, snapshots: Path) -> None:
        for at_s, key in enumerate(("a", "b", "c"), start=1000):
            take(key)
            use(key, at_s)
        with contextlib.ExitStack() as cleanup:
            find_snapshot("a", cleanup)
        take("d")
        assert keys(snapshots) == {"a", "c", "d"}

    def test_what_is_in_use_stays(self, snapshots: Path) -> None:
        """In this process or in another."""
        for at_s, key in enumerate(("a", "b", "c"), start=1000):
            take(key)
            use(key, at_s)
        program = (
            "import contextlib, sys\n"
            "from freezingtime.store.snapshot import find_snapshot\n"
            "with contextlib.ExitStack() as cleanup:\n"
            "    assert find_snapshot('a', cleanup)\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            os.utime(snapshots / "a" / "snapshot.json", (1000, 1000))
            with contextlib.ExitStack() as cleanup:
                assert find_snapshot("b", cleanup)
                os.utime(snapshots / "b" / "snapshot.json", (1001, 1001))
                take("d")
            assert keys(snapshots) == {"a", "b", "d"}
            holder.communicate()
        take("e")
        assert keys(snapshots) == {"b", "d", "e"}

    def test_the_limit_can_be_set(self, snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FREEZINGTIME_SNAPSHOT_LIMIT", "100MiB")
        for number in range(9):
            take(f"{number}")
        assert len(keys(snapshots)) == 9
        monkeypatch.setenv("FREEZINGTIME_SNAPSHOT_LIMIT", "0")
        take("last")
        assert keys(snapshots) == {"last"}

    @pytest.mark.usefixtures("snapshots")
    def test_a_bad_limit_is_told_before_anything_boots(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FREEZINGTIME_SNAPSHOT_LIMIT", "much")
        with (
            contextlib.ExitStack() as cleanup,
            pytest.raises(InputError, match="FREEZINGTIME_SNAPSHOT_LIMIT: bad size 'much'"),
        ):
            take_snapshot("a", fail, cleanup)


@pytest.mark.parametrize("comes_on", [True, False])
def test_saving_has_no_limit_while_it_comes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_on: bool
) -> None:
    """As much memory in use may take: QEMU's answers over more than the deadline."""
    monkeypatch.setattr(machine_state, "_SAVE_DEADLINE_S", 0.2)
    answers = iter(range(1, 200))

    def execute(command: str, **_arguments: object) -> dict[str, object]:
        if command == "query-version":
            return {"qemu": {"major": 7, "minor": 2}}
        if command != "query-migrate":
            return {}
        answer = next(answers)
        done = "completed" if answer == 100 else "active"
        return {"status": done, "ram": {"transferred": answer if comes_on else 1}}

    if comes_on:
        save_state(execute, lambda file, name: None, tmp_path / "state")
        assert next(answers) == 101
    else:
        with pytest.raises(RunError, match=r"made no progress for 0 s; 1 bytes are saved"):
            save_state(execute, lambda file, name: None, tmp_path / "state")


class TestDamage:
    @pytest.mark.parametrize("name", ["state", "snapshot.json", "checksums.json"])
    @pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
    def test_one_flipped_bit_has_it_taken_anew_with_a_note(
        self, snapshots: Path, name: str, place: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        take("a")
        path = snapshots / "a" / name
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1
        path.write_bytes(content)
        with contextlib.ExitStack() as cleanup:
            assert find_snapshot("a", cleanup) is None
        assert caplog.records == []
        take("a")
        (note,) = caplog.records
        assert note.levelno == logging.WARNING
        assert f"{snapshots / 'a'} is damaged (" in note.message
        assert note.message.endswith("the guest is booted again")
        with contextlib.ExitStack() as cleanup:
            assert take_snapshot("a", fail, cleanup).ready_ns == 42

    def test_files_that_are_gone_or_cut_short(self, snapshots: Path) -> None:
        for damage in (Path.unlink, lambda path: os.truncate(path, 10)):
            take("a")
            damage(snapshots / "a" / "state")
            take("a")
            assert (snapshots / "a" / "state").stat().st_size == SIZE_BYTES
