# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line, and the memory that it asks the host for."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.vm.qemu.command import DiskSocket, MachineFiles, qemu_command
from freezingtime.vm.qemu.cpu_model import CpuModel
from tests.support.guestlib import run_guest

GIB = 1 << 30


def command(memory_bytes: int) -> list[str]:
    files = MachineFiles(
        Path("kernel"), Path("initrd"), "console", "stdout", "stderr", DiskSocket(0, "control")
    )
    return qemu_command(
        "qemu",
        files,
        memory_bytes=memory_bytes,
        cpu_count=1,
        cpu_model=CpuModel.V1,
        qmp_fd=3,
        incoming=False,
    )


@pytest.mark.parametrize("memory_bytes", [512 << 20, 64 * GIB])
def test_memory_is_not_reserved(memory_bytes: int) -> None:
    arguments = command(memory_bytes)
    mebibytes = memory_bytes >> 20
    assert arguments[arguments.index("-m") + 1] == f"{mebibytes}M"
    backend = arguments[arguments.index("-object") + 1]
    assert backend == f"memory-backend-ram,id=pc.ram,size={mebibytes}M,reserve=off"
    assert arguments[arguments.index("-machine") + 1].endswith(",memory-backend=pc.ram")


@pytest.mark.slow
@pytest.mark.guest
def test_a_guest_of_more_memory_than_hosts_have() -> None:
    """Booted in place: a snapshot of it would take a gigabyte in the cache of whoever tests."""
    ran = run_guest(
        "grep MemTotal /proc/meminfo; dd if=/dev/vda of=/dev/null bs=4k count=100 iflag=direct",
        "constant:10us",
        memory_bytes=64 * GIB,
        fresh_boot=True,
        boot_deadline_s=1800.0,
    )
    total_kib = int(ran.stdout.split()[1])
    assert 62 * GIB < total_kib << 10 < 64 * GIB
    assert ran.result.valid
