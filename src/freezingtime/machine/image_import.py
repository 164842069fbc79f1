"""A system of the user's own as a guest image: its root disk copied, its kernel as it is.

What the system needs to run jobs is one program and one unit (:func:`write_runner`), and
drivers for the machine's controllers in its initramfs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.machine.cache import exclusive_lock, unfinished_directory
from freezingtime.machine.debian import Progress, run_tool
from freezingtime.machine.guest_image import (
    GuestImage,
    ImageContent,
    RootDisk,
    images_directory,
    images_lock_path,
)
from freezingtime.machine.image_build import publish_image

#: What the manifest says of a root disk that was not made here.
_FILE_SYSTEM = "imported"

_RUNNER_FILES = {
    "job-runner": ("usr/lib/freezingtime/job-runner", 0o755),
    "freezingtime-job.service": ("etc/systemd/system/freezingtime-job.service", 0o644),
}
_RUNNER_LINK = "etc/systemd/system/multi-user.target.wants/freezingtime-job.service"

_QCOW2_MAGIC = b"QFI\xfb"
_SECTOR_BYTES = 512
_CONVERT_DEADLINE_S = 3600.0

# The kernel's Documentation/arch/x86/boot.rst: the header's magic, and where the version is.
_HEADER_MAGIC, _HEADER_MAGIC_OFFSET = b"HdrS", 0x202
_VERSION_POINTER_OFFSET, _VERSION_BASE = 0x20E, 0x200


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The files of a system, and what its kernel is to be told beside what every guest's is."""

    root_disk: Path
    kernel: Path
    initrd: Path
    append: str = ""


def import_image(name: str, plan: ImportPlan, progress: Progress) -> GuestImage:
    """Make an image called ``name``; it takes the place of all others of its name.

    Raises:
        InputError: a file is not what it should be, or ``qemu-img`` is missing.
        RunError: the cache takes no more.
    """
    kernel = _read("--kernel", plan.kernel)
    release = _kernel_release(plan.kernel, kernel)
    initrd = _read("--initrd", plan.initrd)
    if not plan.append.isprintable():
        raise InputError("--append: has a line end or another control character in it")
    source_format = _format(plan.root_disk)
    if shutil.which("qemu-img") is None:
        raise InputError(
            "qemu-img is not installed, which importing an image takes; "
            "install it with 'apt-get install qemu-utils'"
        )
    with exclusive_lock(images_lock_path()), unfinished_directory(images_directory()) as building:
        progress("copy the root disk", 0, 1)
        copy = building / "root.img"
        _convert(plan.root_disk, source_format, copy)
        root = RootDisk(_FILE_SYSTEM, copy.stat().st_size)
        progress("store the image", 0, 1)
        content = ImageContent(kernel, initrd, release, (), root, copy, plan.append, imported=True)
        try:
            return publish_image(name, content, building)
        except OSError as error:
            raise RunError(
                f"cannot store the guest image in {images_directory()} ({error}): "
                "free some space, or set XDG_CACHE_HOME to another directory"
            ) from error


def write_runner(directory: Path) -> list[Path]:
    """Write the tree that makes a system with systemd run jobs, to be copied onto its root.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        for source, (place, mode) in _RUNNER_FILES.items():
            target = directory / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(
                (resources.files("freezingtime.machine") / "guest" / source).read_bytes()
            )
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


def _reading(option: str, path: Path, read: Callable[[Path], bytes]) -> bytes:
    try:
        return read(path)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}; name a readable file") from error


def _kernel_release(path: Path, kernel: bytes) -> str:
    magic = kernel[_HEADER_MAGIC_OFFSET : _HEADER_MAGIC_OFFSET + len(_HEADER_MAGIC)]
    if magic != _HEADER_MAGIC:
        raise InputError(f"--kernel {path}: is no Linux kernel for x86, such as /boot/vmlinuz-*")
    pointer = kernel[_VERSION_POINTER_OFFSET : _VERSION_POINTER_OFFSET + 2]
    version = kernel[_VERSION_BASE + int.from_bytes(pointer, "little") :].partition(b"\0")[0]
    return version.decode(errors="replace").partition(" ")[0]


def _format(root_disk: Path) -> str:
    def head(path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(len(_QCOW2_MAGIC))

    if _reading("--root-disk", root_disk, head) == _QCOW2_MAGIC:
        return "qcow2"
    size_bytes = root_disk.stat().st_size
    if size_bytes == 0 or size_bytes % _SECTOR_BYTES:
        raise InputError(
            f"--root-disk {root_disk}: has {size_bytes} bytes; a raw disk has a multiple of "
            f"{_SECTOR_BYTES}; name a raw or qcow2 image of a disk"
        )
    return "raw"


def _convert(source: Path, source_format: str, target: Path) -> None:
    try:
        run_tool(
            ["qemu-img", "convert", "-f", source_format, "-O", "raw", str(source), str(target)],
            timeout_s=_CONVERT_DEADLINE_S,
            name="qemu-img",
        )
    except RunError as error:
        raise InputError(f"--root-disk {source}: cannot be copied: {error}") from error
