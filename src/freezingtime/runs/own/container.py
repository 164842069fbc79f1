# SPDX-License-Identifier: GPL-2.0-or-later
"""A container's image as a guest: its files on a root disk, the mini guest beside it.

The root disk is made in the mini guest, where files can be given to whomever they belong to, of one
archive with only checked content. So this takes no root, no mount, no tools.
"""

from __future__ import annotations

from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.images.container.plan import ContainerPlan
from freezingtime.images.container.prepare import guest_files, prepare_root
from freezingtime.images.container.root_tar import write_root_tar
from freezingtime.images.container.tree import Tree
from freezingtime.images.debian.packages import Progress
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    RootDisk,
    images_directory,
    images_lock_path,
)
from freezingtime.runs.own.mini_job import DiskFile, guest_script, mini_job, ready_mini_guest
from freezingtime.store.cache import exclusive_lock, storing, unfinished_directory
from freezingtime.vm.job import Job

_FILE_SYSTEM = "ext4"
_FILE_SYSTEM_ID = "4ee5e1a6-7d0c-4b5e-8f0a-66726f7a656e"
#: Space for jobs to write: twice the content, and at least a small volume.
_FREE_BYTES = 4 << 30
_SIZE_UNIT_BYTES = 1 << 30
_FILE_OVERHEAD_BYTES = 4096
_MAKE_DEADLINE_S = 3600.0


def import_container(
    name: str, plan: ContainerPlan, progress: Progress, qemu: str | None = None
) -> GuestImage:
    """Make an image called ``name``, in this QEMU; it takes the place of all others of its name.

    Raises:
        InputError: the container's image is damaged, or is none that a guest can have.
        RunError: the cache takes no more.
    """
    # Imported here: a run of an existing image need not wait for its libraries.
    from freezingtime.images.build import publish_image

    plan.check()
    ready_mini_guest(progress, qemu)  # now, as the images are locked while one is being made
    with (
        storing(f"store the guest image in {images_directory()}"),
        exclusive_lock(images_lock_path(), lambda holder: progress(holder, 0, 1)),
        unfinished_directory(images_directory()) as building,
    ):
        return publish_image(name, _content(plan, building, progress, qemu), building)


def _content(
    plan: ContainerPlan, building: Path, progress: Progress, qemu: str | None
) -> ImageContent:
    layers, archive, root_file = (building / name for name in ("layers", "root.tar", "root.img"))
    layers.mkdir()
    source, settings = plan.source(), plan.settings()
    with plan.opened(layers, progress) as tree, plan.told():
        prepare_root(tree, settings)
        additions = guest_files(tree, settings)
        size_bytes = _root_size_bytes(tree)
        progress("pack the files", 0, 1)
        with archive.open("wb") as file:
            write_root_tar(tree, file)
        if plan.source() != source:
            raise InputError("changed while it was read; stop what writes to it")
    with root_file.open("wb") as file:
        file.truncate(size_bytes)
    progress("make the file system in the guest", 0, 1)
    job = Job(guest_script("make-container-root"), {"FILE_SYSTEM_ID": _FILE_SYSTEM_ID}, sync=True)
    disks = [DiskFile("source", archive), DiskFile("target", root_file, writable=True)]
    with plan.told(), mini_job(job, disks, _MAKE_DEADLINE_S, progress, qemu) as (mini, _):
        pass
    return ImageContent(
        mini.kernel_path.read_bytes(),
        mini.initrd_path.read_bytes() + additions,
        mini.manifest.kernel_release,
        (),
        RootDisk(_FILE_SYSTEM, size_bytes),
        root_file,
        source=source,
        base_packages=mini.manifest.packages,
    )


def _root_size_bytes(tree: Tree) -> int:
    file_count = sum(1 for _ in tree.walk())
    used_bytes = tree.content_bytes() + file_count * _FILE_OVERHEAD_BYTES
    return -(-(2 * used_bytes + _FREE_BYTES) // _SIZE_UNIT_BYTES) * _SIZE_UNIT_BYTES
