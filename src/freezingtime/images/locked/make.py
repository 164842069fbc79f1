# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock of an image and a QEMU that are in the cache."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from freezingtime._version import RELEASE
from freezingtime.errors import InputError
from freezingtime.images.guest_image import GuestImage, PackageVersion
from freezingtime.images.locked.lock_file import (
    Lock,
    LockedGuest,
    LockedPackage,
    LockedQemu,
    LockedRoot,
)


def lock_guest(image: GuestImage) -> LockedGuest:
    """Return the locked packages of an image.

    Raises:
        InputError: it is not made of packages alone.
    """
    manifest = image.manifest
    if image.is_imported or manifest.source:
        raise InputError(
            f"--guest {image.name}: is not built of packages alone, so a lock cannot hold it; "
            f"'freezingtime image export {image.name} FILE' keeps all of it"
        )
    root = None
    if manifest.root is not None:
        root = msgspec.convert(manifest.root, LockedRoot, from_attributes=True)
    return LockedGuest(
        name=image.name,
        image_id=image.image_id,
        builder=manifest.builder,
        suite=manifest.suite,
        kernel_release=manifest.kernel_release,
        root=root,
        not_installed=manifest.not_installed,
        packages=lock_packages(
            manifest.packages,
            f"the image {image.name}",
            f"remove it with 'freezingtime image remove {image.name}', and it is built anew",
        ),
    )


def make_lock(guest: LockedGuest, qemu: LockedQemu | None) -> Lock:
    """A lock of this version's."""
    return Lock(freezingtime=RELEASE, guest=guest, qemu=qemu)


def lock_packages(
    packages: Iterable[PackageVersion], whose: str, cure: str
) -> tuple[LockedPackage, ...]:
    """The packages as a lock has them, by name.

    Raises:
        InputError: nothing was written down of where mirrors have them.
    """
    ordered = sorted(packages, key=lambda package: package.name)
    if not ordered or not all(package.path for package in ordered):
        raise InputError(
            f"{whose} was made by a version that did not write down where its packages are; {cure}"
        )
    return msgspec.convert(ordered, tuple[LockedPackage, ...], from_attributes=True)
