# SPDX-License-Identifier: GPL-2.0-or-later
"""Every frontend: exact, the same over any medium, and what is written is what is read.

``pytest -s tests/guest/test_frontends.py -k latency`` prints the table of
docs/explanation/software-time.md: what the guest saw beyond the device's time and its own time on a
zero-latency device, in ns.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from freezingtime.disk.spec import parse_disk
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend
from freezingtime.medium.memory import MemoryMedium
from freezingtime.runs.saving import require_savable
from tests.support.frontendlib import PREEMPT_FULL, device_path, fio_jobs, fio_on
from tests.support.guestlib import GuestRun, mean_latency_ns, read_record, run_guest

LATENCIES_NS = {"0": 0, "10us": 10_000, "100us": 100_000, "1ms": 1_000_000, "10ms": 10_000_000}
#: With several CPUs the guest's own time depends on which of them is asked to wake up, and on
#: where in its turn another is: the means of two devices differ by more.
TOLERANCE_NS = {1: 220, 4: 1500}
OPERATIONS: Mapping[str, Mapping[str, object]] = {
    "read": {"rw": "randread"},
    "write": {"rw": "randwrite"},
    "flush": {"rw": "randwrite", "fsync": 1},
}
every_frontend = pytest.mark.parametrize("frontend", Frontend)


@functools.cache
def added_ns(frontend: Frontend, cpu_count: int) -> Mapping[tuple[str, str], float]:
    """By operation and latency, what is added to the device's and the guest's own time."""
    disks = [f"constant:{text},name=d{text},frontend={frontend}" for text in LATENCIES_NS]
    shapes = [(operation, text) for operation in OPERATIONS for text in LATENCIES_NS]
    commands = [
        ("" if operation == "read" else PREEMPT_FULL)
        + fio_on(frontend, f"d{text}", number_ios=300, **OPERATIONS[operation])
        for operation, text in shapes
    ]
    jobs = fio_jobs(run_guest("\n".join(commands), *disks, cpu_count=cpu_count).stdout)
    means_ns = {
        (operation, text): mean_latency_ns(job, operation)
        for (operation, text), job in zip(shapes, jobs, strict=True)
    }
    return {
        (operation, text): mean_ns - means_ns[operation, "0"] - LATENCIES_NS[text]
        for (operation, text), mean_ns in means_ns.items()
    }


@pytest.mark.guest
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("cpu_count", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "frontend",
    [
        Frontend.VIRTIO_BLK,
        *(
            pytest.param(frontend, marks=pytest.mark.slow)
            for frontend in (Frontend.NVME, Frontend.VIRTIO_SCSI, Frontend.SATA)
        ),
    ],
)
def test_guest_sees_the_latency_that_the_device_was_told(
    frontend: Frontend, cpu_count: int, operation: str
) -> None:
    added = {
        text: added_ns(frontend, cpu_count)[operation, text] for text in LATENCIES_NS if text != "0"
    }
    print(
        f"\n| {frontend} | {cpu_count} | {operation} |",
        " | ".join(f"{ns:+.0f}" for ns in added.values()),
    )
    assert all(abs(ns) <= TOLERANCE_NS[cpu_count] for ns in added.values())


def essence(ran: GuestRun) -> tuple[bytes, int, int, int]:
    """All of a run that is guest time or guest data."""
    job, totals = ran.result.job, ran.result.totals
    return ran.stdout, job.end_ns - job.start_ns, totals.warped_ns, totals.request_count


@pytest.mark.guest
@pytest.mark.parametrize(
    "frontend",
    [
        Frontend.VIRTIO_BLK,
        Frontend.NVME,
        *(
            pytest.param(frontend, marks=pytest.mark.slow)
            for frontend in (Frontend.VIRTIO_SCSI, Frontend.SATA)
        ),
    ],
)
def test_the_medium_is_invisible(frontend: Frontend) -> None:
    script = (
        fio_on(frontend, rw="randrw", number_ios=300, ioengine="libaio", iodepth=32, fsync=16)
        + f"\nblkdiscard -o 1048576 -l 2097152 {device_path(frontend)}"
    )
    disk = f"constant:100us,frontend={frontend}"
    fast = run_guest(script, disk)
    slow = run_guest(script, f"{disk},delay=3ms")
    assert essence(fast) == essence(slow)
    assert slow.result.totals.frozen_host_ns > 0


@pytest.mark.guest
@every_frontend
def test_data_that_was_written_is_read(frontend: Frontend) -> None:
    script = fio_on(
        frontend,
        **{"rw": "randwrite", "bsrange": "4k-256k", "size": "8m", "verify": "crc32c"},
        **{"ioengine": "libaio", "iodepth": 16, "verify_fatal": 1},
    )
    (job,) = fio_jobs(run_guest(script, f"constant:50us,frontend={frontend}").stdout)
    assert job["read"]["io_bytes"] == job["write"]["io_bytes"] == 8 << 20


@pytest.fixture
def medium_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the memory medium was asked to do, in order: ``write``, ``flush`` and so on."""
    calls: list[str] = []

    def count(name: str) -> None:
        real = getattr(MemoryMedium, name)

        def counted(self: MemoryMedium, *arguments: object) -> object:
            calls.append(name)
            return real(self, *arguments)

        monkeypatch.setattr(MemoryMedium, name, counted)

    for name in ("write", "flush", "discard"):
        count(name)
    return calls


def in_turn(calls: Iterable[str]) -> list[str]:
    """The calls without repetitions; QEMU itself may flush once more as the machine stops."""
    names = [name for name, _ in itertools.groupby(calls)]
    return names[:-1] if names[-1] == "flush" else names


@pytest.mark.guest
@every_frontend
def test_flushes_reach_the_medium(frontend: Frontend, medium_calls: list[str]) -> None:
    """fsync flushes; a synchronous write does too, or is a forced one (FUA).

    fio makes no fsync after its last write, so that one's flush is the first synchronous write's.
    """
    fsync = fio_on(frontend, rw="write", number_ios=20, fsync=1, output="/dev/null")
    dsync = fio_on(frontend, rw="write", number_ios=10, sync="dsync", output="/dev/null")
    discard = f"blkdiscard -o 1048576 -l 1048576 {device_path(frontend)}"
    run_guest(f"{fsync}\n{dsync}\n{discard}", f"constant:10us,frontend={frontend}")
    assert medium_calls.count("write") == 30
    assert in_turn(medium_calls) == [*["write", "flush"] * 29, "discard"]


@pytest.mark.guest
@pytest.mark.parametrize("frontend", [Frontend.VIRTIO_BLK, Frontend.VIRTIO_SCSI, Frontend.SATA])
def test_without_a_write_cache_every_write_is_forced(
    frontend: Frontend, medium_calls: list[str], tmp_path: Path
) -> None:
    script = fio_on(frontend, rw="write", number_ios=20, fsync=1, output="/dev/null")
    script += f"\ncat /sys/block/$(basename $(readlink {device_path(frontend)}))/queue/write_cache"
    ran = run_guest(
        script, f"constant:10us,write-cache=off,frontend={frontend}", out=tmp_path / "run"
    )
    assert ran.stdout == b"write through\n"
    writes = [row for row in read_record(tmp_path / "run") if row["operation"] != "read"]
    assert [(row["operation"], row["fua"]) for row in writes] == [("write", True)] * 20
    assert medium_calls.count("write") == 20
    assert in_turn(medium_calls) == [*["write", "flush"] * 19, "write"]


def test_nvme_cannot_be_saved() -> None:
    with pytest.raises(InputError, match=r"--save x: QEMU cannot save an nvme controller"):
        require_savable("x", [parse_disk("constant:0"), parse_disk("constant:0,frontend=nvme")])


@pytest.mark.guest
def test_disks_of_all_frontends_in_one_guest() -> None:
    disks = [f"constant:20us,frontend={frontend},name={frontend}.1" for frontend in Frontend]
    paths = [device_path(frontend, f"{frontend}.1") for frontend in Frontend]
    script = "\n".join(f"test -b {path} && basename $(readlink {path})" for path in paths)
    names = run_guest(script, *disks).stdout.decode().split()
    assert names == ["vda", "sdb", "sdc", "nvme0n1"]


def test_unknown_frontend_is_refused() -> None:
    with pytest.raises(InputError, match=r"frontend=ide: .* virtio-scsi"):
        parse_disk("constant:0,frontend=ide")


def test_nvme_without_a_write_cache_is_refused() -> None:
    with pytest.raises(InputError, match=r"--disk: write-cache=off: .* nvme .* has one"):
        parse_disk("constant:0,frontend=nvme,write-cache=off")
