# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host's taking CPUs from a guest does to its time, by the agent's own arithmetic."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT


class Pass(NamedTuple):
    """One vCPU's, in cycles."""

    cpu: int
    passed: int
    off: int


class Lost(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("taken_out", "left_in", "stolen")]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("stretch") / "stretch.so"
    names = ("kvm/stretch", "kvm/preemption", "time/counter", "base")
    sources = [AGENT_DIRECTORY / f"ours/{name}.c" for name in names]
    command = [require_tool("gcc"), *STRICT, "-shared", "-fPIC", "-o", str(library), *sources]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    loaded = ctypes.CDLL(str(library), ctypes.RTLD_LOCAL)
    loaded.ft_stretch_begin.argtypes = [ctypes.c_uint64]
    loaded.ft_stretch_add.argtypes = [ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64]
    loaded.ft_stretch_end.argtypes = [ctypes.c_uint64] * 2
    loaded.ft_stretch_end.restype = Lost
    loaded.ft_preemption_unseen_ns.argtypes = [ctypes.c_int64] * 3
    loaded.ft_preemption_unseen_ns.restype = ctypes.c_int64
    return loaded


def lost(
    agent: ctypes.CDLL, host_cpus: int, passes: Sequence[Pass], left: int, to: int
) -> tuple[int, int, int]:
    """Of a stretch from 1000 on: taken out, left in, stolen."""
    agent.ft_stretch_start(host_cpus)
    agent.ft_stretch_begin(1_000)
    for one in passes:
        agent.ft_stretch_add(*one)
    found = agent.ft_stretch_end(1_000 + left, 1_000 + to)
    return found.taken_out, found.left_in, found.stolen


@pytest.mark.parametrize("host_cpus", [1, 2])
@pytest.mark.parametrize(
    ("passes", "left", "to", "expected"),
    [
        pytest.param([Pass(0, 100, 0)], 100, 100, (0, 0, 0), id="nothing lost"),
        pytest.param([Pass(0, 100, 60)], 100, 40, (60, 0, 0), id="all taken out"),
        pytest.param([Pass(0, 100, 60)], 100, 90, (10, 50, 0), id="some taken out"),
        pytest.param([Pass(0, 100, 60)], 100, 100, (0, 60, 0), id="none taken out"),
        pytest.param([Pass(0, 100, 900)], 100, 100, (0, 100, 0), id="more than guest time"),
        # The other executes all the while: guest time is right, the CPU is slow.
        pytest.param([Pass(1, 90, 60), Pass(0, 100, 0)], 100, 100, (0, 0, 60), id="beside another"),
        # One after the other, and nothing lost: neither has executed all the while.
        pytest.param([Pass(0, 50, 0), Pass(1, 60, 0)], 100, 100, (0, 0, 0), id="relay"),
        # In two passes, each beside some of the other's.
        pytest.param(
            [Pass(0, 40, 10), Pass(0, 40, 10), Pass(1, 100, 0)], 100, 100, (0, 0, 20), id="twice"
        ),
    ],
)
def test_what_was_lost_is_said(
    agent: ctypes.CDLL,
    host_cpus: int,
    passes: Sequence[Pass],
    left: int,
    to: int,
    expected: tuple[int, int, int],
) -> None:
    assert lost(agent, host_cpus, passes, left, to) == expected


@pytest.mark.parametrize(
    ("host_cpus", "expected"),
    [
        pytest.param(1, (0, 0, 100), id="one after the other"),
        pytest.param(2, (0, 40, 60), id="maybe at once"),
    ],
)
def test_cpus_that_share_one_of_the_hosts_execute_in_turn(
    agent: ctypes.CDLL, host_cpus: int, expected: tuple[int, int, int]
) -> None:
    """They have all of it; had the host another CPU, they may have had it both at once."""
    passes = [Pass(0, 100, 40), Pass(1, 100, 60)]
    assert lost(agent, host_cpus, passes, 100, 100) == expected


@pytest.mark.parametrize(
    ("lost_ns", "since_ns", "passed_ns", "unseen_ns"),
    [
        pytest.param(5_000, 100, 9_000, 5_000, id="before its end"),
        pytest.param(5_000, 5_100, 9_000, 0, id="behind its end"),
        pytest.param(5_000, 3_000, 9_000, 2_000, id="on both sides"),
        pytest.param(5_000, 100, 4_000, 4_000, id="before the guest was entered"),
        pytest.param(5_000, 100, 0, 0, id="before it began"),
        pytest.param(5_000, 3_000, 1_000, 1_000, id="before the guest was entered, and behind"),
    ],
)
def test_only_what_the_guest_has_not_seen_is_taken_out(
    agent: ctypes.CDLL, lost_ns: int, since_ns: int, passed_ns: int, unseen_ns: int
) -> None:
    """Else its counter would go back."""
    assert agent.ft_preemption_unseen_ns(lost_ns, since_ns, passed_ns) == unseen_ns
