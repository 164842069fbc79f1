# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian guest: a whole system on a root disk, databases on devices that are not here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from examples import databases

from freezingtime.disk.spec import parse_disk
from freezingtime.images.build import build_debian_image
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.guest_image import GuestImage, RootDisk, remove_image
from freezingtime.store.saved_machine import remove_saved
from freezingtime.vm.job import directory_script
from tests.conftest import require_root, require_tool
from tests.support.guestlib import GuestRun, fio_command, mean_latency_ns, read_record, run_guest

# Building the image takes minutes; it stays in the cache for the next time.
pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(1800)]

EXAMPLES = Path(__file__).parents[2] / "examples"
FAST, SLOW = "intel-optane-p5800x-1.6tb", "samsung-870-evo-1tb"


@pytest.fixture(scope="module", autouse=True)
def image() -> GuestImage:
    require_tool("mmdebstrap")
    require_root()
    return build_debian_image(databases.IMAGE, DebianPlan(databases.PACKAGES, databases.ROOT))


def run_debian(script: str, *disks: str, **plan: object) -> GuestRun:
    return run_guest(script, *disks, guest="databases", **plan)


def essence(ran: GuestRun) -> tuple[object, ...]:
    """All of a run that is guest time or guest data."""
    job, totals = ran.result.job, ran.result.totals
    return ran.stdout, ran.stderr, job.start_ns, job.end_ns, totals.warped_ns, totals.request_count


def run_example(name: str, device: str) -> GuestRun:
    directory = EXAMPLES / name
    script = directory_script(directory).decode().partition("\n")[2]
    return run_debian(
        f"export TRANSACTIONS=60\n{script}", f"{device},size=1GiB", job_directory=directory
    )


class TestSystem:
    def test_nothing_failed_and_nothing_is_left_to_do(self) -> None:
        ran = run_debian(
            "systemctl --failed --no-legend; systemctl is-system-running; "
            "systemctl list-jobs --no-legend; systemctl list-timers --no-legend; "
            "findmnt -n -o SOURCE,FSTYPE /"
        )
        assert ran.stdout.split() == [b"running", b"/dev/sdb", b"ext4"]

    def test_the_image_is_never_changed(self, image: GuestImage) -> None:
        assert image.root_path is not None
        before_ns = image.root_path.stat().st_mtime_ns
        assert run_debian("echo x >/etc/mark; sync; cat /etc/mark").stdout == b"x\n"
        assert run_debian("[ -e /etc/mark ] || echo gone").stdout == b"gone\n"
        assert image.root_path.stat().st_mtime_ns == before_ns

    def test_user_disks_are_named_as_in_the_mini_guest(self) -> None:
        ran = run_debian("ls /dev/vd? /dev/disk/by-id", "constant:0", "constant:0,name=data")
        assert ran.stdout.split()[:2] == [b"/dev/vda", b"/dev/vdb"]
        assert b"virtio-data" in ran.stdout

    def test_devices_are_exact(self) -> None:
        command = fio_command(rw="randread", number_ios=100)
        means_ns = [
            mean_latency_ns(run_debian(command, f"constant:{device}").fio(), "read")
            for device in ("0", "100us", "100us,delay=3ms")
        ]
        assert means_ns[1] == means_ns[2]
        assert 99_900 < means_ns[1] - means_ns[0] < 100_300


class TestRootDevice:
    JOB = (
        "echo 3 >/proc/sys/vm/drop_caches; cat /usr/bin/*sql* >/dev/null; "
        "dd if=/dev/zero of=/x bs=1M count=3 conv=fsync status=none"
    )

    def test_takes_no_time_and_no_place_in_the_record_unless_named(self, tmp_path: Path) -> None:
        ran = run_debian(self.JOB, out=tmp_path / "out")
        assert ran.result.totals.request_count == 0
        assert len(read_record(tmp_path / "out")) == 0

    def test_named_it_is_a_device_like_others(self, tmp_path: Path) -> None:
        plain = run_debian(self.JOB)
        root = parse_disk("constant:1ms")
        ran = run_debian(self.JOB, root_device=root, out=tmp_path / "out")
        rows = read_record(tmp_path / "out")
        assert {row["disk"] for row in rows} == {"root"}
        assert {row["completion_ns"] - row["arrival_ns"] for row in rows} == {1_000_000}
        slower_ns = (ran.result.job.end_ns - ran.result.job.start_ns) - (
            plain.result.job.end_ns - plain.result.job.start_ns
        )
        assert slower_ns > 10_000_000

    def test_booted_and_restored_are_identical_whatever_the_root_device(self) -> None:
        for root in (None, parse_disk("constant:200us")):
            booted = run_debian(self.JOB, "constant:1us", root_device=root, fresh_boot=True)
            restored = run_debian(self.JOB, "constant:1us", root_device=root)
            assert essence(booted) == essence(restored)


def test_disks_are_mounted_with_what_the_image_has_there() -> None:
    """Before the job, as in the mini guest; content and owner are those of the directory."""
    place, new = "/var/lib/postgresql", "/srv/new/place"
    script = (
        f"findmnt -rn -o SOURCE,FSTYPE,TARGET {place}; findmnt -rn -o SOURCE,FSTYPE,TARGET {new}; "
        f"stat -c '%U %a' {place} {place}/15/main {new}; ls -A {place} {new}; "
        f"dd if=/dev/zero of={place}/x bs=4k count=50 oflag=dsync 2>&1"
    )
    runs = [
        run_debian(
            script,
            f"constant:1ms,size=1GiB,mount={place}{delay}",
            f"constant:1ms,size=1GiB,frontend=nvme,mount={new}{delay}",
        )
        for delay in ("", ",delay=1ms")
    ]
    assert essence(runs[0]) == essence(runs[1])
    assert runs[0].stdout.decode().splitlines()[:9] == [
        *(f"/dev/vda ext4 {place}", f"/dev/nvme0n1 ext4 {new}"),
        *("postgres 755", "postgres 700", "root 755"),
        *(f"{new}:", "", f"{place}:", "15"),
    ]


def test_one_prepared_database_serves_many_devices() -> None:
    """The root disk and the mounted file system are as they were left, whatever the devices."""
    prepare = (
        "set -e; mkfs.ext4 -q /dev/vda; mount /dev/vda /mnt; echo kept >/etc/mark; "
        "sqlite3 /mnt/db 'CREATE TABLE t(a); INSERT INTO t VALUES(42)'"
    )
    use = (
        "cat /etc/mark; echo 3 >/proc/sys/vm/drop_caches; "
        "sqlite3 /mnt/db 'INSERT INTO t VALUES(43); SELECT sum(a) FROM t; PRAGMA integrity_check'; "
        "umount /mnt; e2fsck -f -n /dev/vda >/dev/null 2>&1; echo $?"
    )
    name = f"test-{os.getpid()}"
    run_debian(prepare, "constant:0,size=1GiB", save_as=name)
    try:
        for device in (FAST, SLOW):
            runs = [
                run_debian(use, f"{device}{delay}", start_from=name, root_device=parse_disk(SLOW))
                for delay in ("", ",delay=1ms")
            ]
            assert runs[0].stdout == b"kept\n85\nok\n0\n"
            assert essence(runs[0]) == essence(runs[1])
    finally:
        remove_saved(name)


@pytest.mark.parametrize("example", databases.JOBS)
class TestDatabases:
    def test_figures_are_the_devices_and_the_data_is_whole(self, example: str) -> None:
        figures = {}
        for device in (FAST, SLOW):
            lines = run_example(example, device).stdout.decode().splitlines()
            output = dict(line.split(" ", 1) for line in lines)
            assert output["rows"] == output["transactions"] == "60"
            assert output["file_system"] == "ok"
            assert output.get("integrity", "ok") == "ok"
            assert output.get("balances", "t") == "t"
            assert output.get("Bad_checksums", "0") == "0"
            figures[device] = int(output["us_per_transaction"])
        # Each commit waits for the log to be durable: a flush of the slow device, at the least.
        assert figures[SLOW] > figures[FAST] + 100

    def test_a_repeated_run_is_identical(self, example: str) -> None:
        over_memory = run_example(example, SLOW)
        assert essence(over_memory) == essence(run_example(example, f"{SLOW},delay=1ms"))


def test_an_xfs_root_is_the_whole_system() -> None:
    """Owners, modes, and the bytes of every file that a package has."""
    name = f"test-xfs-{os.getpid()}"
    build_debian_image(name, DebianPlan((), RootDisk("xfs", 1 << 30)))
    try:
        ran = run_guest(
            "findmnt -n -o FSTYPE /; stat -c '%a %U:%G' /tmp /etc/shadow /usr/bin/passwd; "
            "xfs_info / | grep -c meta-data; systemctl is-system-running; "
            "dpkg --verify | grep -v '^missing .*/usr/share/' || echo unchanged",
            guest=name,
        )
        assert ran.stdout.decode().splitlines() == [
            *("xfs", "1777 root:root", "640 root:shadow", "4755 root:root", "1"),
            *("running", "unchanged"),
        ]
    finally:
        remove_image(name)
