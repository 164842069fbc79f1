# SPDX-License-Identifier: GPL-2.0-or-later
"""Same plan, same output, to the byte: over any medium, under any load, booted or restored."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.guestlib import GuestRun, fio_command, run_guest

pytestmark = pytest.mark.guest

SHAPES = {
    "psync-read": fio_command(rw="randread", number_ios=150),
    "psync-write": fio_command(rw="randwrite", number_ios=150),
    "psync-mix": fio_command(rw="randrw", number_ios=150, fsync=8),
    "qd32-read": fio_command(rw="randread", number_ios=600, ioengine="libaio", iodepth=32),
    "qd32-write": fio_command(rw="randwrite", number_ios=600, ioengine="libaio", iodepth=32),
    "qd32-mix": fio_command(rw="randrw", number_ios=600, ioengine="libaio", iodepth=32),
}
MIX = SHAPES["qd32-mix"]


def essence(ran: GuestRun) -> tuple[bytes, bytes, int, int, int]:
    """All of a run that is guest time or guest data."""
    job, totals = ran.result.job, ran.result.totals
    return ran.stdout, ran.stderr, job.end_ns - job.start_ns, totals.warped_ns, totals.request_count


@pytest.mark.parametrize("shape", SHAPES)
def test_the_medium_is_invisible(shape: str) -> None:
    fast = run_guest(SHAPES[shape], "constant:100us")
    slow = run_guest(SHAPES[shape], "constant:100us,delay=3ms")
    assert essence(fast) == essence(slow)
    assert fast.result.totals.frozen_host_ns == 0
    assert slow.result.totals.frozen_host_ns > 0


@pytest.fixture
def busy_cores() -> Iterator[None]:
    """Two processes that load the host's cores for as long as the test runs."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def test_two_runs_are_identical() -> None:
    assert essence(run_guest(MIX, "constant:20us")) == essence(run_guest(MIX, "constant:20us"))


@pytest.mark.usefixtures("busy_cores")
def test_load_on_the_host_is_invisible() -> None:
    """Compared with the idle host's figures of the test above, which runs first."""
    loaded = essence(run_guest(MIX, "constant:20us,delay=1ms"))
    assert loaded == essence(run_guest(MIX, "constant:20us"))


def test_booted_and_restored_are_identical() -> None:
    booted = run_guest(MIX, "constant:20us", fresh_boot=True, rate_hz=2_500_000_000)
    restored = run_guest(MIX, "constant:20us", rate_hz=2_500_000_000)
    assert essence(booted) == essence(restored)
    assert booted.result.ready_ns == restored.result.ready_ns


def test_a_seed_reaches_the_job() -> None:
    assert run_guest("echo $FREEZINGTIME_SEED", seed=42).stdout == b"42\n"
