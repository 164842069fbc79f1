# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own disk and kernel: Debian's packages, the product's dependencies, and QEMUs.

They are made once, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.package import unpack
from freezingtime.images.debian.suite import Suite
from freezingtime.images.debian.unpacked_packages import UnpackedPackages, kernel_package
from freezingtime.images.guest_image import GuestImage, find_image
from freezingtime.images.mini.initramfs import Initramfs
from freezingtime.images.mini.kernel_modules import add_modules
from freezingtime.images.names import MINI
from freezingtime.images.qemu import fetch_qemu
from freezingtime.store.cache import cache_directory, exclusive_lock, publish, unfinished_directory

#: The outer machine's; its interpreter has to be the one that the dependencies are for.
_SUITE = "bookworm"
_PYTHON = (3, 11)
_PACKAGES = ("python3", "busybox-static", "libstdc++6", "libgomp1")
_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "kvm_amd")

#: Whose QEMUs the product is run with in the lab.
QEMU_SUITES = ("bookworm", "trixie")

#: Counts up when the cached part is put together in another way.
_LAYOUT = "1"

_FREE_BYTES = 300 << 20

#: PID 1 of the outer machine, until the root disk is there.
_INIT = """#!/bin/busybox sh
b=/usr/bin/busybox
$b mkdir -p /proc /sys /dev /root
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
modprobe -a $(cat /etc/boot-modules)
mount -t ext4 -o noatime /dev/vda /root
mount -t ext4 /dev/vdb /root/product
for f in proc sys dev; do mkdir -p /root/$f; mount -o move /$f /root/$f; done
exec switch_root /root /bin/busybox sh /product/lab.sh
"""

_PROGRAM = """#!/bin/sh
exec /usr/bin/python3 -m freezingtime "$@"
"""


class NoLabError(Exception):
    """The lab cannot be built here."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The cached part of the outer machine."""

    kernel: Path
    initrd: Path
    disk: Path


def make_lab() -> Lab:
    """Return the lab, built if it is not in the cache.

    Raises:
        RunError: its packages cannot be fetched.
        NoLabError: this Python is not the lab's, or there is no mini guest yet, which it gets.
    """
    if sys.version_info[:2] != _PYTHON:
        raise NoLabError(f"its Python is {_SUITE}'s, 3.{_PYTHON[1]}; this one is another")
    directory = cache_directory() / "kvm-lab"
    final = directory / _identity()
    if not final.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        for suite in QEMU_SUITES:
            fetch_qemu(Suite(suite), lambda _step, _done, _total: None)
        with exclusive_lock(directory / "lock"):
            if not final.is_dir():
                for old in directory.glob("*-lab"):
                    shutil.rmtree(old)
                _build(final)
    return Lab(final / "vmlinuz", final / "initrd.cpio", final / "disk.img")


def _identity() -> str:
    """Of what the cached part is made of."""
    image = _mini()
    parts = [
        _LAYOUT,
        _INIT,
        _PROGRAM,
        *_PACKAGES,
        *_MODULES,
        image.image_id,
        image.manifest.builder,
        *(str(distribution.version) for distribution in _dependencies()),
        *QEMU_SUITES,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16] + "-lab"


def _mini() -> GuestImage:
    image = find_image(MINI)
    if image is None:
        raise NoLabError("there is no mini guest yet: freezingtime image build")
    return image


def _build(final: Path) -> None:
    with unfinished_directory(final.parent) as building:
        root = building / "root"
        root.mkdir()
        kernel, initrd = _add_debian(root, building)
        _add_dependencies(root / "opt/site-packages")
        cache = root / "root/.cache/freezingtime"
        for suite in QEMU_SUITES:
            source = fetch_qemu(Suite(suite), lambda _step, _done, _total: None)
            shutil.copytree(source, cache / "qemus" / suite, symlinks=True)
        image = _mini().kernel_path.parent
        shutil.copytree(image, cache / "images" / image.name, symlinks=True)
        for name in ("product", "results", "proc", "sys", "dev", "tmp"):
            (root / name).mkdir(exist_ok=True)
        program = root / "usr/local/bin/freezingtime"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(_PROGRAM)
        program.chmod(0o755)
        make_ext4(root, building / "disk.img", _size_of(root) * 5 // 4 + _FREE_BYTES)
        shutil.rmtree(root)
        (building / "vmlinuz").write_bytes(kernel)
        (building / "initrd.cpio").write_bytes(initrd)
        publish(building, final)


def _add_debian(root: Path, building: Path) -> tuple[bytes, bytes]:
    """Unpack the outer machine's packages; return its kernel and its initramfs."""
    archive = open_archive(cache_directory() / "debian", Suite(_SUITE))
    archive.update()
    for deb in archive.download(archive.with_dependencies(_PACKAGES)):
        unpack(deb, root)
    kernels = building / "kernel"
    kernels.mkdir()
    packages = UnpackedPackages(archive, kernels)
    packages.add([kernel_package(archive)])
    kernel = packages.only_file("boot/vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    image = Initramfs()
    for name in ("bin", "sbin", "lib"):
        image.add_directory(f"usr/{name}")
        image.add_symlink(name, f"usr/{name}")
    busybox = next(
        path for path in (root / "usr/bin/busybox", root / "bin/busybox") if path.is_file()
    )
    image.add_file("usr/bin/busybox", busybox.read_bytes(), 0o755)
    image.add_file("init", _INIT.encode(), 0o755)
    add_modules(image, packages.modules(release), release, boot=_MODULES)
    content = kernel.read_bytes(), image.to_bytes()
    shutil.rmtree(kernels)
    for name in ("sh", "cat"):
        command = root / "bin" / name
        if not command.exists():
            command.symlink_to("busybox")
    return content


def _dependencies() -> list[metadata.Distribution]:
    """What the product needs to be installed with, and what that needs."""
    found: dict[str, metadata.Distribution] = {}
    pending = ["freezingtime"]
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform
        for requirement in found[name].requires or ():
            if "extra ==" not in requirement:
                pending.append(re.split(r"[ ;<>=!~\[(]", requirement, maxsplit=1)[0])
    del found["freezingtime"]
    return [found[name] for name in sorted(found)]


def _add_dependencies(directory: Path) -> None:
    directory.mkdir(parents=True)
    for distribution in _dependencies():
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in sorted(tops):
            source, target = Path(str(distribution.locate_file(top))), directory / top
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)
            elif source.is_file():
                shutil.copy2(source, target)


def _size_of(directory: Path) -> int:
    return sum(file.lstat().st_size + 4096 for file in directory.rglob("*"))


def make_ext4(root: Path, image: Path, size_bytes: int) -> None:
    """Make a file system of a directory's content."""
    tool = shutil.which("mke2fs") or "/usr/sbin/mke2fs"
    features = ("-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0")
    subprocess.run(
        [tool, "-q", "-t", "ext4", *features, "-d", root, image, f"{size_bytes >> 10}k"],
        check=True,
        timeout=300,
    )
