# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages unpacked into one directory, the kernel's among them, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.images.debian.package import Package, unpack
from freezingtime.images.debian.packages import PackageArchive
from freezingtime.images.mini.kernel_modules import ModuleTree

KERNEL_METAPACKAGE = "linux-image-amd64"


def kernel_package(archive: PackageArchive) -> Package:
    """The kernel's own package, to which the metapackage leads."""
    metapackage = archive.candidate(KERNEL_METAPACKAGE)
    for name in metapackage.depends:
        if name.startswith("linux-image-"):
            return archive.candidate(name)
    raise RunError(f"package {KERNEL_METAPACKAGE} depends on no kernel: {metapackage.depends}")


class UnpackedPackages:
    """A directory of unpacked packages, and which these are."""

    def __init__(self, archive: PackageArchive, directory: Path) -> None:
        self._archive = archive
        self._directory = directory
        self.added: list[Package] = []

    def add(self, packages: Iterable[Package]) -> None:
        wanted = list(packages)
        for deb in self._archive.download(wanted):
            unpack(deb, self._directory)
        self.added += wanted

    def dependencies(self) -> list[Package]:
        """The packages that the added ones directly depend on, without the added ones."""
        names = {name for package in self.added for name in package.depends}
        candidates = self._archive.candidates(names - {package.name for package in self.added})
        return sorted(candidates.values(), key=lambda package: package.name)

    def file(self, name: str) -> Path:
        """The file that a system with a merged /usr has as ``name``."""
        for place in (name, name.removeprefix("usr/")):
            if (self._directory / place).is_file():
                return self._directory / place
        raise RunError(f"{name} is in none of the packages {names_of(self.added)}")

    def only_file(self, pattern: str) -> Path:
        files = [file for file in self._directory.glob(pattern) if file.is_file()]
        if len(files) != 1:
            raise RunError(f"not one but {len(files)} files {pattern} in {names_of(self.added)}")
        return files[0]

    def modules(self, release: str) -> ModuleTree:
        return ModuleTree(self.file(f"usr/lib/modules/{release}/modules.builtin").parent)

    def libraries(self) -> dict[str, Path]:
        """Shared libraries by file name, which is their soname."""
        return {
            file.name: file
            for place in ("usr/lib", "lib")
            for file in sorted(self._directory.glob(f"{place}/x86_64-linux-gnu/*.so*"))
            if file.is_file()
        }


def names_of(packages: Iterable[Package]) -> str:
    return ", ".join(package.name for package in packages)
