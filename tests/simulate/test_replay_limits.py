# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime replay`: which devices pass a condition, and which cannot keep up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from freezingtime.device.annotations.columns import new_annotations
from freezingtime.errors import InputError
from freezingtime.results.limit import parse_limit
from freezingtime.simulate.overload import find_overload
from freezingtime.simulate.simulate import Simulation
from freezingtime.trace.readers.columns import Trace
from tests.cli.conftest import RunHere, run_here

__all__ = ["run_here"]

READS = ("replay", "--quiet", "--workload", "randread,bs=4k,qd=4,count=200,size=1m")
DEVICES = ("--device", "constant:100us", "--device", "constant:6ms")


def test_a_column_says_which_devices_pass(run_here: RunHere) -> None:
    ended = run_here(*READS, *DEVICES, "--fail-if", "p99 > 5ms", "--fail-if", "read.iops < 10")
    header, fast, slow, failed = ended.stdout.splitlines()
    assert [line.split()[-1] for line in (header, fast, slow)] == ["pass", "yes", "NO"]
    assert failed == "FAILED p99 > 5ms: constant:6ms"
    assert ended.returncode == 1
    met = run_here(*READS, *DEVICES, "--fail-if", "p99 > 6ms")
    assert met.returncode == 0
    assert "pass" not in run_here(*READS, *DEVICES).stdout
    documents = json.loads(run_here(*READS, *DEVICES, "--json", "--fail-if", "p99 > 5ms").stdout)[
        "devices"
    ]
    assert [document["failed"] for document in documents] == [[], ["p99 > 5ms"]]


def test_an_operation_that_there_is_not_is_not_taken_for_good(run_here: RunHere) -> None:
    ended = run_here(*READS, *DEVICES, "--fail-if", "write.p99 > 5ms")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "freezingtime: --fail-if write.p99 > 5ms: constant:100us has no such figure; the requests "
        "are read\n"
    )


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("p99 > +5%", "is a change, and nothing is compared; write a value"),
        ("data:p99 > 5ms", "names a disk; each device is judged"),
        ("guest_time > 5ms", "is about a figure that only a run has"),
        ("app.tps < 5", "is about a figure that only a run has"),
        ("fsync.p99 > 5ms", "is about a figure that only a run has"),
        ("p98 > 5ms", "unknown metric 'p98'; did you mean p9"),
    ],
)
def test_what_is_no_limit_is_refused(condition: str, why: str) -> None:
    with pytest.raises(InputError) as error:
        parse_limit(condition)
    assert str(error.value).startswith(f"--fail-if {condition}: {why}")


def open_loop(run_here: RunHere, rate: int, device: str) -> tuple[dict[str, float] | None, str]:
    line = f"randread,bs=4k,rate={rate},arrival=even,count=2000,size=1m"
    ended = run_here("replay", "--quiet", "--json", "--workload", line, "--device", device)
    return json.loads(ended.stdout)["devices"][0]["overload"], ended.stderr


# One request after the other: 2,500 a second.
ONE_BY_ONE = "aws-gp3,size=64MiB"


def test_a_queue_that_grows_is_said(run_here: RunHere) -> None:
    rates, said = open_loop(run_here, 6000, ONE_BY_ONE)
    assert rates is not None
    assert rates["offered_hz"] == pytest.approx(6000, rel=1e-3)
    assert rates["served_hz"] < 4000
    assert said.startswith(f"freezingtime: {ONE_BY_ONE}: the queue grows: offered 6,00")
    assert open_loop(run_here, 2900, ONE_BY_ONE) == (None, "")
    # It is not full, though it is slow: as many as wish are in flight.
    assert open_loop(run_here, 50_000, "constant:100ms")[0] is None


def test_a_burst_is_no_queue_that_grows() -> None:
    def simulation(arrival_ns: list[int], completion_ns: list[int]) -> Simulation:
        count = len(arrival_ns)
        zeros = np.zeros(count, np.int64)
        operations, fua = zeros.astype(np.uint8), zeros.astype(np.bool_)
        trace = Trace(np.array(arrival_ns), operations, zeros, zeros, fua)
        return Simulation(trace, np.array(completion_ns), new_annotations(count))

    steady = list(range(0, 900_000, 1000))
    burst = [900_000] * 100
    served = [at + 500 for at in steady] + [900_000 + 1000 * n for n in range(100)]
    assert find_overload(simulation(steady + burst, served)) is None
    late = [2 * at + 500 for at in steady]
    found = find_overload(simulation(steady, late))
    assert found is not None
    assert found.served_hz == pytest.approx(found.offered_hz / 2, rel=0.01)
