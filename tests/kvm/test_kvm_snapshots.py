# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines saved under the KVM clock, in the lab: they go on there, exactly, and there again.

What was written is there, the guest's clock goes on, and a device has its time; under the exact
clock two runs from the same machine are identical.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from freezingtime.errors import FreezingTimeError
from tests.conftest import skip
from tests.kvm.lab.image import NoLabError
from tests.kvm.lab.machine import LabResult, run_in_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

_PREPARE = """\
#!/bin/sh
set -e
mkdir /mnt/data
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/vda
mount /dev/vda /mnt/data
dd if=/dev/urandom of=/mnt/data/random bs=64k count=32 2>/dev/null
md5sum /mnt/data/random >/mnt/data/sums
sync
grep -v MHz /proc/cpuinfo >/mnt/data/cpu
cut -d' ' -f1 /proc/uptime
"""
_MEASURE = """\
#!/bin/sh
set -e
echo 3 >/proc/sys/vm/drop_caches
md5sum -c /mnt/data/sums >&2
cut -d' ' -f1 /proc/uptime
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
fio --name=a --filename=/mnt/data/random --rw=randread --bs=4k --direct=1 --ioengine=psync \\
  --number_ios=60 --clocksource=clock_gettime --output-format=json --output=/tmp/fio.json
dd if=/dev/zero of=/mnt/data/more bs=4k count=16 oflag=direct 2>/dev/null
"""
#: By name: the clock, and the machine that it goes on from.
_RUNS = {
    "kvm": ("kvm", "prepared"),
    "exact": ("exact", "prepared"),
    "again": ("exact", "prepared"),
    "back": ("kvm", "measured"),
}
_SCRIPT = f"""
cat >/tmp/prepare <<'EOF'
{_PREPARE}
EOF
cat >/tmp/measure <<'EOF'
{_MEASURE}
EOF
freezingtime run --clock kvm --allow-late --memory 256MiB --cpus {{cpus}} \\
  --disk constant:100us,size=16MiB --save prepared --out /tmp/prepared --script /tmp/prepare
cp /tmp/prepared/stdout.txt prepared.txt
measure() {{{{
  name=$1; clock=$2; from=$3; shift 3
  [ $clock = exact ] || set -- --max-leak {{max_leak}} "$@"
  freezingtime run --clock $clock --from $from --disk constant:100us "$@" \\
    --collect /tmp/fio.json --out /tmp/$name --script /tmp/measure
  cp /tmp/$name/run.json $name.json
  cp /tmp/$name/stdout.txt $name.txt
  cp /tmp/$name/collected/tmp/fio.json $name-fio.json
}}}}
measure kvm kvm prepared
measure exact exact prepared --save measured
measure again exact prepared
freezingtime compare /tmp/exact /tmp/again >compare.txt || true
measure back kvm measured
"""


#: Of guests with so many CPUs, how much may be left in: the lab has one CPU for two of a guest.
_MAX_LEAK = {1: "10us", 2: "10ms"}


@cache
def lab(cpus: int) -> LabResult:
    script = _SCRIPT.format(cpus=cpus, max_leak=_MAX_LEAK[cpus])
    try:
        result = run_in_lab(script, deadline_s=7000)
    except (FreezingTimeError, NoLabError) as error:
        skip(f"the lab cannot be built: {error}")
        raise
    assert result.status == 0, result.stderr
    return result


def document(cpus: int, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(lab(cpus).files[name])
    return content


@pytest.mark.parametrize("name", _RUNS)
@pytest.mark.parametrize("cpus", _MAX_LEAK)
class TestGoesOn:
    """The job checks what was written before, and fails if that is not there."""

    def test_every_request_is_on_time(self, cpus: int, name: str) -> None:
        run = document(cpus, f"{name}.json")
        assert (run["plan"]["clock"], run["plan"]["from"]) == _RUNS[name]
        assert run["audit"]["valid"], run["audit"]
        assert run["job"]["exit_status"] == 0

    def test_the_guests_clock_goes_on(self, cpus: int, name: str) -> None:
        before_s = float(lab(cpus).files["prepared.txt"])
        uptime_s, clocksource = lab(cpus).files[f"{name}.txt"].decode().split()
        assert before_s <= float(uptime_s) < before_s + 10
        assert clocksource == "tsc"

    def test_the_device_is_what_the_guest_sees(self, cpus: int, name: str) -> None:
        latency_ns = document(cpus, f"{name}-fio.json")["jobs"][0]["read"]["clat_ns"]
        assert 100_000 < latency_ns["min"] <= latency_ns["mean"] < 130_000


@pytest.mark.parametrize("cpus", _MAX_LEAK)
def test_measured_exactly_twice_it_is_the_same(cpus: int) -> None:
    assert b"identical" in lab(cpus).files["compare.txt"]
