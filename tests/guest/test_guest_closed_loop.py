# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's closed loop against a simulated one: fio and `replay --workload`, same words.

``python -m tests.guest.test_guest_closed_loop`` prints the table of explanation/closed-loop.md.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from freezingtime.results.latency_summary import summarize
from freezingtime.simulate.replay import replay
from freezingtime.simulate.workload import parse_workload
from tests.support.guestlib import fio_command, read_record, run_guest

pytestmark = pytest.mark.guest

#: A data centre SSD, a hard disk and a cloud volume: their time is what counts, not the CPU's.
SSD = "samsung-pm883-960gb,size=64MiB"
HARD_DISK = "hitachi-deskstar-7k1000-1tb,size=64MiB"
VOLUME = "aws-gp3,size=64MiB"
#: Faster than the guest's CPU at a depth of 32.
FAST = "constant:10us,size=64MiB"

PATTERNS = ("randread", "randwrite")
DEPTHS = (1, 4, 32, 128)
SPAN_BYTES = 63 << 20
#: What a request costs the mini guest's CPU at 4 GHz: 1 / IOPS less the service time, at depth 1.
THINK = {"randread": "4.6us", "randwrite": "3.8us"}
#: A request's CPU time depends a little on the depth: submitting is cheaper in a batch.
LATENCY_TOLERANCE = 0.15
#: So many that the start does not count.
COUNTS = {1: 1000, 4: 2000, 32: 8000, 128: 16_000}


@dataclass(frozen=True)
class Means:
    """Mean times of a loop in ns: at the device, and as the application sees them."""

    service_ns: float
    latency_ns: float
    count: int


def in_guest(device: str, pattern: str, depth: int, count: int) -> Means:
    """What fio does in the guest; the service time by the record, the latency by fio."""
    command = fio_command(
        rw=pattern,
        ioengine="libaio",
        iodepth=depth,
        number_ios=count,
        size=SPAN_BYTES,
        norandommap=1,
        random_generator="tausworthe64",
    )
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "run"
        job = run_guest(command, device, out=out).fio()
        operation = pattern.removeprefix("rand")
        figures = job[operation]
        # fio's requests are the last ones of the run.
        rows = [row for row in read_record(out) if row["operation"] == operation]
    times_ns = np.array(
        [(row["sequence"], row["completion_ns"] - row["arrival_ns"]) for row in rows],
        dtype=np.int64,
    )
    done_count = figures["total_ios"]
    service_ns = times_ns[np.argsort(times_ns[:, 0])][-done_count:, 1]
    return Means(float(service_ns.mean()), figures["lat_ns"]["mean"], done_count)


def simulated(device: str, pattern: str, depth: int, count: int) -> Means:
    """The same loop without a guest."""
    line = f"{pattern},bs=4k,qd={depth},size={SPAN_BYTES},count={count}"
    line += f",think={THINK[pattern]}"
    (result,) = replay(
        parse_workload(line),
        [device],
        seed=0,
        observer=lambda *told: None,
        notify=lambda text: None,
    )
    (summary,) = summarize(result.simulation)
    return Means(summary.mean_ns - summary.mean_host_ns, summary.mean_ns, count)


def check(device: str, pattern: str, depth: int, guest_count: int, count: int) -> None:
    guest = in_guest(device, pattern, depth, guest_count)
    replayed = simulated(device, pattern, depth, count)
    assert guest.service_ns == pytest.approx(replayed.service_ns, rel=0.01)
    assert guest.latency_ns == pytest.approx(replayed.latency_ns, rel=LATENCY_TOLERANCE)


#: Enough for every day: the others are slow.
QUICK = {(SSD, "randread", 4), (SSD, "randwrite", 32), (VOLUME, "randread", 32)}
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in itertools.product([SSD, VOLUME, FAST], PATTERNS, DEPTHS)
]


@pytest.mark.parametrize(("device", "pattern", "depth"), CASES)
def test_service_time_is_that_of_a_simulation(device: str, pattern: str, depth: int) -> None:
    check(device, pattern, depth, COUNTS[depth], COUNTS[depth])


@pytest.mark.slow
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_service_time_of_a_hard_disk_is_that_of_a_simulation(pattern: str, depth: int) -> None:
    """Places are random, in two different ways: many requests are needed."""
    check(HARD_DISK, pattern, depth, 16_000, 100_000)


def main() -> None:
    """Print the table of docs/explanation/closed-loop.md; times in us."""
    print("| device | workload | depth | service, guest | replay | latency, guest | replay |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for device in (SSD, VOLUME, HARD_DISK, FAST):
        for pattern in PATTERNS:
            for depth in DEPTHS:
                is_random = device == HARD_DISK
                guest = in_guest(device, pattern, depth, 16_000 if is_random else COUNTS[depth])
                replayed = simulated(
                    device, pattern, depth, 100_000 if is_random else COUNTS[depth]
                )
                pairs = (
                    (guest.service_ns, replayed.service_ns),
                    (guest.latency_ns, replayed.latency_ns),
                )
                cells = " | ".join(
                    f"{seen / 1000:.2f} | {told / 1000:.2f} ({told / seen - 1:+.1%})"
                    for seen, told in pairs
                )
                name = device.removesuffix(",size=64MiB")
                print(f"| `{name}` | {pattern} | {depth} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
