# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with several CPUs: exact, the same each time, and as fast as so many."""

from __future__ import annotations

import pytest

from freezingtime.errors import InputError
from freezingtime.frontend import Frontend
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from tests.support.frontendlib import fio_on
from tests.support.guestlib import GuestRun, run_guest


def four_jobs(frontend: Frontend) -> str:
    """Four processes, each with several requests in flight."""
    return fio_on(
        frontend,
        **{"rw": "randrw", "number_ios": 150, "ioengine": "libaio", "iodepth": 4},
        **{"numjobs": 4, "group_reporting": 1},
    )


def essence(ran: GuestRun) -> tuple[bytes, int, int, int]:
    """All of a run that is guest time or guest data."""
    job, totals = ran.result.job, ran.result.totals
    return ran.stdout, job.end_ns - job.start_ns, totals.warped_ns, totals.request_count


def assert_same_over_any_medium(script: str, disk: str, rate_hz: int) -> None:
    """Twice over memory, once over a medium that takes 1 ms; by the audit exact each time."""
    runs = [
        run_guest(script, text, cpu_count=4, rate_hz=rate_hz)
        for text in (disk, disk, f"{disk},delay=1ms")
    ]
    first, again, slow = map(essence, runs)
    assert first == again
    assert first == slow


@pytest.mark.guest
@pytest.mark.parametrize(
    "rate_hz", [pytest.param(300_000_000, marks=pytest.mark.slow), 4_000_000_000]
)
def test_one_stream_is_the_same_over_any_medium(rate_hz: int) -> None:
    script = fio_on(Frontend.VIRTIO_BLK, rw="randrw", number_ios=150, fsync=8)
    assert_same_over_any_medium(script, "constant:100us", rate_hz)


@pytest.mark.guest
@pytest.mark.parametrize(
    "frontend",
    [
        Frontend.VIRTIO_BLK,
        Frontend.NVME,
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("virtio-scsi", "sata")),
    ],
)
def test_concurrent_jobs_are_the_same_over_any_medium(frontend: str) -> None:
    script = four_jobs(Frontend(frontend))
    assert_same_over_any_medium(script, f"constant:100us,frontend={frontend}", 4_000_000_000)


@pytest.mark.guest
@pytest.mark.slow
def test_booted_and_restored_are_identical() -> None:
    script = four_jobs(Frontend.VIRTIO_BLK)
    booted = run_guest(script, "constant:20us", cpu_count=3, fresh_boot=True)
    assert essence(booted) == essence(run_guest(script, "constant:20us", cpu_count=3))


@pytest.mark.guest
def test_every_cpu_executes() -> None:
    script = (
        "nproc\n"
        "for cpu in 0 1 2 3; do taskset -c $cpu sh -c 'i=0; while [ $i -lt 20000 ]; do "
        "i=$((i + 1)); done' & done\n"
        "wait\n"
        "awk '/^cpu[0-9]/ {print ($2 + $4 > 0)}' /proc/stat"
    )
    ran = run_guest(script, cpu_count=4, rate_hz=1_000_000_000)
    assert ran.stdout.split() == [b"4", b"1", b"1", b"1", b"1"]


def busy_guest_ns(cpu_count: int, loops: int) -> int:
    """How long so many processes compute, each on a CPU of its own if there are that many."""
    script = (
        "for loop in $(seq {loops}); do sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); "
        "done' & done\nwait"
    )
    job = run_guest(script.format(loops=loops), cpu_count=cpu_count).result.job
    return job.end_ns - job.start_ns


@pytest.mark.guest
@pytest.mark.slow
def test_four_busy_cpus_do_four_times_the_work() -> None:
    alone_ns = busy_guest_ns(4, 1)
    assert busy_guest_ns(4, 4) == pytest.approx(alone_ns, rel=0.1)
    assert busy_guest_ns(1, 4) == pytest.approx(4 * alone_ns, rel=0.1)


@pytest.mark.parametrize("count", [0, 17])
def test_number_of_cpus_is_checked(count: int) -> None:
    with pytest.raises(InputError, match=rf"--cpus {count}: must be from 1 to 16"):
        make_plan(RunOptions(cpus=count), script=b"#!/bin/sh\n")
