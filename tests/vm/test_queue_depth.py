# SPDX-License-Identifier: GPL-2.0-or-later
"""How many requests a disk takes at once: what the guest gives it, exact, and its data whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezingtime.disk.spec import parse_disk
from freezingtime.disk_traits import NO_TRAITS
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend, Queues
from freezingtime.vm.qemu.frontends import DriverSetting, driver_settings
from tests.support.frontendlib import device_path, fio_on
from tests.support.guestlib import GuestRun, fio_command, make_file, read_record, run_guest

#: Slow enough for the guest's CPU to fill any queue meanwhile.
DEVICE = "constant:1ms"
every_frontend = pytest.mark.parametrize("frontend", Frontend)


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("", Queues(256, 1)),
        (",queue-depth=64", Queues(64, 1)),
        (",queues=4", Queues(256, 4)),
        (",frontend=virtio-scsi", Queues(128, 1)),
        (",frontend=virtio-scsi,queue-depth=1,queues=16", Queues(1, 16)),
        (",frontend=sata", Queues(32, 1)),
        (",frontend=sata,queue-depth=1,queues=1", Queues(1, 1)),
        (",frontend=nvme", Queues(1023, 1)),
        (",queues=8,frontend=nvme,queue-depth=100", Queues(100, 8)),
    ],
)
def test_queues_by_frontend(text: str, queues: Queues) -> None:
    assert parse_disk(f"constant:1us{text}").queues == queues


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queue-depth=0", "queue-depth=0: write a whole number, such as 32"),
        ("queue-depth=many", "queue-depth=many: write a whole number, such as 32"),
        (
            "queue-depth=100",
            "queue-depth=100: virtio-blk takes a power of two from 4 to 1024",
        ),
        ("queue-depth=2", "queue-depth=2: virtio-blk takes a power of two from 4 to 1024"),
        ("queue-depth=2048", "queue-depth=2048: virtio-blk takes a power of two from 4 to 1024"),
        (
            "frontend=virtio-scsi,queue-depth=1025",
            "queue-depth=1025: virtio-scsi takes a whole number from 1 to 1024",
        ),
        (
            "frontend=sata,queue-depth=33",
            "queue-depth=33: sata takes a whole number from 1 to 32",
        ),
        (
            "frontend=nvme,queue-depth=3",
            "queue-depth=3: nvme takes a whole number from 4 to 1023",
        ),
        ("queues=17", "queues=17: virtio-blk has 1 to 16 queues"),
        ("frontend=sata,queues=2", "queues=2: sata has one queue"),
    ],
)
def test_queues_that_a_controller_cannot_have(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_disk(f"constant:1us,{text}")
    assert str(caught.value) == f"--disk: {said}"


def depths_set_in_guest(
    frontend: Frontend, serial: str, queues: Queues, ring_entries: int | None = None
) -> list[DriverSetting]:
    settings = driver_settings(frontend, serial, queues, NO_TRAITS, ring_entries)
    return [each for each in settings if each.key == "depth"]


def test_drivers_are_told_only_what_they_do_not_find() -> None:
    long_name = "a-name-of-more-than-twenty-characters"
    cut_name = DriverSetting("depth", "a-name-of-more-than-", 7)
    assert depths_set_in_guest(Frontend.SATA, long_name, Queues(7)) == [cut_name]
    assert depths_set_in_guest(Frontend.NVME, "n", Queues(24)) == [DriverSetting("depth", "n", 24)]
    assert depths_set_in_guest(Frontend.NVME, "n", Queues(1023)) == []
    assert depths_set_in_guest(Frontend.VIRTIO_SCSI, "s", Queues(4)) == []


def test_a_queue_that_qemu_makes_longer_than_it_was_told_is_one_of_these() -> None:
    expected = [DriverSetting("depth", "v", 4)]
    assert depths_set_in_guest(Frontend.VIRTIO_BLK, "v", Queues(4), ring_entries=1024) == expected
    assert depths_set_in_guest(Frontend.VIRTIO_BLK, "v", Queues(4), ring_entries=4) == []
    assert depths_set_in_guest(Frontend.VIRTIO_BLK, "v", Queues(256), ring_entries=256) == []


def depths_at_device(out: Path) -> list[int]:
    """Of fio's reads, how many requests the device had when each arrived."""
    return [row["queue_depth"] for row in read_record(out) if row["length_bytes"] == 4096]


def read_deeply(frontend: Frontend, options: str, depth: int, out: Path) -> list[int]:
    script = fio_on(frontend, rw="randread", ioengine="libaio", iodepth=depth, number_ios=4 * depth)
    run_guest(script, f"{DEVICE},frontend={frontend}{options}", out=out)
    return depths_at_device(out)


@pytest.mark.guest
@pytest.mark.parametrize("depth", [pytest.param(32, marks=pytest.mark.slow), 128])
@every_frontend
def test_the_device_has_as_many_requests_as_the_guest_gives(
    frontend: Frontend, depth: int, tmp_path: Path
) -> None:
    depths = read_deeply(frontend, "", depth, tmp_path / "run")
    most = min(depth, 32) if frontend is Frontend.SATA else depth
    assert max(depths) == most
    # A closed loop: but for its start and its end, it is always full.
    assert depths.count(most) + depths.count(most - 1) >= len(depths) // 2


@pytest.mark.guest
@pytest.mark.parametrize(
    ("frontend", "limit"),
    [
        (Frontend.VIRTIO_BLK, 16),
        pytest.param(Frontend.VIRTIO_SCSI, 5, marks=pytest.mark.slow),
        (Frontend.SATA, 7),
        pytest.param(Frontend.NVME, 24, marks=pytest.mark.slow),
    ],
)
def test_a_queue_takes_no_more_than_it_was_told(
    frontend: Frontend, limit: int, tmp_path: Path
) -> None:
    depths = read_deeply(frontend, f",queue-depth={limit}", 64, tmp_path / "run")
    assert max(depths) == limit


@pytest.mark.guest
def test_the_limit_of_nvme_outlives_a_change_of_scheduler(tmp_path: Path) -> None:
    script = "echo none >/sys/block/nvme0n1/queue/scheduler\n" + fio_on(
        Frontend.NVME, rw="randread", ioengine="libaio", iodepth=64, number_ios=200
    )
    run_guest(script, f"{DEVICE},frontend=nvme,queue-depth=24", out=tmp_path / "run")
    assert max(depths_at_device(tmp_path / "run")) == 24


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("frontend", [f for f in Frontend if f is not Frontend.SATA])
def test_a_guest_of_several_cpus_uses_as_many_queues(frontend: Frontend) -> None:
    """Of four queues; a guest of one CPU, like real ones, uses one."""
    name = f"$(readlink -f {device_path(frontend)})"
    count = f"name={name}\nls /sys/block/${{name##*/}}/mq"
    disk = f"constant:10us,frontend={frontend},queues=4"
    assert run_guest(count, disk, cpu_count=1).stdout.split() == [b"0"]
    assert run_guest(count, disk, cpu_count=4).stdout.split() == [b"0", b"1", b"2", b"3"]


@pytest.mark.guest
@pytest.mark.slow
def test_several_queues_are_exact_and_together_as_deep() -> None:
    """Four jobs of 64 on four queues of 32."""
    script = fio_command(
        rw="randrw", ioengine="libaio", iodepth=64, number_ios=500, numjobs=4, group_reporting=1
    )
    ran = run_guest(script, f"{DEVICE},queue-depth=32,queues=4", cpu_count=4)
    assert ran.result.totals.request_count >= 2000


def essence(ran: GuestRun) -> tuple[bytes, int, int, int]:
    """All of a run that is guest time or guest data."""
    job, totals = ran.result.job, ran.result.totals
    return ran.stdout, job.end_ns - job.start_ns, totals.warped_ns, totals.request_count


@pytest.mark.guest
@pytest.mark.parametrize(
    "frontend", [Frontend.VIRTIO_BLK, pytest.param(Frontend.NVME, marks=pytest.mark.slow)]
)
def test_the_medium_is_invisible_at_depth_128(frontend: Frontend) -> None:
    script = fio_on(frontend, rw="randrw", ioengine="libaio", iodepth=128, number_ios=600, fsync=50)
    disk = f"{DEVICE},frontend={frontend}"
    slow = run_guest(script, f"{disk},delay=3ms")
    assert essence(run_guest(script, disk)) == essence(slow)
    assert slow.result.totals.frozen_host_ns > 0


@pytest.mark.guest
@pytest.mark.parametrize(
    "medium",
    [
        "memory",
        pytest.param("memory,delay=1ms", marks=pytest.mark.slow),
        pytest.param("file", marks=pytest.mark.slow),
        pytest.param("file-direct", marks=pytest.mark.slow),
    ],
)
def test_fio_verifies_what_it_wrote_at_depth_128(medium: str, tmp_path: Path) -> None:
    """Flushed meanwhile, in requests of many sizes, at many places at once."""
    if medium.startswith("file"):
        path = make_file(tmp_path / "disk.img", 256 << 20)
        direct = ",direct=yes" if medium == "file-direct" else ""
        medium = f"file:{path},writable=yes{direct}"
    verify = fio_command(
        rw="randwrite",
        bssplit="4k/60:8k/20:64k/15:256k/5",
        ioengine="libaio",
        iodepth=128,
        fsync=64,
        verify="crc32c",
        verify_fatal=1,
        io_size="24m",
        randseed=7,
    )
    assert run_guest(verify, f"{DEVICE},medium={medium},size=256MiB").fio()["read"]["total_ios"]
