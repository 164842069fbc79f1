# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk such as clouds boot, with nothing of ours in it, made of Debian's packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.root_user import as_root
from freezingtime.images.debian.suite import DEFAULT
from freezingtime.images.guest_image import images_lock_path
from freezingtime.store.cache import cache_directory, exclusive_lock
from tests.conftest import require_root, require_tool

PACKAGES = (
    *("?essential", "apt", "systemd-sysv", "udev", "dbus", "kmod", "e2fsprogs"),
    *("linux-image-cloud-amd64", "initramfs-tools", "cloud-init", "sqlite3"),
)
_SIZE_BYTES = 3 << 30
_PARTITION_OFFSET_BYTES = 1 << 20

# As root of a place of its own: unpack, label, make the file system in the partition.
_MAKE_DISK = """
set -eu
mkdir "$tree"
tar -x -p --numeric-owner --exclude='./dev/*' -f "$tar" -C "$tree"
rm "$tar"
: >"$tree/etc/machine-id"
echo cloud >"$tree/etc/hostname"
truncate -s "$size" "$disk"
echo 'start=1MiB, type=linux' | sfdisk -q --label gpt "$disk"
mke2fs -q -F -t ext4 -d "$tree" -E offset="$offset" "$disk" "$blocks"
rm -rf "$tree"
"""


def make_cloud_disk(directory: Path) -> Path:
    """A qcow2 of a whole Debian on a partition: its kernel and initramfs in its own /boot."""
    for tool in ("mmdebstrap", "sfdisk", "qemu-img"):
        require_tool(tool)
    require_root()
    repository, tar, raw, disk = (
        directory / name for name in ("repository", "system.tar", "disk.raw", "disk.qcow2")
    )
    repository.mkdir()
    with exclusive_lock(images_lock_path()):
        archive = open_archive(cache_directory() / "debian", DEFAULT)
        archive.update()
        packages = archive.with_dependencies(PACKAGES)
        archive.download(packages)
        archive.write_repository(packages, repository)
    subprocess.run(
        [
            *as_root(),
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=tar"),
            "--include=" + ",".join(package.name for package in packages),
            *("--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"'),
            *("", str(tar), f"deb [trusted=yes] copy:{repository} ./"),
        ],
        check=True,
    )
    offset = _PARTITION_OFFSET_BYTES
    variables = {
        **{"tar": tar, "tree": directory / "tree", "disk": raw, "size": _SIZE_BYTES},
        **{"offset": offset, "blocks": f"{(_SIZE_BYTES - 2 * offset) >> 10}k"},
    }
    environment = {name: str(value) for name, value in variables.items()}
    path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
    subprocess.run(
        [*as_root(), "sh", "-c", _MAKE_DISK], check=True, env={**environment, "PATH": path}
    )
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
    raw.unlink()
    return disk
