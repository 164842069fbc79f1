# SPDX-License-Identifier: GPL-2.0-or-later
"""Frontends under the KVM clock, in the lab: each has its device's time, over any medium."""

from __future__ import annotations

import json
import statistics
import subprocess
from functools import cache
from pathlib import Path

import pytest

from freezingtime.errors import FreezingTimeError
from tests.conftest import require_tool, skip
from tests.kvm.lab.image import NoLabError
from tests.kvm.lab.machine import PROJECT, LabResult, run_in_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

#: Below /dev/disk/by-id: the first SCSI disk is the control disk.
_DISKS = {"virtio-scsi": "scsi-scsi", "sata": "ata-sata", "nvme": "nvme-nvme"}
_READS = 60
#: What the guest's own software adds to a read.
_SOFTWARE_NS = 60_000

_JOB = f"""#!/bin/sh
set -e
for disk in {" ".join(_DISKS.values())}; do
  /job/reads /dev/disk/by-id/$disk 20 >/dev/null
  /job/reads /dev/disk/by-id/$disk {_READS} >/tmp/$disk.ns
done
"""
_SCRIPT = """
run() {
  name=$1; delay=$2
  freezingtime run --quiet --clock kvm --memory 256MiB --collect '/tmp/*.ns' --out /tmp/$name \\
    --disk constant:100us,size=16MiB,name=scsi,frontend=virtio-scsi$delay \\
    --disk constant:100us,size=16MiB,name=sata,frontend=sata$delay \\
    --disk constant:100us,size=16MiB,name=nvme,frontend=nvme$delay --job /product/files/job
  mkdir $name
  cp /tmp/$name/run.json /tmp/$name/collected/tmp/*.ns $name
}
run memory ''
run slow ,delay=3ms
"""


def _compiled(directory: Path) -> bytes:
    program = directory / "reads"
    source = PROJECT / "experiments" / "kvm" / "reads.c"
    command = [require_tool("gcc"), "-std=c11", "-O2", "-static", "-o", program, source]
    subprocess.run(command, check=True)
    return program.read_bytes()


@cache
def lab(directory: Path) -> LabResult:
    files = {"job/run": _JOB.encode(), "job/reads": _compiled(directory)}
    try:
        result = run_in_lab(_SCRIPT, files=files)
    except (FreezingTimeError, NoLabError) as error:
        skip(f"the lab cannot be built: {error}")
        raise
    assert result.status == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frontends")


def read_ns(directory: Path, run: str, frontend: str) -> list[int]:
    """How long each read took, by the guest's clock."""
    text = lab(directory).files[f"{run}/{_DISKS[frontend]}.ns"]
    return [int(line) for line in text.split()]


@pytest.mark.parametrize("run", ["memory", "slow"])
def test_every_request_is_on_time(directory: Path, run: str) -> None:
    audit = json.loads(lab(directory).files[f"{run}/run.json"])["audit"]
    assert audit["valid"], audit
    assert audit["requests"] >= len(_DISKS) * (_READS + 20)


@pytest.mark.parametrize("frontend", _DISKS)
def test_the_medium_is_not_seen(directory: Path, frontend: str) -> None:
    fast, slow = (read_ns(directory, run, frontend) for run in ("memory", "slow"))
    for times_ns in (fast, slow):
        assert len(times_ns) == _READS
        assert min(times_ns) > 100_000
        assert statistics.median(times_ns) < 100_000 + _SOFTWARE_NS
    assert abs(statistics.median(fast) - statistics.median(slow)) <= 50
