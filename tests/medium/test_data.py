# SPDX-License-Identifier: GPL-2.0-or-later
"""Are the bytes right? Verified in the guest, and compared on the host afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.guestlib import MIXED_SIZES, fio_command, make_file, run_endurance_job, run_guest

pytestmark = pytest.mark.guest

DISK_BYTES = 256 << 20

VERIFY = fio_command(
    rw="randwrite",
    bssplit=MIXED_SIZES,
    ioengine="libaio",
    iodepth=32,
    verify="crc32c",
    verify_fatal=1,
    io_size="24m",
    randseed=7,
)


@pytest.mark.parametrize("medium", ["memory", "memory,delay=1ms", "file", "file-direct"])
def test_fio_verifies_what_it_wrote(medium: str, tmp_path: Path) -> None:
    disk = f"constant:50us,medium={medium},size=256MiB"
    if medium.startswith("file"):
        path = make_file(tmp_path / "disk.img", DISK_BYTES)
        direct = ",direct=yes" if medium == "file-direct" else ""
        disk = f"constant:50us,medium=file:{path},writable=yes{direct}"
    job = run_guest(VERIFY, disk).fio()
    assert job["write"]["total_ios"] > 500
    assert job["read"]["total_ios"] >= job["write"]["total_ios"]


def test_equal_jobs_leave_equal_media(tmp_path: Path) -> None:
    """Over a direct, slow medium and over a buffered, fast one."""
    fast = make_file(tmp_path / "fast.img", DISK_BYTES)
    slow = make_file(tmp_path / "slow.img", DISK_BYTES)
    run_guest(VERIFY, f"constant:50us,medium=file:{fast},writable=yes")
    run_guest(VERIFY, f"constant:50us,medium=file:{slow},writable=yes,direct=yes,delay=1ms")
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(fast), str(slow)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert compared.returncode == 0, compared.stdout
    assert fast.read_bytes() == slow.read_bytes()
    assert fast.read_bytes().count(0) < DISK_BYTES


def test_host_reads_what_the_guest_wrote(tmp_path: Path) -> None:
    path = make_file(tmp_path / "disk.img", 16 << 20)
    run_guest(
        "yes freezing | head -c 3000000 > /tmp/x\n"
        "dd if=/tmp/x of=/dev/vda bs=4k seek=3 conv=notrunc 2>/dev/null",
        f"constant:0,medium=file:{path},writable=yes",
    )
    expected = (b"freezing\n" * 400_000)[:3_000_000]
    assert path.read_bytes()[12288 : 12288 + len(expected)] == expected


def test_guest_reads_what_the_host_wrote(tmp_path: Path) -> None:
    path = make_file(tmp_path / "disk.img", 16 << 20)
    with path.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"from the host\n")
    ran = run_guest(
        "dd if=/dev/vda bs=1M skip=5 count=1 2>/dev/null | head -n 1",
        f"constant:10us,medium=file:{path}",
    )
    assert ran.stdout == b"from the host\n"


def test_image_is_left_alone_unless_writable(tmp_path: Path) -> None:
    path = make_file(tmp_path / "disk.img", 16 << 20)
    path.write_bytes(b"\xa5" * (16 << 20))
    before = path.read_bytes()
    ran = run_guest(
        "dd if=/dev/zero of=/dev/vda bs=1M count=4 oflag=direct 2>/dev/null\n"
        "dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c",
        f"constant:0,medium=file:{path}",
    )
    assert ran.stdout == b"0\n"
    assert path.read_bytes() == before


def test_file_system_survives(tmp_path: Path) -> None:
    """mkfs, mount, write, umount, fsck; then the host's own e2fsck agrees."""
    path = make_file(tmp_path / "disk.img", 128 << 20)
    ran = run_guest(
        """set -e
        mkfs.ext4 -q /dev/vda
        mount -t ext4 /dev/vda /mnt
        cp -r /usr/bin /mnt/bin && (cd /usr/bin && find . -type f | sort | xargs md5sum) > /mnt/sums
        sync && umount /mnt
        e2fsck -fn /dev/vda >/dev/null
        echo 3 > /proc/sys/vm/drop_caches
        mount -t ext4 /dev/vda /mnt
        cd /mnt/bin && md5sum -c ../sums > /tmp/checked && wc -l < /tmp/checked""",
        f"constant:read=80us,write=20us,flush=500us,medium=file:{path},writable=yes,delay=200us",
    )
    assert int(ran.stdout) > 0
    # The job left it mounted; a file that was changed is whole all the same.
    checked = subprocess.run(
        ["/usr/sbin/e2fsck", "-fn", str(path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_requests_that_qemu_splits_are_on_time() -> None:
    """QEMU cuts a large request and sends each piece from within the one before it."""
    ran = run_guest(
        """set -e
        blkdiscard -o 0 -l 1073741824 /dev/vda
        mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt && cp /usr/bin/fio /mnt
        umount /mnt && e2fsck -fn /dev/vda >/dev/null""",
        "constant:10us,size=4GiB",
    )
    assert ran.result.totals.request_count > 50


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("rate_ghz", [1, 4])
def test_endurance(rate_ghz: int) -> None:
    """200,000 mixed requests, verified; no late one, no complaint of the kernel."""
    run_endurance_job(rate_hz=rate_ghz * 1_000_000_000)
