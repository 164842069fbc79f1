# SPDX-License-Identifier: GPL-2.0-or-later
"""The oldest and the newest QEMU that will do: exact, the same over any medium, and never stuck.

All other tests use the QEMU that is installed, or that ``FREEZINGTIME_QEMU`` names;
`make test-qemus` runs many of them with each QEMU of Debian's.
"""

from __future__ import annotations

import pytest

from freezingtime.errors import GuestError
from freezingtime.store.checksums import digest_file
from freezingtime.vm.qemu.program import find_qemu
from tests.support.guestlib import GuestRun, run_guest
from tests.support.qemulib import newest_qemu, oldest_qemu

pytestmark = pytest.mark.guest

#: One disk of each way in which a device works: at once, and in QEMU's main loop.
DISKS = ("constant:100us", "constant:100us,frontend=nvme")

#: Several, as what is wrong with one CPU's turns does not show; the same, to boot it once.
CPUS = 2

#: Both disks at once, several CPUs, and the clock read after each.
READ_BOTH = """
for disk in /dev/vda /dev/nvme0n1; do
    fio --name=t --filename=$disk --direct=1 --rw=randread --bs=4k --size=64m --number_ios=60 \
        --ioengine=libaio --iodepth=8 --output-format=json &
done
wait
cat /proc/uptime
"""


@pytest.fixture(scope="module", params=["oldest", "newest"])
def qemu(request: pytest.FixtureRequest) -> str:
    root = oldest_qemu() if request.param == "oldest" else newest_qemu()
    unpacked, used = find_qemu(str(root)), find_qemu()
    if unpacked.path != used.path and digest_file(unpacked.path) == digest_file(used.path):
        pytest.skip(f"{root.name}'s QEMU is the one that all tests use")
    return str(root)


def test_exact_and_the_same_over_any_medium(qemu: str) -> None:
    """At less than an instruction each nanosecond a budget that is QEMU's own comes too late."""

    def run(delay: str) -> GuestRun:
        disks = [disk + delay for disk in DISKS]
        return run_guest(READ_BOTH, *disks, qemu=qemu, cpu_count=CPUS, rate_hz=300_000_000)

    fast, slow = run(""), run(",delay=1ms..3ms")
    assert fast.stdout == slow.stdout
    assert fast.result.job.end_ns == slow.result.job.end_ns


def test_a_controller_that_waits_for_its_own_requests(qemu: str) -> None:
    """At power-off nvme writes out what is cached, in the vCPU thread, where guest time stands."""
    script = "dd if=/dev/zero of=/dev/nvme0n1 bs=64k count=8 2>/dev/null; poweroff -f"
    with pytest.raises(GuestError, match="shut down"):
        run_guest(script, DISKS[1], qemu=qemu, cpu_count=CPUS, host_limit_s=60.0)
