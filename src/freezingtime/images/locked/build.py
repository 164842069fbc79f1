# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest image of a lock, built of the locked packages: the very one, or none."""

from __future__ import annotations

import os
from pathlib import Path

from freezingtime.images.build import build_image, changing_images
from freezingtime.images.debian import image as debian_image
from freezingtime.images.debian.image import (
    INITRAMFS_PACKAGE,
    DebianPackages,
    DebianPlan,
)
from freezingtime.images.debian.mirror import find_mirror
from freezingtime.images.debian.packages import Progress
from freezingtime.images.debian.root_user import as_root, remove_as_root
from freezingtime.images.debian.suite import Suite
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    RootDisk,
    find_image_by_id,
    images_directory,
    list_images,
    named,
)
from freezingtime.images.locked.archive import LockedArchive
from freezingtime.images.locked.lock_file import LockedGuest, LockedRoot
from freezingtime.images.mini import image as mini_image
from freezingtime.images.qemu import ready_qemu
from freezingtime.store.cache import unfinished_in
from freezingtime.vm.qemu.probe import require_qemu

_AGE_NS = 1_000_000_000


def build_locked_image(guest: LockedGuest, progress: Progress) -> GuestImage:
    """Build the image of a lock, unless another process has by now.

    Runs that name an image, and no lock, go on with the one of that name that they had.

    Raises:
        InputError: this host cannot build it.
        RunError: a package can no longer be had, or another image comes out.
    """
    suite = Suite.parse(guest.suite, "guest.suite")
    if guest.root is not None and guest.root.file_system == "xfs":
        # A guest makes it, at the end: one that cannot is to be known now.
        ready_qemu(None, progress)
        require_qemu(None)
    with changing_images(progress) as root:
        if (there := find_image_by_id(guest.image_id)) is not None:
            return there
        archive = LockedArchive(root / "debian", suite, find_mirror(), guest.packages)
        archive.fetch(guest.kernel_package, progress)
        if guest.root is None:
            image = _build_mini(guest, suite, archive, progress)
        else:
            image = _build_debian(guest, guest.root, suite, archive, progress)
        let_others_be_newer(image)
    return image


def _build_mini(
    guest: LockedGuest, suite: Suite, archive: LockedArchive, progress: Progress
) -> GuestImage:
    def content(directory: Path) -> ImageContent:
        return mini_image.make_content(archive, suite, directory, progress)

    return build_image(archive, guest.name, content, guest.image_id)


def _build_debian(
    guest: LockedGuest, root: LockedRoot, suite: Suite, archive: LockedArchive, progress: Progress
) -> GuestImage:
    plan = DebianPlan((), RootDisk(root.file_system, root.size_bytes), suite)
    become_root = as_root()
    debian_image.require_tools(plan)
    names = [package.name for package in guest.packages if package.name not in guest.not_installed]
    packages = DebianPackages(
        [archive.candidate(name) for name in sorted(names)],
        archive.candidate(guest.kernel_package),
        archive.candidate(INITRAMFS_PACKAGE),
    )

    def content(directory: Path) -> ImageContent:
        return debian_image.make_content(archive, packages, plan, directory, become_root, progress)

    remove_as_root(become_root, unfinished_in(images_directory()))
    return build_image(archive, guest.name, content, guest.image_id)


def let_others_be_newer(image: GuestImage) -> None:
    """Of several images of a name, runs that name no lock take the newest."""
    others = [
        other.manifest_path.stat().st_mtime_ns
        for other in named(list_images(), image.name)
        if other.directory != image.directory and other.is_of_these_sources
    ]
    if others:
        before_ns = min(others) - _AGE_NS
        os.utime(image.manifest_path, ns=(before_ns, before_ns))
