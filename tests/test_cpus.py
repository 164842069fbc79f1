"""Guests with several CPUs: exact, and with one stream of I/O the same each time."""

from __future__ import annotations

import pytest

from freezingtime.errors import InputError
from freezingtime.experiment.run_options import make_plan
from freezingtime.frontend import Frontend
from tests.frontendlib import fio_on
from tests.guestlib import GuestRun, run_guest


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


@pytest.mark.guest
@pytest.mark.parametrize("rate_hz", [1_000_000_000, 4_000_000_000])
def test_one_stream_is_the_same_over_any_medium(rate_hz: int) -> None:
    """On virtio-blk; docs/limits.md says what is not always the same."""
    disk = "constant:100us"
    script = fio_on(Frontend.VIRTIO_BLK, rw="randrw", number_ios=150, fsync=8)
    runs = [
        run_guest(script, text, cpu_count=4, rate_hz=rate_hz)
        for text in (disk, disk, f"{disk},delay=1ms")
    ]
    first, again, slow = map(essence, runs)
    assert first == again
    assert first == slow


@pytest.mark.guest
@pytest.mark.parametrize("frontend", Frontend)
def test_concurrent_jobs_are_exact(frontend: Frontend) -> None:
    """By the audit, which ``run_guest`` checks: every delivery on time."""
    ran = run_guest(four_jobs(frontend), f"constant:100us,frontend={frontend}", cpu_count=4)
    assert ran.result.totals.request_count >= 600


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


@pytest.mark.parametrize("count", [0, 17])
def test_number_of_cpus_is_checked(count: int) -> None:
    with pytest.raises(InputError, match=rf"--cpus {count}: must be from 1 to 16"):
        make_plan(disks=[], script=b"#!/bin/sh\n", cpus=count)
