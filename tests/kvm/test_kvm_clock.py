# SPDX-License-Identifier: GPL-2.0-or-later
"""The KVM clock with a real kvm.ko and a real guest, in the lab, where one instruction takes 1 ns.

`make test-kvm` runs these; each starts the outer machine once and takes minutes.
"""

from __future__ import annotations

import json
from functools import cache
from statistics import median
from typing import Any

import pytest

from freezingtime.errors import FreezingTimeError
from tests.conftest import skip
from tests.kvm.lab.image import QEMU_SUITES, NoLabError
from tests.kvm.lab.machine import LabResult, run_in_lab

#: The first test waits for the lab, which takes minutes on an idle machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

#: What the guest's own software adds to a read there: fio and its system calls.
_SOFTWARE_NS = 25_000

_JOB = """\
#!/bin/sh
fio --name=warm --filename=/dev/vda --rw=randread --bs=4k --direct=1 --ioengine=psync \
  --number_ios=50 >/dev/null
fio --name=a --filename=/dev/vda --rw=randread --bs=4k --direct=1 --ioengine=psync \
  --number_ios=400 --output-format=json --output=/tmp/fio.json --write_lat_log=/tmp/fio
cat /sys/devices/system/clocksource/clocksource0/current_clocksource >/tmp/clocksource
"""

_SCRIPT = """
cat >/tmp/job <<'EOF'
{job}
EOF
run() {{
  name=$1; shift
  freezingtime run --quiet --clock kvm --memory 256MiB --collect '/tmp/fio*' \\
    --collect '/tmp/clocksource' --out /tmp/$name "$@" --script /tmp/job
  cp /tmp/$name/run.json $name.json
  cp /tmp/$name/collected/tmp/fio.json $name-fio.json
  cut -d, -f2 /tmp/$name/collected/tmp/fio_clat.1.log >$name-clat.ns
  cp /tmp/$name/collected/tmp/clocksource $name-clocksource
}}
freezingtime doctor >doctor.txt || true
run fast --disk constant:100us,size=16MiB
run slow --disk constant:100us,size=16MiB,delay=3ms
freezingtime compare /tmp/fast /tmp/fast >compare.txt || true
"""


@cache
def lab(suite: str) -> LabResult:
    try:
        result = run_in_lab(_SCRIPT.format(job=_JOB), suite=suite)
    except (FreezingTimeError, NoLabError) as error:
        skip(f"the lab cannot be built: {error}")
        raise
    assert result.status == 0, result.stderr
    return result


def document(result: LabResult, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result.files[f"{name}.json"])
    return content


def read_latency_ns(result: LabResult, name: str, figure: str) -> float:
    """The completion latency of the reads, as fio saw it: its ``mean``, ``min``, ``max``, ``p50``.

    The shortest may be a read that has found another interrupt's way prepared.
    """
    if figure == "p50":
        return median(map(int, result.files[f"{name}-clat.ns"].split()))
    job = json.loads(result.files[f"{name}-fio.json"])["jobs"][0]
    return float(job["read"]["clat_ns"][figure])


@pytest.mark.parametrize("suite", QEMU_SUITES)
class TestReads:
    def test_the_host_is_found_to_do(self, suite: str) -> None:
        assert b"KVM clock     usable" in lab(suite).files["doctor.txt"]

    def test_every_request_is_on_time(self, suite: str) -> None:
        for name in ("fast", "slow"):
            run = document(lab(suite), name)
            assert run["plan"]["clock"] == "kvm"
            assert run["audit"]["valid"], run["audit"]
            assert run["audit"]["requests"] >= 450
            assert lab(suite).files[f"{name}-clocksource"].strip() == b"tsc"

    def test_the_device_is_what_the_guest_sees(self, suite: str) -> None:
        for name in ("fast", "slow"):
            assert read_latency_ns(lab(suite), name, "min") > 100_000
            assert read_latency_ns(lab(suite), name, "mean") < 100_000 + _SOFTWARE_NS

    def test_the_medium_is_not_seen(self, suite: str) -> None:
        """Its 3 ms a read stay outside: what is left is the noise of the guest's own timers."""
        for figure, within_ns in (("p50", 50), ("mean", 500)):
            fast, slow = (read_latency_ns(lab(suite), name, figure) for name in ("fast", "slow"))
            assert abs(fast - slow) <= within_ns, figure
        frozen_ns = document(lab(suite), "slow")["totals"]["frozen_host_ns"]
        assert frozen_ns > 400 * 2_000_000

    def test_what_the_clock_costs_is_said(self, suite: str) -> None:
        for name in ("fast", "slow"):
            account = document(lab(suite), name)["audit"]["kvm"]
            assert account["is_signalled"] == 1
            assert account["p99_late_ns"] <= 1_000
            assert account["preemption_count"] > 0
            assert account["taken_out_ns"] > account["left_in_ns"]
            assert 0 < account["in_cycles"] < 10_000
            assert 0 < account["out_cycles"] < 10_000
            assert account["tsc_khz"] == pytest.approx(1_000_000, rel=0.01)

    def test_no_two_runs_are_called_identical(self, suite: str) -> None:
        assert b"identical" not in lab(suite).files["compare.txt"]
        assert b"kvm -> kvm" in lab(suite).files["compare.txt"]
