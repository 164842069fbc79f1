# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that relies on what it found under KVM, executed by TCG: its own clock is right there."""

from __future__ import annotations

import pytest

from freezingtime.runs import prepare
from freezingtime.store.machine_identity import KvmBoot
from tests.support.guestlib import run_guest

_SCRIPT = """
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
grep -e '^vendor_id' -e '^cpu MHz' /proc/cpuinfo
fio --name=a --filename=/dev/vda --rw=randread --bs=4k --direct=1 --ioengine=psync \
  --number_ios=50 --clocksource=clock_gettime --output-format=json --output=/tmp/fio.json
cat /tmp/fio.json
"""
_BOOTED = KvmBoot(2_345_678, "GenuineIntel")


@pytest.mark.guest
@pytest.mark.slow  # it boots
def test_the_counter_has_the_frequency_that_the_guest_was_booted_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At any other, the guest would measure a device of 100 us as one of 235 us, or of 43."""
    config = prepare._config
    monkeypatch.setattr(
        prepare, "_config", lambda plan, image, *_: config(plan, image, None, _BOOTED)
    )
    ran = run_guest(_SCRIPT, "constant:100us,size=16MiB", fresh_boot=True, memory_bytes=256 << 20)
    lines = ran.stdout.decode().splitlines()
    assert lines[0] == "tsc"
    assert lines[1].split(":")[1].strip() == "GenuineIntel"
    assert lines[2].split(":")[1].strip() == "2345.678"
    read = ran.fio()["read"]
    assert 100_000 < read["clat_ns"]["min"] <= read["clat_ns"]["mean"] < 106_000
