# SPDX-License-Identifier: GPL-2.0-or-later
"""A system of the user's own as a guest image: its root disk copied, its kernel as it is.

What it takes is drivers for the machine's controllers in its initramfs, and systemd, which
:mod:`freezingtime.vm.bootstrap` has start the job runner; or, without that, a program and
a unit in the system itself (:func:`write_runner`).
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian.packages import Progress
from freezingtime.images.debian.tools import run_tool
from freezingtime.images.disk_chain import Layer, block_graph, chain_files, read_chain
from freezingtime.images.guest_image import (
    GuestImage,
    ImageContent,
    RootDisk,
    images_directory,
    images_lock_path,
)
from freezingtime.store.cache import exclusive_lock, storing, unfinished_directory

Value = TypeVar("Value")

#: What the manifest says of a root disk that was not made here.
_FILE_SYSTEM = "imported"

_RUNNER_FILES = {
    "job-runner": ("usr/lib/freezingtime/job-runner", 0o755),
    "freezingtime-job.service": ("etc/systemd/system/freezingtime-job.service", 0o644),
}
_RUNNER_LINK = "etc/systemd/system/multi-user.target.wants/freezingtime-job.service"

_SECTOR_BYTES = 512
_CONVERT_DEADLINE_S = 3600.0

# The kernel's Documentation/arch/x86/boot.rst: the header's magic, and where the version is.
_HEADER_MAGIC, _HEADER_MAGIC_OFFSET = b"HdrS", 0x202
_VERSION_POINTER_OFFSET, _VERSION_BASE = 0x20E, 0x200


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The files of a system, and what its kernel is to be told beside what every guest's is."""

    root_disk: Path
    kernel: Path | None = None
    """None: the one that is found on the disk, and its initramfs; so for ``initrd``."""
    initrd: Path | None = None
    append: str = ""
    disk_option: str = "--root-disk"
    """The option that named the disk."""
    allow_backing: tuple[Path, ...] = ()
    """Where backing files of the disk may be, beside its own directory."""

    @property
    def named_by(self) -> str:
        """Text that named the system, for messages."""
        return str(self.root_disk)

    @property
    def stem(self) -> str:
        """Name of the system, for people."""
        return self.root_disk.stem

    def identity(self) -> str:
        """Identity of the files, however they change."""
        files = [self.root_disk, self.kernel, self.initrd]
        return "\n".join([*(str(path and path.resolve()) for path in files), self.append])

    def source(self) -> str:
        """The files as they are now, backing files too: another text if one of them has changed.

        Raises:
            InputError: one cannot be read.
        """
        backing = [(self.disk_option, path) for path in chain_files(self.layers())[1:]]
        files = [(self.disk_option, self.root_disk), *backing, *self._boot_files()]
        lines = [_identity(option, path) for option, path in files]
        return "\n".join([*lines, self.append])

    def layers(self) -> list[Layer]:
        """The images that the disk consists of, the topmost first.

        Raises:
            InputError: one cannot be read, or is where it may not be.
        """
        for directory in self.allow_backing:
            if not directory.is_dir():
                raise InputError(f"--allow-backing {directory}: is not a directory")
        return read_chain(
            self.root_disk, f"{self.disk_option} {self.root_disk}", self.allow_backing
        )

    def check(self) -> None:
        """See to it that the options fit together, and are readable files.

        Raises:
            InputError: they are not.
        """
        if (self.kernel is None) != (self.initrd is None):
            raise InputError(
                "--kernel and --initrd go together; leave both out if they are on the disk"
            )
        if not self.append.isprintable():
            raise InputError("--append: has a line end or another control character in it")
        self.source()
        _require_sectors(self.layers()[0], f"{self.disk_option} {self.root_disk}")
        for option, path in self._boot_files():
            content = _read(option, path)
            if path == self.kernel:
                _kernel_release(f"{option} {path}", content)

    def as_dict(self) -> dict[str, Any]:
        """The files as plain values."""
        return {
            "root_disk": str(self.root_disk),
            "kernel": None if self.kernel is None else str(self.kernel),
            "initrd": None if self.initrd is None else str(self.initrd),
            "append": self.append,
            "allow_backing": [str(directory) for directory in self.allow_backing],
        }

    def _boot_files(self) -> list[tuple[str, Path]]:
        files = [("--kernel", self.kernel), ("--initrd", self.initrd)]
        return [(option, path) for option, path in files if path is not None]


@dataclass(frozen=True, slots=True)
class BootFiles:
    """Files that boot a system, and the kernel arguments that find its root."""

    kernel: bytes
    initrd: bytes
    append: str


def import_image(
    name: str,
    plan: ImportPlan,
    find_boot_files: Callable[[Path], BootFiles],
    progress: Progress,
) -> GuestImage:
    """Make an image called ``name``; it takes the place of all others of its name.

    ``find_boot_files`` finds the kernel of the system on a raw disk, if ``plan`` names none.

    Raises:
        InputError: a file is not what it should be, or ``qemu-img`` is missing.
        RunError: the cache takes no more.
    """
    # Here, as it takes libraries that a run of an image that is there need not wait for.
    from freezingtime.images.build import publish_image

    plan.check()
    layers, source = plan.layers(), plan.source()
    if shutil.which("qemu-img") is None:
        raise InputError(
            "qemu-img is not installed, which importing an image takes; "
            "install it with 'apt-get install qemu-utils'"
        )
    with (
        exclusive_lock(images_lock_path(), lambda holder: progress(holder, 0, 1)),
        unfinished_directory(images_directory()) as building,
    ):
        progress("copy the root disk", 0, 1)
        copy = building / "root.img"
        _convert(plan, layers, copy)
        if plan.source() != source:
            raise InputError(
                f"{plan.disk_option} {plan.root_disk}: has changed while it was copied; "
                "stop what writes to it, and try again"
            )
        root = RootDisk(_FILE_SYSTEM, copy.stat().st_size)
        if plan.kernel is None or plan.initrd is None:
            progress("look for its kernel", 0, 1)
            files = find_boot_files(copy)
        else:
            files = BootFiles(plan.kernel.read_bytes(), plan.initrd.read_bytes(), "")
        progress("store the image", 0, 1)
        content = ImageContent(
            files.kernel,
            files.initrd,
            _kernel_release(f"the kernel of {plan.root_disk}", files.kernel),
            (),
            root,
            copy,
            f"{files.append} {plan.append}".strip(),
            imported=True,
            source=source,
        )
        with storing(f"store the guest image in {images_directory()}"):
            return publish_image(name, content, building)


def write_runner(directory: Path) -> list[Path]:
    """Write the tree that makes a system with systemd run jobs, to be copied onto its root.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        for source, (place, mode) in _RUNNER_FILES.items():
            target = directory / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((resources.files("freezingtime.vm") / "guest" / source).read_bytes())
            target.chmod(mode)
        link = directory / _RUNNER_LINK
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to("../freezingtime-job.service")
    except OSError as error:
        raise InputError(f"{directory}: cannot write there ({error.strerror})") from error
    return [*(directory / place for place, _ in _RUNNER_FILES.values()), link]


def _read(option: str, path: Path) -> bytes:
    content = _reading(option, path, Path.read_bytes)
    if not content:
        raise InputError(f"{option} {path}: is empty")
    return content


def _reading(option: str, path: Path, read: Callable[[Path], Value]) -> Value:
    try:
        return read(path)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}; name a readable file") from error


def _identity(option: str, path: Path) -> str:
    status = _reading(option, path, Path.stat)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{option} {path}: is not a regular file")
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def _kernel_release(name: str, kernel: bytes) -> str:
    magic = kernel[_HEADER_MAGIC_OFFSET : _HEADER_MAGIC_OFFSET + len(_HEADER_MAGIC)]
    if magic != _HEADER_MAGIC:
        raise InputError(f"{name}: is no Linux kernel for x86, such as /boot/vmlinuz-*")
    pointer = kernel[_VERSION_POINTER_OFFSET : _VERSION_POINTER_OFFSET + 2]
    version = kernel[_VERSION_BASE + int.from_bytes(pointer, "little") :].partition(b"\0")[0]
    return version.decode(errors="replace").partition(" ")[0]


def _require_sectors(top: Layer, about: str) -> None:
    size_bytes = top.path.stat().st_size
    if top.format == "raw" and (size_bytes == 0 or size_bytes % _SECTOR_BYTES):
        raise InputError(
            f"{about}: has {size_bytes} bytes; a raw disk has a multiple of "
            f"{_SECTOR_BYTES}; name a raw or qcow2 image of a disk"
        )


def _convert(plan: ImportPlan, layers: Sequence[Layer], target: Path) -> None:
    source = f"json:{json.dumps(block_graph(layers))}"
    try:
        run_tool(
            ["qemu-img", "convert", "-O", "raw", source, str(target)],
            timeout_s=_CONVERT_DEADLINE_S,
            name="qemu-img",
        )
    except RunError as error:
        if "No space left" in str(error):
            raise
        raise InputError(
            f"{plan.disk_option} {plan.root_disk}: cannot be copied: {error}"
        ) from error
