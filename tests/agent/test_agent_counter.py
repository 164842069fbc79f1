# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's cycle counter by itself: it never goes back, however a time is rounded."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT

#: A counter of any frequency that the agent takes, for some 36 years at least.
_KHZ = st.integers(1_000, 16_000_000)
_CYCLES = st.integers(0, 2**60)


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("counter") / "counter.so"
    source = AGENT_DIRECTORY / "ours/time/counter.c"
    command = [require_tool("gcc"), *STRICT, "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    loaded = ctypes.CDLL(str(library))
    for name in ("ns_of", "cycles_of", "counter_at"):
        function = getattr(loaded, f"ft_guest_time_{name}")
        function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_int64
    return loaded


@given(khz=_KHZ, cycles=_CYCLES)
@settings(max_examples=300)
def test_a_machine_goes_on_no_earlier_than_it_was_saved(
    counter: ctypes.CDLL, khz: int, cycles: int
) -> None:
    """A snapshot has whole nanoseconds; what its counter showed was somewhere in the last one."""
    saved_ns = cycles * 1_000_000 // khz
    if saved_ns >= 2**62:
        return
    counter.ft_guest_time_counter_start(khz)
    assert counter.ft_guest_time_ns_of(cycles) == saved_ns
    resumed = counter.ft_guest_time_counter_at(saved_ns)
    assert resumed >= cycles
    assert counter.ft_guest_time_ns_of(resumed) == saved_ns


@given(now_ns=st.integers(0, 2**62))
@settings(max_examples=50)
def test_at_1_ghz_it_is_the_time_in_nanoseconds(counter: ctypes.CDLL, now_ns: int) -> None:
    counter.ft_guest_time_counter_start(1_000_000)
    assert counter.ft_guest_time_counter_at(now_ns) == now_ns
    assert counter.ft_guest_time_ns_of(now_ns) == counter.ft_guest_time_cycles_of(now_ns) == now_ns
