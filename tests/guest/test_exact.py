# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the device exact? What fio sees in a real guest, against what the device was told.

A guest's own software time (system call, block layer, interrupt, context switch) comes on
top of the device's; it is measured with a zero-latency device and taken off. The path
through the kernel is not quite the same for both: a completion that comes at once finds
the submitter, or the kernel's dispatch worker, still busy. Where that alone is more than
the tolerance, the job picks the guest's scheduling such that the paths agree; the
emulator's own audit, which is exact, is checked in every run.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.support.guestlib import fio_command, mean_latency_ns, read_record, run_guest

pytestmark = pytest.mark.guest

LATENCIES = {"10us": 10_000, "100us": 100_000, "1ms": 1_000_000, "10ms": 10_000_000}
#: What the shortest and the longest do not show, these hardly will.
BETWEEN = [pytest.param(latency, marks=pytest.mark.slow) for latency in ("100us", "1ms")]
TOLERANCE_NS = 200
REQUESTS = 400

#: With voluntary preemption, Debian's default, a buffered-off write that completes at once
#: waits for the dispatch worker to finish first, some 290 ns at 4 GHz; preempted, it does not.
PREEMPT_FULL = (
    "mount -t debugfs debugfs /sys/kernel/debug && "
    "echo full > /sys/kernel/debug/sched/preempt && "
    "echo none > /sys/block/vda/queue/scheduler && "
)

WORKLOADS = {
    "read": fio_command(rw="randread", number_ios=REQUESTS),
    "write": PREEMPT_FULL + fio_command(rw="randwrite", number_ios=REQUESTS),
    "flush": PREEMPT_FULL + fio_command(rw="randwrite", number_ios=REQUESTS, fsync=1),
}


@functools.cache
def mean_ns(operation: str, latency: str, rate_hz: int = 4_000_000_000) -> float:
    job = run_guest(WORKLOADS[operation], f"constant:{latency}", rate_hz=rate_hz).fio()
    return mean_latency_ns(job, operation)


@pytest.mark.parametrize("latency", ["10us", "10ms", *BETWEEN])
@pytest.mark.parametrize("operation", WORKLOADS)
def test_guest_sees_the_latency_that_the_device_was_told(operation: str, latency: str) -> None:
    added_ns = mean_ns(operation, latency) - mean_ns(operation, "0")
    assert abs(added_ns - LATENCIES[latency]) <= TOLERANCE_NS


@pytest.mark.parametrize("rate_ghz", [1, pytest.param(2, marks=pytest.mark.slow), 8])
def test_software_time_scales_with_the_cpu_rate(rate_ghz: int) -> None:
    at_4_ghz = mean_ns("read", "0")
    at_rate = mean_ns("read", "0", rate_ghz * 1_000_000_000)
    assert at_rate * rate_ghz / 4 == pytest.approx(at_4_ghz, rel=0.03)


@pytest.mark.parametrize("rate_hz", [300_000_000, 500_000_000, 700_000_000, 3_300_000_000])
def test_odd_cpu_rates_stay_exact(rate_hz: int, tmp_path: Path) -> None:
    """Below 1 GHz an instruction takes longer than 1 ns: delivery at the end of the first."""
    script = fio_command(rw="randrw", number_ios=300, ioengine="libaio", iodepth=4)
    run_guest(script, "constant:37us", rate_hz=rate_hz, out=tmp_path / "run")
    instruction_ns = 1e9 / rate_hz
    for row in read_record(tmp_path / "run"):
        late_ns = row["delivery_ns"] - row["completion_ns"]
        assert 0 <= late_ns < max(1.0, instruction_ns)


@pytest.mark.parametrize("pattern", ["randread", "randwrite"])
@pytest.mark.parametrize("depth", [pytest.param(4, marks=pytest.mark.slow), 16])
def test_guest_sees_requests_in_flight_together_complete_on_time(
    pattern: str, depth: int, tmp_path: Path
) -> None:
    """On a hard disk, which completes them out of order: every one by fio against the record."""
    out = tmp_path / "run"
    fio = fio_command(
        rw=pattern,
        number_ios=REQUESTS,
        ioengine="libaio",
        iodepth=depth,
        size="60m",
        output="/dev/null",
        write_lat_log="/tmp/log",
        log_offset=1,
    )
    disk = "hitachi-deskstar-7k1000-1tb,size=64MiB"
    ran = run_guest(f"{fio} && cat /tmp/log_clat.*.log", disk, out=out)
    operation = pattern.removeprefix("rand")
    service_ns = {
        row["offset_bytes"]: row["completion_ns"] - row["arrival_ns"]
        for row in read_record(out)
        if row["operation"] == operation
    }
    logged = [line.split(",") for line in ran.stdout.decode().splitlines()]
    # At the end fio waits for all that is left at once.
    before_the_end = logged[: REQUESTS - depth]
    assert len(before_the_end) == REQUESTS - depth
    for _time_ms, latency_ns, _direction, _length, offset_bytes, *_ in before_the_end:
        added_ns = int(latency_ns) - service_ns[int(offset_bytes)]
        # fio counts from when io_submit returns, a little after the doorbell.
        assert -3_000 < added_ns < 20_000


def test_operations_have_their_own_times(tmp_path: Path) -> None:
    """By the record: every delivery at its operation's time after the arrival, to the ns."""
    times_ns = {"read": 50_000, "write": 200_000, "flush": 1_000_000, "discard": 3_000_000}
    disk = "constant:" + ",".join(f"{name}={time_ns}ns" for name, time_ns in times_ns.items())
    script = (
        fio_command(rw="randrw", number_ios=100, fsync=10, output="/dev/null")
        + "\nblkdiscard -o 0 -l 1048576 /dev/vda"
    )
    out = tmp_path / "run"
    run_guest(script, disk, out=out)
    rows = read_record(out)
    assert {row["operation"] for row in rows} == set(times_ns)
    for row in rows:
        assert row["delivery_ns"] - row["arrival_ns"] == times_ns[row["operation"]]
