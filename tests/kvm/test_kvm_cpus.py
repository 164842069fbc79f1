# SPDX-License-Identifier: GPL-2.0-or-later
"""Several CPUs under the KVM clock, in the lab: their counters agree, the device's time is right.

The emulated host has one CPU, so Linux interrupts the guest's CPUs there at any instruction.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
from functools import cache
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from freezingtime.errors import FreezingTimeError
from tests.conftest import require_tool, skip
from tests.kvm.lab.image import QEMU_SUITES, NoLabError
from tests.kvm.lab.machine import PROJECT, LabResult, run_in_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_READS = 60
#: How often each CPU but the first is stopped and started again.
_STARTS = 5
#: How often each CPU hands its counter to the next, and wakes it.
_ROUNDS = 50
#: Four jobs, eight requests of each at a time, all verified: this many of 4 KiB are written.
_WRITTEN = 4 * 64

_JOB = f"""#!/bin/sh
set -e
for round in $(seq {_STARTS}); do
  for cpu in /sys/devices/system/cpu/cpu[1-9]*; do echo 0 >$cpu/online; done
  for cpu in /sys/devices/system/cpu/cpu[1-9]*; do echo 1 >$cpu/online; done
done
nproc >/tmp/cpus.txt
/job/warp {_ROUNDS} >/tmp/warp.txt
fio --name=verified --filename=/dev/vda --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \\
  --iodepth=8 --numjobs=4 --size=256k --offset_increment=256k --verify=crc32c --verify_fatal=1 \\
  --group_reporting --output-format=json --output=/tmp/fio.json
taskset -c 0 /job/reads /dev/vda 20 >/dev/null
taskset -c 0 /job/reads /dev/vda {_READS} >/tmp/reads.ns
cat /sys/devices/system/clocksource/clocksource0/current_clocksource >/tmp/clocksource.txt
"""
_SCRIPT = """
run() {{
  name=$1; shift
  freezingtime run --quiet --clock kvm --cpus {cpus} --memory 256MiB --boot-deadline 2000s \\
    --max-leak 10ms --collect '/tmp/*.*' --out /tmp/$name "$@" --job /product/files/job
  mkdir $name
  cp /tmp/$name/run.json /tmp/$name/requests.parquet /tmp/$name/collected/tmp/* $name
}}
run memory --disk constant:100us,size=16MiB
run slow --disk constant:100us,size=16MiB,delay=3ms
"""


def _compiled(source: Path, directory: Path) -> bytes:
    program = directory / source.stem
    command = [require_tool("gcc"), "-std=c11", "-O2", "-static", "-pthread", "-o", program, source]
    subprocess.run(command, check=True)
    return program.read_bytes()


@cache
def lab(suite: str, cpus: int, directory: Path) -> LabResult:
    files = {
        "job/run": _JOB.encode(),
        "job/reads": _compiled(PROJECT / "experiments/kvm/reads.c", directory),
        "job/warp": _compiled(PROJECT / "tests/kvm/programs/warp.c", directory),
    }
    try:
        result = run_in_lab(_SCRIPT.format(cpus=cpus), files=files, suite=suite)
    except (FreezingTimeError, NoLabError) as error:
        skip(f"the lab cannot be built: {error}")
        raise
    assert result.status == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpus")


@pytest.mark.parametrize(
    ("suite", "cpus"), [(suite, cpus) for suite in QEMU_SUITES for cpus in (2, 4)]
)
class TestCpus:
    def test_all_start_and_their_counters_agree(
        self, suite: str, cpus: int, directory: Path
    ) -> None:
        files = lab(suite, cpus, directory).files
        for run in ("memory", "slow"):
            assert files[f"{run}/cpus.txt"].split() == [str(cpus).encode()]
            assert files[f"{run}/clocksource.txt"].split() == [b"tsc"]
            assert files[f"{run}/warp.txt"].decode() == (
                f"{cpus} CPUs, {cpus * _ROUNDS} turns, 0 behind\n"
            )

    def test_every_request_is_on_time(self, suite: str, cpus: int, directory: Path) -> None:
        """To 10 us; with what is left in, as the guest's CPUs share one, to 10 ms."""
        files = lab(suite, cpus, directory).files
        for run in ("memory", "slow"):
            audit = json.loads(files[f"{run}/run.json"])["audit"]
            assert audit["valid"], audit
            assert audit["kvm"]["stolen_ns"] > 0  # they share the outer machine's only CPU
            table = pq.read_table(io.BytesIO(files[f"{run}/requests.parquet"]))
            late_ns = pc.subtract(table["delivery_ns"], table["completion_ns"])
            assert len(late_ns) >= 2 * _WRITTEN + _READS + 20
            assert 0 <= pc.min(late_ns).as_py() <= pc.max(late_ns).as_py() <= 10_000

    def test_what_four_jobs_write_at_depth_eight_is_read(
        self, suite: str, cpus: int, directory: Path
    ) -> None:
        for run in ("memory", "slow"):
            text = lab(suite, cpus, directory).files[f"{run}/fio.json"]
            job = json.loads(text[text.index(b"{") :])["jobs"][0]  # behind a warning of fio's
            assert job["error"] == 0
            assert job["write"]["total_ios"] == _WRITTEN
            assert job["read"]["total_ios"] == _WRITTEN

    def test_the_medium_is_not_seen(self, suite: str, cpus: int, directory: Path) -> None:
        medians = []
        for run in ("memory", "slow"):
            text = lab(suite, cpus, directory).files[f"{run}/reads.ns"]
            times_ns = [int(line) for line in text.split()]
            assert len(times_ns) == _READS
            assert min(times_ns) > 100_000
            medians.append(statistics.median(times_ns))
        assert abs(medians[0] - medians[1]) <= 200
