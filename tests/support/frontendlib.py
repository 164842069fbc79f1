# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs on disks behind any frontend, and what the guest sees of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from freezingtime.frontend import Frontend
from tests.support.guestlib import fio_command

#: What the names in the guest's /dev/disk/by-id begin with.
BUS = {
    Frontend.VIRTIO_BLK: "virtio",
    Frontend.VIRTIO_SCSI: "scsi",
    Frontend.SATA: "ata",
    Frontend.NVME: "nvme",
}

#: Where the guest's own scheduling hides part of the device's time; see tests/guest/test_exact.py.
PREEMPT_FULL = (
    "mount -t debugfs debugfs /sys/kernel/debug\n"
    "echo full > /sys/kernel/debug/sched/preempt\n"
    "for disk in /sys/block/*; do echo none > $disk/queue/scheduler 2>/dev/null; done\n"
)


def device_path(frontend: Frontend, name: str = "disk1") -> str:
    """The name under which the guest finds a disk, whatever was found first."""
    return f"/dev/disk/by-id/{BUS[frontend]}-{name}"


def fio_on(frontend: Frontend, name: str = "disk1", **options: object) -> str:
    """A fio command line on that disk that prints JSON."""
    return fio_command(filename=device_path(frontend, name), **options)


def fio_jobs(stdout: bytes) -> list[Mapping[str, Any]]:
    """The jobs of all of fio's JSON documents in what was printed, none of them failed."""
    return list(_jobs(stdout.decode()))


def _jobs(text: str) -> Iterable[Mapping[str, Any]]:
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        document, end = decoder.raw_decode(text, at)
        for job in document["jobs"]:
            assert job["error"] == 0
            yield job
        at = text.find("{", end)
