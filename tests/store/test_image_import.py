# SPDX-License-Identifier: GPL-2.0-or-later
"""A system of the user's own as a guest: what is refused, what is kept, that it runs jobs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from examples import databases

from freezingtime.errors import InputError
from freezingtime.images.build import build_debian_image
from freezingtime.images.check import open_root_disk
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.guest_image import (
    GuestImage,
    find_image,
    list_images,
    remove_image,
)
from freezingtime.images.imported import ImportPlan, write_runner
from freezingtime.runs.own.system import import_system, own_name, ready_own_image
from tests.conftest import RunProgram, require_root, require_tool
from tests.support.guestlib import GuestRun, read_record, run_guest
from tests.support.ownlib import make_cloud_disk

#: A kernel's header, as far as it is looked at: its magic, and where the version text is.
KERNEL = bytearray(1024)
KERNEL[0x202:0x206] = b"HdrS"
KERNEL[0x20E:0x210] = (0x300 - 0x200).to_bytes(2, "little")
KERNEL[0x300:0x310] = b"6.9-own (me) #1\0"
UUID = "4ee5e1a6-7d0c-4b5e-8f0a-66726f7a656e"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImportPlan:
    """Files that can be imported, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    contents = {"disk": bytes(1 << 20), "kernel": bytes(KERNEL), "initrd": b"initramfs"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return ImportPlan(tmp_path / "disk", tmp_path / "kernel", tmp_path / "initrd")


def silent(_step: str, _done: int, _total: int) -> None:
    """No progress."""


class TestStore:
    def test_raw_and_qcow2_of_one_disk_are_one_image(self, own: ImportPlan, tmp_path: Path) -> None:
        qemu_img = require_tool("qemu-img")
        own.root_disk.write_bytes(b"data".ljust(1 << 20, b"\0"))
        raw = import_system("own", own, silent)
        qcow2 = ImportPlan(tmp_path / "disk.qcow2", own.kernel, own.initrd)
        convert = [qemu_img, "convert", "-f", "raw", "-O", "qcow2", own.root_disk, qcow2.root_disk]
        subprocess.run(convert, check=True)
        again = import_system("own", qcow2, silent)
        assert again.image_id == raw.image_id
        assert again.root_path is not None
        assert again.root_path.read_bytes() == own.root_disk.read_bytes()
        assert again.manifest.kernel_release == "6.9-own"

    def test_a_damaged_copy_is_made_anew_from_the_files(
        self, own: ImportPlan, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its kernel is checked at once, its root disk when it is read."""
        require_tool("qemu-img")
        own.root_disk.write_bytes(b"data".ljust(1 << 20, b"\0"))
        image = ready_own_image("own", own, silent)
        assert ready_own_image("own", own, silent) == image
        image.kernel_path.write_bytes(bytes(KERNEL).replace(b"6.9", b"6.8"))
        assert ready_own_image("own", own, silent).kernel_path.read_bytes() == bytes(KERNEL)
        (note,) = caplog.records
        assert f"the image {image.directory.name} is damaged (vmlinuz: " in note.message
        assert image.root_path is not None
        with image.root_path.open("r+b") as file:
            file.write(b"date")
        root = open_root_disk(ready_own_image("own", own, silent))
        with pytest.raises(OSError, match="is damaged"):
            root.read(0, 512)
        root.close()
        ready_own_image("own", own, silent)
        assert image.root_path.read_bytes() == own.root_disk.read_bytes()

    def test_a_new_one_takes_the_place_of_the_old(self, own: ImportPlan) -> None:
        require_tool("qemu-img")
        first = import_system("own", own, silent)
        told = ImportPlan(own.root_disk, own.kernel, own.initrd, "root=/dev/sdb1")
        second = import_system("own", told, silent)
        assert first.image_id != second.image_id
        assert not first.directory.exists()
        found = find_image("own")
        assert found is not None
        assert found.manifest.append == "root=/dev/sdb1"

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("disk", b"", "disk: has 0 bytes; a raw disk has a multiple of 512"),
            ("disk", b"x" * 513, "disk: has 513 bytes"),
            ("disk", b"QFI\xfb" + bytes(2000), "disk: is a damaged qcow2 image (its version is 0"),
            ("disk", None, "disk: No such file or directory; name a readable file"),
            (
                "disk",
                b"KDMV".ljust(1024, b"\0"),
                "disk: is a VMDK image, not a raw or qcow2 disk; ",
            ),
            ("disk", b"\x28\xb5\x2f\xfd".ljust(512, b"\0"), "disk: is zstd, not a raw or qcow2"),
            ("kernel", b"\x7fELF" + bytes(2000), "kernel: is no Linux kernel for x86"),
            ("kernel", None, "kernel: No such file"),
            ("initrd", b"", "initrd: is empty"),
        ],
    )
    def test_what_is_no_system_is_refused(
        self, own: ImportPlan, tmp_path: Path, name: str, content: bytes | None, said: str
    ) -> None:
        require_tool("qemu-img")
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as refused:
            import_system("own", own, silent)
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
        assert find_image("own") is None

    def test_names_and_arguments(self, own: ImportPlan, freezingtime: RunProgram) -> None:
        files = ["--root-disk", own.root_disk, "--kernel", own.kernel, "--initrd", own.initrd]
        for arguments, said in (
            (["mini", *files], "image import mini: write up to 41 small letters"),
            (["own", *files, "--append", "a\nb"], "--append: has a line end"),
        ):
            refused = freezingtime("image", "import", *arguments)
            assert refused.returncode == 2
            assert said in refused.stderr


def test_the_runner_is_a_tree_of_three_files(freezingtime: RunProgram, tmp_path: Path) -> None:
    written = freezingtime("image", "runner", tmp_path / "tree")
    runner, unit, link = map(Path, written.stdout.splitlines())
    assert os.access(runner, os.X_OK)
    assert f"ExecStart=/{runner.relative_to(tmp_path / 'tree')}" in unit.read_text()
    assert link.resolve() == unit


@pytest.fixture
def forget() -> Iterator[None]:
    """Remove what the test takes in."""
    yield
    for image in list_images():
        if image.name.startswith("test-own-disk"):
            remove_image(image.name)


def make_disk(path: Path, files: Mapping[str, bytes]) -> Path:
    """A disk that is one ext4 file system with these files; without any, an empty one."""
    with path.open("wb") as file:
        file.truncate(32 << 20)
    if files:
        tree = path.with_suffix(".tree")
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content)
        make = ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-d", tree, path]
        subprocess.run(make, check=True)
    return path


@pytest.mark.guest
@pytest.mark.usefixtures("forget")
class TestKernelOnTheDisk:
    """No kernel is named: the mini guest finds it."""

    SYSTEM: ClassVar[Mapping[str, bytes]] = {
        "etc/os-release": b"ID=own\n",
        "boot/vmlinuz-6.9-own": bytes(KERNEL),
        "boot/initrd.img-6.9-own": b"of 6.9",
        "boot/vmlinuz-6.10-own": bytes(KERNEL) + b"newer",
        "boot/initrd.img-6.10-own": b"of 6.10",
        "boot/vmlinuz-7.0-own": b"without an initramfs",
        "boot/vmlinuz-9-rescue": b"x",
        "boot/initrd.img-9-rescue": b"x",
    }

    def test_the_newest_that_can_boot_is_taken(self, only_named_qemu: str, tmp_path: Path) -> None:
        require_tool("qemu-img")
        plan = ImportPlan(make_disk(tmp_path / "test-own-disk.raw", self.SYSTEM), append="more")
        name = own_name(plan)
        image = ready_own_image(name, plan, silent, only_named_qemu)
        assert image.kernel_path.read_bytes() == self.SYSTEM["boot/vmlinuz-6.10-own"]
        assert image.initrd_path.read_bytes() == b"of 6.10"
        assert image.manifest.append == f"root=UUID={UUID} rw more"
        assert ready_own_image(name, plan, silent).directory == image.directory

        changed = {**self.SYSTEM, "boot/initrd.img-6.10-own": b"changed"}
        make_disk(plan.root_disk, changed)
        again = ready_own_image(name, plan, silent, only_named_qemu)
        assert again.initrd_path.read_bytes() == b"changed"
        assert not image.directory.exists()

    def test_a_qemu_that_will_not_do_is_not_the_disk_s_fault(self, tmp_path: Path) -> None:
        plan = ImportPlan(make_disk(tmp_path / "test-own-disk.raw", {}))
        with pytest.raises(InputError, match=r"^/bin/false: this QEMU .* works$"):
            ready_own_image(own_name(plan), plan, silent, "/bin/false")

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({}, "no file system of it can be read (ext4, XFS and Btrfs can, on plain partitions)"),
            ({"x": b""}, "none of its file systems has a Linux system's /etc and os-release"),
            ({"etc/os-release": b""}, "its system has no kernel with an initramfs (/boot/vmlinuz-"),
        ],
    )
    def test_a_disk_without_one_is_refused(
        self, files: Mapping[str, bytes], said: str, freezingtime: RunProgram, tmp_path: Path
    ) -> None:
        require_tool("qemu-img")
        make_disk(tmp_path / "disk.raw", files)
        refused = freezingtime(
            *("run", "-q", "--guest", "./disk.raw", "--", "true"),
            cwd=tmp_path,
            environment={"TMPDIR": str(tmp_path)},
        )
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"freezingtime: --guest disk.raw: {said}")
        assert refused.stderr.endswith("; give --kernel and --initrd, and with --append root=...\n")
        assert find_image(own_name(ImportPlan(tmp_path / "disk.raw"))) is None
        assert not list(tmp_path.glob("freezingtime-*"))


#: A directory whose owner and permissions a disk takes on, and what is seen there.
MOUNT_POINT = "/var/local"
MOUNTED = f"findmnt -rn -o SOURCE,FSTYPE {MOUNT_POINT}; stat -c '%U:%G %a' {MOUNT_POINT}"


def require_mounted(ran: GuestRun) -> None:
    """Require that the disk is there before the job, as the image's directory."""
    assert ran.stdout == b"/dev/vda ext4\nroot:staff 2775\n"


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.timeout(3000)
class TestCloudDisk:
    """A whole Debian such as clouds boot, with nothing of ours in it."""

    @pytest.fixture(scope="class")
    @classmethod
    def disk(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        disk = make_cloud_disk(tmp_path_factory.mktemp("cloud"))
        yield disk
        remove_image(own_name(ImportPlan(disk)))

    def run_own(self, disk: Path, script: str, *disks: str, **options: Any) -> GuestRun:
        plan = ImportPlan(disk, disk_option="--guest")
        return run_guest(script, *disks, guest=own_name(plan), system=plan, **options)

    def test_it_runs_jobs_reproducibly_and_stays_as_it_is(self, disk: Path) -> None:
        before = hashlib.sha256(disk.read_bytes()).hexdigest()
        script = (
            "systemctl is-system-running; systemctl is-active multi-user.target; "
            "findmnt -n -o SOURCE,FSTYPE /; echo x >/etc/mark; sync; ls /usr/lib/freezingtime; "
            "sqlite3 /root/db 'CREATE TABLE t(a); INSERT INTO t VALUES(7); SELECT a FROM t'; "
            "dd if=/dev/disk/by-id/virtio-disk1 of=/dev/null bs=4k count=20 iflag=direct 2>&1"
        )
        runs = [self.run_own(disk, script, f"constant:1ms{delay}") for delay in ("", ",delay=1ms")]
        words = runs[0].stdout.split()
        assert words[:4] == [b"running", b"active", b"/dev/sdb1", b"ext4"]
        assert b"\n7\n" in runs[0].stdout
        assert b"cannot access '/usr/lib/freezingtime'" in runs[0].stderr
        assert runs[0].stdout == runs[1].stdout
        assert runs[0].result.job.end_ns == runs[1].result.job.end_ns
        assert self.run_own(disk, "ls /etc/mark", check=False).result.job.exit_status
        assert hashlib.sha256(disk.read_bytes()).hexdigest() == before

    def test_a_disk_is_mounted(self, disk: Path) -> None:
        require_mounted(self.run_own(disk, MOUNTED, f"constant:1ms,size=1GiB,mount={MOUNT_POINT}"))

    def test_what_udev_reads_comes_before_the_job(self, disk: Path, tmp_path: Path) -> None:
        ran = self.run_own(disk, "sleep 1", "constant:1ms", out=tmp_path)
        arrivals_ns = [row["arrival_ns"] for row in read_record(tmp_path)]
        assert arrivals_ns
        assert max(arrivals_ns) < ran.result.job.start_ns


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestGuest:
    """A Debian system with nothing of ours in it but what `image runner` writes."""

    @pytest.fixture(scope="class")
    @classmethod
    def disk(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        require_tool("mmdebstrap")
        require_tool("qemu-img")
        require_root()
        built = build_debian_image(databases.IMAGE, DebianPlan(databases.PACKAGES, databases.ROOT))
        directory = tmp_path_factory.mktemp("own")
        disk = cls.own_disk(built, directory)
        plan = ImportPlan(disk, built.kernel_path, built.initrd_path, "own.argument=1")
        import_system("test-own", plan, silent)
        yield disk
        remove_image("test-own")

    @staticmethod
    def own_disk(built: GuestImage, directory: Path) -> Path:
        """The built image's disk, as a qcow2 of a system that boots to multi-user.target."""
        assert built.root_path is not None
        raw, qcow2 = directory / "disk.raw", directory / "disk.qcow2"
        subprocess.run(["cp", "--sparse=always", built.root_path, raw], check=True)
        tree = directory / "tree"
        runner, unit, link = write_runner(tree)
        units = "/etc/systemd/system"
        commands = [
            *(f"rm {units}/default.target", f"rm {units}/freezingtime.target"),
            *(f"rm {units}/freezingtime-job.service", "rm /usr/lib/freezingtime/job-runner"),
            f"write {runner} /usr/lib/freezingtime/job-runner",
            "set_inode_field /usr/lib/freezingtime/job-runner mode 0100755",
            f"write {unit} {units}/freezingtime-job.service",
            f"mkdir {units}/multi-user.target.wants",
            f"symlink {units}/multi-user.target.wants/{link.name} {link.readlink()}",
        ]
        (directory / "commands").write_text("\n".join(commands) + "\n")
        subprocess.run(["/usr/sbin/debugfs", "-w", "-f", directory / "commands", raw], check=True)
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2]
        subprocess.run(convert, check=True)
        return qcow2

    @pytest.mark.usefixtures("disk")
    def test_a_disk_is_mounted(self) -> None:
        spec = f"constant:1ms,size=1GiB,mount={MOUNT_POINT}"
        require_mounted(run_guest(MOUNTED, spec, guest="test-own"))

    def test_it_runs_jobs_reproducibly_and_stays_as_it_is(self, disk: Path) -> None:
        before = hashlib.sha256(disk.read_bytes()).hexdigest()
        script = (
            "grep -o own.argument=1 /proc/cmdline; systemctl get-default; echo x >/etc/mark; sync; "
            "sqlite3 /root/db 'CREATE TABLE t(a); INSERT INTO t VALUES(7); SELECT a FROM t'; "
            "dd if=/dev/vda of=/dev/null bs=4k count=20 iflag=direct 2>&1"
        )
        runs = [
            run_guest(script, f"constant:1ms{delay}", guest="test-own")
            for delay in ("", ",delay=1ms")
        ]
        assert runs[0].stdout.splitlines()[0] == b"own.argument=1"
        assert b"freezingtime" not in runs[0].stdout
        assert b"\n7\n" in runs[0].stdout
        assert runs[0].stdout == runs[1].stdout
        assert runs[0].result.job.end_ns == runs[1].result.job.end_ns
        assert run_guest("ls /etc/mark", guest="test-own", check=False).result.job.exit_status
        assert hashlib.sha256(disk.read_bytes()).hexdigest() == before
