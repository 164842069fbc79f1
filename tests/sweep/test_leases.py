# SPDX-License-Identifier: GPL-2.0-or-later
"""Leases: one holder at a time, whoever watches, and whatever hosts' clocks say."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from freezingtime.explore.sweep.cluster.lease import Leases

LEASE_S = 60.0


class Clock:
    """A monotonic clock that stands still unless it is moved."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def watcher(path: Path, clock: Clock, lease_s: float = LEASE_S) -> Leases:
    """A process that looks at leases, and touches none."""
    path.mkdir(exist_ok=True)
    return Leases(path, lease_s, clock)


def test_one_of_many_gets_a_lease(tmp_path: Path) -> None:
    everybody = [watcher(tmp_path, Clock()) for _ in range(8)]
    for number in range(20):
        with ThreadPoolExecutor(8) as pool:
            claimed = list(pool.map(lambda each, name=str(number): each.claim(name), everybody))
        assert sum(lease is not None for lease in claimed) == 1
    assert sum(len(each.held) for each in everybody) == 20
    assert everybody[0].count_others() == 20 - len(everybody[0].held)


def test_a_lease_whose_holder_is_gone_is_taken_over_by_one(tmp_path: Path) -> None:
    clock = Clock()
    dead = watcher(tmp_path, clock)
    assert dead.claim("a") is not None
    others = [watcher(tmp_path, clock) for _ in range(8)]
    assert [each.claim("a") for each in others] == [None] * 8  # seen for the first time
    clock.now_s += LEASE_S
    assert [each.claim("a") for each in others] == [None] * 8  # not longer than that
    clock.now_s += 0.1
    with ThreadPoolExecutor(8) as pool:
        claimed = [lease for lease in pool.map(lambda each: each.claim("a"), others) if lease]
    assert [lease.generation for lease in claimed] == [1]
    [holder] = [each for each in others if each.held]
    # Who was thought dead gives back what is no longer its own.
    dead.release("a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.1"]
    assert watcher(tmp_path, clock).claim("a") is None
    holder.release("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("offset_s", [-86_400, 86_400])
def test_a_holder_whose_clock_is_wrong_keeps_its_lease(tmp_path: Path, offset_s: float) -> None:
    """What counts is that the file's time changes, not what it is."""
    clock = Clock()
    holder, other = watcher(tmp_path, clock), watcher(tmp_path, clock)
    holder.claim("a")
    for number in range(4):
        os.utime(tmp_path / "a.0", (0, time.time() + offset_s + number))
        assert other.claim("a") is None
        clock.now_s += LEASE_S
    assert other.claim("a") is None
    clock.now_s += LEASE_S
    assert other.claim("a") is not None


def test_how_long_a_lease_lasts_is_its_holder_s_word(tmp_path: Path) -> None:
    clock = Clock()
    watcher(tmp_path, clock, lease_s=600).claim("a")
    (tmp_path / "b.0").touch()  # killed before it wrote anything
    other = watcher(tmp_path, clock)
    assert [other.claim(name) for name in "ab"] == [None, None]
    clock.now_s += LEASE_S + 1
    assert other.claim("a") is None
    assert other.claim("b") is not None
    clock.now_s += 600
    assert other.claim("a") is not None
    assert json.loads((tmp_path / "a.1").read_text())["lease_s"] == LEASE_S


def test_a_holder_at_work_touches_its_leases(tmp_path: Path) -> None:
    with Leases(tmp_path, 0.06) as leases:
        leases.claim("a")
        first_ns = (tmp_path / "a.0").stat().st_mtime_ns
        deadline_s = time.monotonic() + 20
        while (tmp_path / "a.0").stat().st_mtime_ns == first_ns:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []  # given back
