# SPDX-License-Identifier: GPL-2.0-or-later
"""The real mini image: built from Debian's packages and booted in plain QEMU, with no agent.

The control disk is a file here, and the user's disk is there from the start, so that only
the image and its init are under test.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from freezingtime.images.build import build_mini_image
from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.suite import DEFAULT
from freezingtime.images.guest_image import GuestImage
from freezingtime.images.mini.image import make_content
from freezingtime.store.cache import cache_directory

pytestmark = pytest.mark.guest

SERIAL = "serial=freezingtime-control"


@dataclass(frozen=True)
class Outcome:
    """What a booted guest left: its last message, and what its job wrote."""

    message: str
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestImage]:
    for tool in ("apt-get", "qemu-system-x86_64"):
        if shutil.which(tool) is None and not os.environ.get("REQUIRE_QEMU"):
            pytest.skip(f"no {tool}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield build_mini_image(DEFAULT)


class TestBuilding:
    @pytest.mark.slow
    def test_second_build_returns_the_first_image(self, image: GuestImage) -> None:
        built_ns = image.initrd_path.stat().st_mtime_ns
        assert build_mini_image(DEFAULT) == image
        assert image.initrd_path.stat().st_mtime_ns == built_ns

    def test_same_packages_give_the_same_bytes(self, image: GuestImage, tmp_path: Path) -> None:
        archive = open_archive(cache_directory() / "debian", DEFAULT)
        content = make_content(archive, DEFAULT, tmp_path, lambda *_: None)
        assert content.initrd == image.initrd_path.read_bytes()
        assert content.kernel == image.kernel_path.read_bytes()


class TestInit:
    def test_job_runs_with_its_tools(self, image: GuestImage, tmp_path: Path) -> None:
        outcome = boot(
            image,
            tmp_path,
            script="""#!/bin/sh
                exec 3>&1 >/dev/null
                mkfs.ext4 -q /dev/disk/by-id/virtio-first && mount -t ext4 /dev/vda /mnt || exit 1
                fio --name=x --directory=/mnt --size=1M --rw=randwrite --direct=1 \
                    --ioengine=libaio --iodepth=4 || exit 2
                umount /mnt && e2fsck -f -n /dev/vda || exit 3
                modprobe -a xfs btrfs loop dm-mod ext4 || exit 4
                printf '%s|%s|%s' "$PWD" "$HOME" "$WORDS" >&3
                echo complaint >&2
                exit 7
            """,
            environment="WORDS=two  words $x\n",
            disks=1,
        )
        assert outcome.message == "DONE 7"
        assert outcome.stdout == "/root|/root|two  words $x"
        assert outcome.stderr.splitlines()[-1] == "complaint"

    @pytest.mark.slow
    def test_job_that_dies_by_a_signal(self, image: GuestImage, tmp_path: Path) -> None:
        assert boot(image, tmp_path, script="kill -9 $$\n").message == "DONE 137"

    @pytest.mark.slow
    def test_missing_disks_are_counted(self, image: GuestImage, tmp_path: Path) -> None:
        outcome = boot(image, tmp_path, script="exit 0\n", disks=2)
        assert outcome.message == "FAILED disks: saw 1 of 2"

    @pytest.mark.slow
    def test_control_disk_without_a_job(self, image: GuestImage, tmp_path: Path) -> None:
        outcome = boot(image, tmp_path, script="", header="")
        assert outcome.message == "FAILED the control disk has no job of version 3"

    @pytest.mark.slow
    def test_large_job_arrives_whole(self, image: GuestImage, tmp_path: Path) -> None:
        payload = "0123456789abcdef" * 8192
        script = f"tail -n 1 $0 | md5sum; exit 0\n{payload}"
        outcome = boot(image, tmp_path, script=script)
        assert outcome.message == "DONE 0"
        assert outcome.stdout.split()[0] == hashlib.md5(payload.encode()).hexdigest()


def boot(
    image: GuestImage,
    directory: Path,
    *,
    script: str,
    environment: str = "",
    disks: int = 0,
    header: str | None = None,
) -> Outcome:
    """Run a job on a machine that has at most one disk, which is there from the start."""
    if header is None:
        header = (
            f"FREEZINGTIME-JOB 3\nscript_bytes={len(script)}\n"
            f"env_bytes={len(environment)}\ndisks={disks}\n"
        )
    control = directory / "control"
    control.write_bytes(header.encode().ljust(4096, b"\0") + (script + environment).encode())
    os.truncate(control, 64 << 20)
    disk = directory / "disk"
    disk.touch()
    os.truncate(disk, 64 << 20)
    # It dies with the tests, whatever ends them.
    die_too = ["setpriv", "--pdeathsig", "KILL", "--"]
    machine = subprocess.Popen([*die_too, *qemu_arguments(image, directory, has_disk=disks > 0)])
    try:
        message = last_message(control, machine)
    finally:
        machine.kill()
        machine.wait()
    return Outcome(message, (directory / "out").read_text(), (directory / "err").read_text())


def qemu_arguments(image: GuestImage, directory: Path, *, has_disk: bool) -> list[str]:
    user_disk = [
        *("-blockdev", f"driver=file,node-name=disk,filename={directory / 'disk'}"),
        *("-device", "virtio-blk-pci,drive=disk,serial=first"),
    ]
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-machine", "pc", "-cpu", "qemu64,-cx16", "-m", "512"),
        *("-accel", "tcg", "-icount", "shift=0,sleep=off"),
        *("-kernel", str(image.kernel_path), "-initrd", str(image.initrd_path)),
        *("-append", "console=ttyS0 quiet panic=-1"),
        *("-serial", f"file:{directory / 'console'}"),
        *(
            "-device",
            "virtio-scsi-pci,id=scsi",
            "-device",
            f"scsi-hd,bus=scsi.0,drive=control,{SERIAL}",
        ),
        *("-blockdev", f"driver=file,node-name=control,filename={directory / 'control'}"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"file,id=out,path={directory / 'out'}"),
        *("-chardev", f"file,id=err,path={directory / 'err'}"),
        *("-device", "virtserialport,chardev=out,name=ft.stdout"),
        *("-device", "virtserialport,chardev=err,name=ft.stderr"),
        *(user_disk if has_disk else []),
    ]


def last_message(control: Path, machine: subprocess.Popen[bytes], timeout_s: float = 300) -> str:
    deadline_s = time.monotonic() + timeout_s
    message = ""
    while time.monotonic() < deadline_s and machine.poll() is None:
        with control.open("rb") as disk:
            disk.seek(32 << 20)
            message = disk.read(4096).rstrip(b"\0").decode().strip()
        if message.startswith(("DONE", "FAILED")):
            return message
        time.sleep(0.05)
    pytest.fail(f"no outcome after {timeout_s} s; QEMU's status {machine.poll()}, last {message!r}")
