# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages of a lock file: from a mirror's pool by their paths, trusted for their digests.

No list of the mirror's is looked at: it has the newest versions only. A version is in the pool as
long as any suite has it; a mirror of past days has them all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian.download import CONNECTIONS, NotAsAnnouncedError, NotThereError
from freezingtime.images.debian.mirror import MIRROR_VARIABLE, DebianMirror
from freezingtime.images.debian.package import Package, control_of
from freezingtime.images.debian.package_index import PackageIndex, PackageLists
from freezingtime.images.debian.packages import PackageArchive, Progress, Sources
from freezingtime.images.debian.suite import Suite
from freezingtime.images.debian.unpacked_packages import KERNEL_METAPACKAGE
from freezingtime.images.locked.lock_file import LockedPackage

#: Where the security archive has what the archive has, from the next point release on, in pool/.
_POOLS = ("pool/", "pool/updates/")


class LockedArchive(PackageArchive):
    """The packages of a lock file, and no others, with the interface of a suite's."""

    def __init__(
        self, directory: Path, suite: Suite, mirror: DebianMirror, packages: Iterable[LockedPackage]
    ) -> None:
        super().__init__(directory / suite.name, Sources(suite.name, (), (), "", mirror.said_by))
        self._mirror = mirror
        self._locked = {package.name: package for package in packages}
        self._kernel = ""

    def update(self) -> None:
        """Do nothing: what is locked does not change."""

    def fetch(self, kernel: str, progress: Progress) -> None:
        """Download all packages; ``kernel`` is that of the guest, "" if there is none.

        Raises:
            InputError: a package is not what the lock says of it.
            RunError: some can no longer be had: all are named; or the mirror cannot be reached.
        """
        self._kernel = kernel
        wanted = [_as_package(package) for package in self._locked.values()]
        missing: list[str] = []
        step = "download the locked packages"
        self._debs.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            tasks = {package: pool.submit(self._download, package) for package in wanted}
            try:
                for count, (package, task) in enumerate(tasks.items()):
                    progress(step, count, len(wanted))
                    try:
                        task.result()
                    except NotThereError:
                        missing.append(f"{package.name} {package.version}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if missing:
            raise RunError(
                f"{len(missing)} of the {len(wanted)} locked packages can no longer be had from "
                f"{self._mirror.archive} or {self._mirror.security}: {', '.join(missing)}; import "
                "what was built of them from a file that 'freezingtime image export' has written, "
                f"or name a mirror of that day with {MIRROR_VARIABLE}"
            )

    def _fetch(self, package: Package) -> Path:
        """Fetch a package from wherever the mirrors may have it by now."""
        *others, last = self._addresses(self._locked[package.name].path)
        for address in others:
            with contextlib.suppress(NotThereError):
                return self._fetch_from(address, package)
        return self._fetch_from(last, package)

    def _fetch_from(self, address: str, package: Package) -> Path:
        try:
            return super()._fetch(dataclasses.replace(package, address=address))
        except NotAsAnnouncedError as error:
            raise InputError(
                f"the lock's package {package.name} {package.version} is not what the mirror has: "
                f"{error}"
            ) from error

    def _addresses(self, path: str) -> Iterator[str]:
        inner = path.removeprefix("pool/").removeprefix("updates/")
        places = dict.fromkeys([path, *(pool + inner for pool in _POOLS)])
        for place in places:
            for base in (self._mirror.archive, self._mirror.security):
                yield f"{base}/{urllib.parse.quote(place, safe='/+~')}"

    @cached_property
    def _packages(self) -> PackageLists:
        """Return the packages' control data, as in an archive's list."""
        paragraphs = []
        for package, locked in zip(
            map(_as_package, self._locked.values()), self._locked.values(), strict=True
        ):
            control = control_of(self._debs / package.file_name)
            for field, value in (("Package", package.name), ("Version", package.version)):
                if f"{field}: {value}" not in control.splitlines():
                    raise InputError(
                        f"the lock's package {package.name} {package.version} is another, by its "
                        "digest; write the lock anew with 'freezingtime lock'"
                    )
            paragraphs.append(
                f"{control}\nFilename: {locked.path}\nSize: {locked.size_bytes}\n"
                f"SHA256: {locked.sha256}\n"
            )
        if self._kernel:
            paragraphs.append(_metapackage(self._kernel))
        return PackageLists({"": PackageIndex("\n".join(paragraphs).encode(), "")}, None)


def _as_package(locked: LockedPackage) -> Package:
    return Package(
        name=locked.name,
        version=locked.version,
        architecture=locked.architecture,
        section="",
        depends=(),
        provides=(),
        sha256=locked.sha256,
        size_bytes=locked.size_bytes,
        path=locked.path,
    )


def _metapackage(kernel: str) -> str:
    """Return the metapackage of the kernel; it is in no image, and in no lock."""
    return (
        f"Package: {KERNEL_METAPACKAGE}\nVersion: 0\nArchitecture: amd64\nDepends: {kernel}\n"
        f"Filename: -\nSize: 0\nSHA256: -\n"
    )
