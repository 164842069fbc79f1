# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of the mini guest image: which programs and modules, and where they go.

A Debian kernel, busybox, fio, the ext4 tools and the libraries they need. Programs keep
Debian's bytes; their libraries do too, but for those in :data:`_LEFT_OUT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.images.debian.package import Package
from freezingtime.images.debian.packages import PackageArchive, Progress
from freezingtime.images.debian.suite import Suite
from freezingtime.images.debian.unpacked_packages import UnpackedPackages, kernel_package, names_of
from freezingtime.images.guest_image import ImageContent
from freezingtime.images.mini.initramfs import Initramfs
from freezingtime.images.mini.kernel_modules import add_modules
from freezingtime.images.mini.shared_libraries import (
    LibraryClosure,
    WantedSymbol,
    exported_names,
    library_closure,
    needed_sonames,
    wanted_symbols,
)
from freezingtime.images.mini.stub_library import stub_library
from freezingtime.vm.qemu.frontends import DRIVERS

_TOOL_PACKAGES = ("busybox-static", "coreutils", "fio", "e2fsprogs")

_PROGRAMS = (
    *("usr/bin/busybox", "usr/bin/fio", "usr/sbin/mke2fs", "usr/sbin/e2fsck"),
    *("usr/sbin/tune2fs", "usr/sbin/dumpe2fs", "usr/sbin/resize2fs"),
    "usr/sbin/chroot",  # of coreutils: busybox's starts nothing as another user
)
_PROGRAM_LINKS = {
    "usr/sbin/mkfs.ext2": "mke2fs",
    "usr/sbin/mkfs.ext3": "mke2fs",
    "usr/sbin/mkfs.ext4": "mke2fs",
    "usr/sbin/fsck.ext2": "e2fsck",
    "usr/sbin/fsck.ext3": "e2fsck",
    "usr/sbin/fsck.ext4": "e2fsck",
}
_MERGED_DIRECTORIES = ("bin", "sbin", "lib", "lib64")
_LIBRARY_DIRECTORY = "usr/lib/x86_64-linux-gnu"
_DYNAMIC_LINKER = "ld-linux-x86-64.so.2"

#: Where the job runner is in every guest.
JOB_RUNNER = "usr/lib/freezingtime/job-runner"

_BOOT_MODULES = ("virtio_pci", "virtio_console", *DRIVERS)
_FURTHER_MODULES = ("ext4", "crc32c_generic", "xfs", "btrfs", "loop", "dm_mod")

# fio's clients of network storage and persistent memory; see stub_library.
_LEFT_OUT = frozenset(
    {"libgfapi", "libnbd", "libibverbs", "librdmacm", "librados", "librbd"}
    | {"libpmem", "libpmemblk"}
)

_CONFIGURATION = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


def make_content(
    archive: PackageArchive, suite: Suite, directory: Path, progress: Progress
) -> ImageContent:
    """Download the packages of that suite, unpack into the empty ``directory``, and put together.

    Raises RunError when a package lacks what is expected of it.
    """
    roots = [kernel_package(archive), *map(archive.candidate, _TOOL_PACKAGES)]
    packages = UnpackedPackages(archive, directory)
    progress("download and unpack the kernel and the tools", 0, 3)
    packages.add(roots)
    progress("download and unpack the libraries", 1, 3)
    libraries = _complete_libraries(packages)
    progress("put the initramfs together", 2, 3)
    kernel = packages.only_file("boot/vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    initrd = _initramfs(packages, libraries, release).to_bytes()
    progress("put the initramfs together", 3, 3)
    ordered = tuple(sorted(packages.added, key=lambda package: package.name))
    return ImageContent(kernel.read_bytes(), initrd, release, ordered, suite=suite.name)


def _is_left_out(soname: str) -> bool:
    return soname.split(".so")[0] in _LEFT_OUT


def _complete_libraries(packages: UnpackedPackages) -> LibraryClosure:
    """Add the packages of missing libraries until none is missing."""
    programs = [packages.file(name) for name in _PROGRAMS]
    while True:
        closure = library_closure(programs, packages.libraries(), _is_left_out)
        if not closure.missing:
            return closure
        providers = _providers(closure.missing, packages.dependencies())
        if not providers:
            raise RunError(
                f"{', '.join(sorted(closure.missing))} is in none of the packages that "
                f"{names_of(packages.added)} depend on"
            )
        packages.add(providers)


def _providers(sonames: Iterable[str], packages: list[Package]) -> list[Package]:
    """Return the ``packages`` that should have one of ``sonames``; if none, all libraries."""
    prefixes = {prefix for soname in sonames for prefix in _package_names(soname)}
    matching = [
        package
        for package in packages
        if any(name.startswith(tuple(prefixes)) for name in (package.name, *package.provides))
    ]
    return matching or [package for package in packages if package.section == "libs"]


def _package_names(soname: str) -> Iterator[str]:
    """Return the package names of ``libfoo.so.1`` by Debian policy 8.1: libfoo1 or libfoo-1.

    A transition may have added a suffix, as in libaio1t64.
    """
    stem, _, version = soname.lower().replace("_", "-").partition(".so.")
    yield stem + version
    yield f"{stem}-{version}"


def _initramfs(packages: UnpackedPackages, closure: LibraryClosure, release: str) -> Initramfs:
    image = Initramfs()
    _add_layout(image)
    for name in _PROGRAMS:
        image.add_file(name, packages.file(name).read_bytes(), 0o755)
    for name, target in _PROGRAM_LINKS.items():
        image.add_symlink(name, target)
    image.add_file("etc/mke2fs.conf", packages.file("etc/mke2fs.conf").read_bytes())
    _add_libraries(image, packages, closure)
    add_modules(
        image, packages.modules(release), release, boot=_BOOT_MODULES, further=_FURTHER_MODULES
    )
    return image


def _add_layout(image: Initramfs) -> None:
    for name in _MERGED_DIRECTORIES:
        image.add_directory(f"usr/{name}")
        image.add_symlink(name, f"usr/{name}")
    image.add_directory("root", 0o700)
    for name, text in _CONFIGURATION.items():
        image.add_file(name, text.encode())
    guest = resources.files("freezingtime.vm") / "guest"
    image.add_file("init", (guest / "init").read_bytes(), 0o755)
    image.add_file(JOB_RUNNER, (guest / "job-runner").read_bytes(), 0o755)


def _add_libraries(image: Initramfs, packages: UnpackedPackages, closure: LibraryClosure) -> None:
    for soname, file in closure.found.items():
        image.add_file(f"{_LIBRARY_DIRECTORY}/{soname}", file.read_bytes(), 0o755)
    image.add_symlink(f"usr/lib64/{_DYNAMIC_LINKER}", f"/{_LIBRARY_DIRECTORY}/{_DYNAMIC_LINKER}")
    for program in map(packages.file, _PROGRAMS):
        for soname, symbols in _stub_symbols(program, closure).items():
            name = f"{_LIBRARY_DIRECTORY}/{soname}"
            image.add_file(name, stub_library(soname, symbols), 0o755)


def _stub_symbols(program: Path, closure: LibraryClosure) -> dict[str, list[WantedSymbol]]:
    """By soname, what ``program`` wants of the libraries that are left out.

    A symbol without a version may come from any of them; it is given to those of which
    nothing else is known.
    """
    stubs: dict[str, list[WantedSymbol]] = {
        soname: [] for soname in needed_sonames(program) if _is_left_out(soname)
    }
    if not stubs:
        return {}
    wanted = wanted_symbols(program)
    for symbol in wanted:
        if symbol.soname in stubs:
            stubs[symbol.soname].append(symbol)
    exported = {name for file in closure.found.values() for name in exported_names(file)}
    unclaimed = [item for item in wanted if item.soname is None and item.name not in exported]
    return {soname: symbols or unclaimed for soname, symbols in stubs.items()}
