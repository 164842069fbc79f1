# SPDX-License-Identifier: GPL-2.0-or-later
"""Building guest images: only if what would be built is not there already, and whole or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.host.required_platform import require_guest_platform
from freezingtime.images.check import is_sound, seal_image
from freezingtime.images.debian import image as debian_image
from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.debian.packages import PackageArchive, Progress
from freezingtime.images.debian.root_user import as_root, remove_as_root
from freezingtime.images.debian.suite import Suite
from freezingtime.images.debian.unpacked_packages import kernel_package
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    image_directory,
    images_directory,
    images_lock_path,
    list_images,
    named,
    store_image,
)
from freezingtime.images.mini import image as mini_image
from freezingtime.images.mini.name import mini_name
from freezingtime.images.qemu import ready_qemu
from freezingtime.store.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    storing,
    unfinished_directory,
    unfinished_in,
    withdraw,
)
from freezingtime.vm.qemu.probe import require_qemu


def _no_progress(_step: str, _done: int, _total: int) -> None:
    """For callers who do not want to know."""


def build_mini_image(suite: Suite, progress: Progress = _no_progress) -> GuestImage:
    """Build the mini image from a suite's newest packages, or return it if it is there already.

    Raises InputError when this system cannot build images, there is no such suite or the cache
    is not writable, RunError when packages cannot be fetched or unpacked.
    """
    require_guest_platform()
    name = mini_name(suite)

    def find_or_build(archive: PackageArchive) -> GuestImage:
        for image in _current(name):
            names = {package.name for package in image.manifest.packages}
            names.add(kernel_package(archive).name)
            if image.is_made_from(archive.candidates(names).values()):
                make_newest(image)
                return image
        return build_image(
            archive,
            name,
            lambda directory: mini_image.make_content(archive, suite, directory, progress),
        )

    return _with_archive(suite, find_or_build, progress)


def build_debian_image(
    name: str, plan: DebianPlan, progress: Progress = _no_progress
) -> GuestImage:
    """Build a Debian image called ``name``, or return it if it is there already.

    A new one takes the place of all others of its name.

    Raises InputError when this system cannot build images, there is no such suite or package or
    the cache is not writable, RunError when packages cannot be fetched or installed.
    """
    require_guest_platform()
    become_root = as_root()
    debian_image.require_tools(plan)
    if plan.root.file_system == "xfs":
        # A guest makes it, at the end: one that cannot is to be known now.
        ready_qemu(None, progress)
        require_qemu(None)

    def find_or_build(archive: PackageArchive) -> GuestImage:
        progress("resolve dependencies", 0, 1)
        packages = debian_image.packages(archive, plan)
        for image in _current(name):
            wanted = (plan.root, plan.suite.name)
            if (image.manifest.root, image.manifest.suite) == wanted and image.is_made_from(
                packages.all
            ):
                return image
        remove_as_root(become_root, unfinished_in(images_directory()))
        image = build_image(
            archive,
            name,
            lambda directory: debian_image.make_content(
                archive, packages, plan, directory, become_root, progress
            ),
        )
        _withdraw_older(image)
        return image

    return _with_archive(plan.suite, find_or_build, progress)


def _with_archive(
    suite: Suite,
    find_or_build: Callable[[PackageArchive], GuestImage],
    progress: Progress,
) -> GuestImage:
    with changing_images(progress) as root:
        archive = open_archive(root / "debian", suite)
        progress("fetch the package lists", 0, 1)
        archive.update()
        progress("fetch the package lists", 1, 1)
        return find_or_build(archive)


@contextlib.contextmanager
def changing_images(progress: Progress) -> Iterator[Path]:
    """Hold the lock of the images; yields the cache's root.

    Raises:
        InputError: the cache is not writable.
        RunError: it takes no more.
    """
    root = cache_directory()
    with (
        exclusive_lock(images_lock_path(), lambda holder: progress(holder, 0, 1)),
        storing(f"build the guest image in {root}"),
    ):
        yield root


def _current(name: str) -> list[GuestImage]:
    current = [image for image in named(list_images(), name) if image.is_of_these_sources]
    return [image for image in current if is_sound(image, whole=True)]


def build_image(
    archive: PackageArchive,
    name: str,
    make_content: Callable[[Path], ImageContent],
    image_id: str | None = None,
) -> GuestImage:
    """Build an image and store it; the caller holds the lock of the images.

    ``image_id``: that of the image that must come out.

    Raises:
        RunError: another one does.
    """
    with unfinished_directory(images_directory()) as building:
        unpacked = building / "unpacked"
        unpacked.mkdir()
        content = make_content(unpacked)
        archive.forget_all_but(content.packages)
        return _publish(name, content, building, image_id)


def publish_image(name: str, content: ImageContent, building: Path) -> GuestImage:
    """Store an image from the unfinished directory ``building``, in place of others of its name.

    The caller holds the lock of the images.
    """
    image = _publish(name, content, building)
    _withdraw_older(image)
    return image


def _publish(
    name: str, content: ImageContent, building: Path, image_id: str | None = None
) -> GuestImage:
    image = building / "image"
    image.mkdir()
    manifest = store_image(image, name, content)
    if image_id not in (None, manifest.image_id):
        raise RunError(
            f"the image that was built of the locked packages is {manifest.image_id[:12]} and not "
            f"{str(image_id)[:12]}: programs of this host that make images differ from those where "
            "the lock was written; import it from a file that 'freezingtime image export' has "
            "written there"
        )
    seal_image(GuestImage(image, manifest))
    final = image_directory(manifest)
    publish(image, final)
    return GuestImage(final, manifest)


def make_newest(image: GuestImage) -> None:
    """Have runs use this image of all that have its name."""
    with contextlib.suppress(OSError):  # as where another user has built it
        os.utime(image.manifest_path)


def _withdraw_older(image: GuestImage) -> None:
    for older in named(list_images(), image.name):
        if older.directory != image.directory:
            withdraw(older.directory)
