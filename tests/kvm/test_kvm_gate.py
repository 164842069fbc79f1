# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate of the KVM clock by itself, with threads that stand for vCPUs."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT

HARNESS = Path(__file__).parent / "programs/gate_harness.c"
PASSES = 1000


RACES = ("-g", "-fsanitize=thread", "-Wno-tsan")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@cache
def compiled(directory: Path, flags: tuple[str, ...]) -> Path:
    names = ("kvm/gate", "kvm/guest_time", "kvm/pass", "kvm/stretch", "time/counter")
    sources = [HARNESS, *(AGENT_DIRECTORY / f"ours/{name}.c" for name in names)]
    program = directory / "-".join(("gate", *flags))
    command = [require_tool("gcc"), *STRICT, *flags, "-o", program, *sources, "-lpthread"]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    return program


@pytest.mark.parametrize(
    ("cpus", "flags"), [(1, ()), (2, ()), (4, ()), (3, RACES)], ids=["1", "2", "4", "3-races"]
)
def test_vcpus_leave_for_an_owner_and_go_on(
    directory: Path, cpus: int, flags: tuple[str, ...]
) -> None:
    """Nobody executes beside an owner, no counter goes back, everybody gets on.

    The last of several never accesses anything: it leaves where it is interrupted, and the others
    must let it in nevertheless.
    """
    ran = subprocess.run(
        [compiled(directory, flags), str(cpus), str(PASSES)],
        capture_output=True,
        text=True,
        timeout=END_DEADLINE_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert (found["wrong"], found["back"]) == (0, 0)
    accessing = max(cpus - 1, 1)
    assert found["accesses"] >= accessing * PASSES - found["interrupted"] - found["refused"]
    assert all(found["computed"])
