# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of a Debian guest image: a whole system on a root disk, made of packages.

mmdebstrap installs the packages, from a repository of what was downloaded and checked,
into a tree; mke2fs or mkfs.btrfs makes a file system of the tree, without mounting it (for XFS
see :mod:`freezingtime.images.xfs_root`). The
kernel comes from its package; the initramfs has busybox and the kernel's drivers.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian.package import Package
from freezingtime.images.debian.packages import ESSENTIAL, PackageArchive, Progress
from freezingtime.images.debian.suite import DEFAULT, Suite
from freezingtime.images.debian.tools import run_tool
from freezingtime.images.debian.unpacked_packages import UnpackedPackages, kernel_package
from freezingtime.images.guest_image import ImageContent, RootDisk
from freezingtime.images.mini.initramfs import Initramfs
from freezingtime.images.mini.kernel_modules import add_modules
from freezingtime.images.xfs_root import copy_to_xfs
from freezingtime.units import format_size_bytes
from freezingtime.vm.qemu.frontends import DRIVERS


class FileSystem(NamedTuple):
    """Requirements of a root disk's file system."""

    maker: str
    """The program that makes it on the host."""
    maker_package: str
    guest_package: str
    """What the guest needs for it."""


FILE_SYSTEMS = {
    "ext4": FileSystem("mke2fs", "e2fsprogs", "e2fsprogs"),
    "xfs": FileSystem("mke2fs", "e2fsprogs", "xfsprogs"),
    "btrfs": FileSystem("mkfs.btrfs", "btrfs-progs", "btrfs-progs"),
}

#: In every image, beside what is essential; the job runner and `--job` need no more.
_BASE_PACKAGES = (ESSENTIAL, "apt", "systemd-sysv", "kmod", "e2fsprogs")
INITRAMFS_PACKAGE = "busybox-static"
_BOOT_MODULES = ("virtio_pci", "virtio_console", *DRIVERS)
_GUEST_FILES = {
    "job-runner": "usr/lib/freezingtime/job-runner",
    "freezingtime.target": "etc/systemd/system/freezingtime.target",
    "freezingtime-job.service": "etc/systemd/system/freezingtime-job.service",
}
_NOT_INSTALLED = ("doc", "man", "info", "locale")

#: Equal packages are to give equal bytes: times and identifiers are the same in every image.
_BUILD_TIME_S = 1_577_836_800
_FILE_SYSTEM_ID = "4ee5e1a6-7d0c-4b5e-8f0a-66726f7a656e"
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_INSTALL_DEADLINE_S = 3600.0
_FORMAT_DEADLINE_S = 1200.0


@dataclass(frozen=True, slots=True)
class DebianPlan:
    """Plan of an image: packages beside the base system, root disk, suite."""

    packages: tuple[str, ...]
    root: RootDisk
    suite: Suite = DEFAULT


@dataclass(frozen=True, slots=True)
class DebianPackages:
    """The packages of an image."""

    system: list[Package]
    kernel: Package
    initramfs: Package

    @property
    def all(self) -> list[Package]:
        """Each once, by name."""
        packages = {package.name: package for package in (*self.system, self.initramfs)}
        packages[self.kernel.name] = self.kernel
        return [packages[name] for name in sorted(packages)]

    @property
    def not_installed(self) -> tuple[str, ...]:
        """The names of those that the system does not have among its packages."""
        installed = {package.name for package in self.system}
        return tuple(sorted({self.kernel.name, self.initramfs.name} - installed))


def require_tools(plan: DebianPlan) -> None:
    """Raise InputError when this host lacks a program that building takes."""
    kind = FILE_SYSTEMS[plan.root.file_system]
    tools = (("mmdebstrap", "mmdebstrap"), (kind.maker, kind.maker_package))
    for tool, source in tools:
        if shutil.which(tool) is None and not Path("/usr/sbin", tool).exists():
            raise InputError(
                f"{tool} is not installed, which building a Debian guest takes; "
                f"install it with 'apt-get install {source}'"
            )


def packages(archive: PackageArchive, plan: DebianPlan) -> DebianPackages:
    """Return the packages that the plan needs.

    Raises:
        InputError: the suite has no such package.
    """
    tools = FILE_SYSTEMS[plan.root.file_system].guest_package
    return DebianPackages(
        archive.with_dependencies([*_BASE_PACKAGES, tools, *plan.packages]),
        kernel_package(archive),
        archive.candidate(INITRAMFS_PACKAGE),
    )


def make_content(
    archive: PackageArchive,
    wanted: DebianPackages,
    plan: DebianPlan,
    directory: Path,
    become_root: Sequence[str],
    progress: Progress,
) -> ImageContent:
    """Download, install and format, all in the empty ``directory``.

    ``become_root`` stands before the commands that must be root.

    Raises:
        InputError: the packages do not fit the root disk.
        RunError: a package or a tool failed.
    """
    progress("download the packages", 0, len(wanted.all))
    archive.download(wanted.all)
    repository, unpacked, additions = (
        directory / name for name in ("repository", "unpacked", "additions")
    )
    for place in (repository, unpacked, additions):
        place.mkdir()
    archive.write_repository(wanted.system, repository)
    kernel_files = UnpackedPackages(archive, unpacked)
    kernel_files.add([wanted.kernel, wanted.initramfs])
    kernel = kernel_files.only_file("boot/vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    _add_guest_files(additions, kernel_files, release)
    progress("install the packages", 0, len(wanted.system))
    tree = directory / "system.tar"
    _install(become_root, repository, wanted, additions, release, tree)
    progress("make the file system", 0, 1)

    def content(root: RootDisk, root_file: Path) -> ImageContent:
        initrd = _initramfs(kernel_files, release, root.file_system).to_bytes()
        used = tuple(wanted.all)
        return ImageContent(
            *(kernel.read_bytes(), initrd, release, used, root, root_file),
            suite=plan.suite.name,
            not_installed=wanted.not_installed,
        )

    root_file = directory / "root.img"
    if plan.root.file_system != "xfs":
        _format(become_root, tree, plan.root, root_file)
        return content(plan.root, root_file)
    stage = RootDisk("ext4", plan.root.size_bytes)
    _format(become_root, tree, stage, root_file)
    progress("copy the system to XFS, in the guest", 0, 1)
    copy = copy_to_xfs(content(stage, root_file), _FILE_SYSTEM_ID, directory / "xfs")
    return content(plan.root, copy)


def _initramfs(files: UnpackedPackages, release: str, file_system: str) -> Initramfs:
    image = Initramfs()
    busybox = files.file("usr/bin/busybox")
    for place in ("bin", "sbin", "usr/bin", "usr/sbin"):
        image.add_directory(place)
    image.add_file("bin/busybox", busybox.read_bytes(), 0o755)
    image.add_file("init", _guest_file("root-init"), 0o755)
    image.add_file("etc/root-file-system", f"{file_system}\n".encode())
    image.add_symlink("lib", "usr/lib")
    boot = (*_BOOT_MODULES, "crc32c_generic", file_system)
    add_modules(image, files.modules(release), release, boot=boot)
    return image


def _guest_file(name: str) -> bytes:
    return (resources.files("freezingtime.vm") / "guest" / name).read_bytes()


def _add_guest_files(additions: Path, files: UnpackedPackages, release: str) -> None:
    """Make the tree of what goes into the root file system beside the packages."""
    for name, place in _GUEST_FILES.items():
        target = additions / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_guest_file(name))
    (additions / _GUEST_FILES["job-runner"]).chmod(0o755)
    modules = files.file(f"usr/lib/modules/{release}/modules.builtin").parent
    shutil.copytree(modules, additions / "usr/lib/modules" / release, symlinks=True)


def _install(
    become_root: Sequence[str],
    repository: Path,
    wanted: DebianPackages,
    additions: Path,
    release: str,
    tree: Path,
) -> None:
    """Install the packages and pack the resulting system into the tar archive ``tree``."""
    script = tree.with_name("customize-root")
    script.write_bytes(_guest_file("customize-root"))
    script.chmod(0o755)
    hook = [shlex.quote(str(script)), '"$1"', shlex.quote(str(additions)), release]
    run_tool(
        [
            *become_root,
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=tar"),
            "--include=" + ",".join(package.name for package in wanted.system),
            '--aptopt=Acquire::Languages "none"',
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in _NOT_INSTALLED),
            "--customize-hook=" + " ".join(hook),
            *("", str(tree), f"deb [trusted=yes] copy:{repository} ./"),
        ],
        environment={"SOURCE_DATE_EPOCH": str(_BUILD_TIME_S), "TMPDIR": str(tree.parent)},
        timeout_s=_INSTALL_DEADLINE_S,
        name="mmdebstrap",
    )


def _format(become_root: Sequence[str], tree: Path, root: RootDisk, root_file: Path) -> None:
    """Make a file system of ``tree`` in ``root_file``, whose size it fills."""
    with root_file.open("wb") as file:
        file.truncate(root.size_bytes)
    unpacked = tree.with_name("system")
    make = {
        "ext4": [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-U", _FILE_SYSTEM_ID, "-d", str(unpacked)),
            *("-E", f"hash_seed={_FILE_SYSTEM_ID},lazy_itable_init=0,lazy_journal_init=0"),
        ],
        "btrfs": ["mkfs.btrfs", "-q", "-f", "-U", _FILE_SYSTEM_ID, "--rootdir", str(unpacked)],
    }[root.file_system]
    # In one command, since what it unpacks may belong to users that only it can remove.
    steps = (
        'trap \'rm -rf "$unpacked"\' EXIT; mkdir "$unpacked" && '
        # Only real root may make device files; the guest's kernel makes its own.
        'tar -x -p --numeric-owner --exclude="./dev/*" -f "$tree" -C "$unpacked" && rm "$tree" && '
        f'{shlex.join(make)} "$root_file"'
    )
    try:
        run_tool(
            [*become_root, "sh", "-c", steps],
            environment={
                "tree": str(tree),
                "unpacked": str(unpacked),
                "root_file": str(root_file),
                "E2FSPROGS_FAKE_TIME": str(_BUILD_TIME_S),
                "PATH": _PATH,
            },
            timeout_s=_FORMAT_DEADLINE_S,
            name=make[0],
        )
    except RunError as error:
        if "Could not allocate" in str(error):
            raise InputError(
                f"--size {format_size_bytes(root.size_bytes)}: the packages do not fit a root disk "
                "of that size; enlarge it"
            ) from error
        raise
    if root.file_system == "ext4":
        _settle_times(root_file)


def _settle_times(root_file: Path) -> None:
    """Give all files the same times of access and change, where mke2fs has those of the host's."""
    environment = {"E2FSPROGS_FAKE_TIME": str(_BUILD_TIME_S), "PATH": _PATH}
    header = run_tool(["dumpe2fs", "-h", str(root_file)], environment=environment).stdout
    counts = dict(re.findall(r"^(Inode count|Free inodes): +(\d+)$", header, re.MULTILINE))
    # In a new file system they are taken one after the other.
    used = int(counts["Inode count"]) - int(counts["Free inodes"])
    script = root_file.with_name("times.debugfs")
    script.write_text(
        "".join(
            f"sif <{inode}> {field} @{_BUILD_TIME_S}\n"
            for inode in (2, *range(11, used + 1))
            for field in ("atime", "ctime")
        )
    )
    run_tool(["debugfs", "-w", "-f", str(script), str(root_file)], environment=environment)
    script.unlink()
