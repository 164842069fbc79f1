# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages of a suite: listed, chosen and downloaded, on any host; nothing is installed.

What is trusted are keys: they have signed the list of index files, which has these files' digests,
which have the packages'. Lists are kept as they came, and are checked anew whenever they are read.
"""

from __future__ import annotations

import hashlib
import logging
import lzma
import re
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from freezingtime.errors import FreezingTimeError, InputError, RunError
from freezingtime.host.replaced_file import replaced
from freezingtime.images.debian.dependencies import Closure
from freezingtime.images.debian.download import (
    CONNECTIONS,
    NotAsAnnouncedError,
    NotThereError,
    UnreachableError,
    fetch_bytes,
    fetch_file,
)
from freezingtime.images.debian.mirror import KEYRING_VARIABLE, MIRROR_VARIABLE
from freezingtime.images.debian.package import Package, control_of
from freezingtime.images.debian.package_index import ListedPackage, PackageIndex, PackageLists
from freezingtime.images.debian.release import (
    Announced,
    Release,
    ReleaseError,
    UnsignedError,
    read_release,
    require_current,
)

if TYPE_CHECKING:
    from pysequoia import Cert

#: What is being done, and how many of how many parts of it are done.
Progress: TypeAlias = Callable[[str, int, int], None]

#: In place of a package's name: all that every system has.
ESSENTIAL = "?essential"

_INDEX = "main/binary-amd64/Packages"
_UNPACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress,
    ".gz": lambda data: zlib.decompress(data, wbits=zlib.MAX_WBITS | 16),
    "": bytes,
}
_RELEASE_MAX_BYTES = 16 << 20
#: The day that an address of an archive of past days names.
_DAY = re.compile(r"/(\d{8}T\d{6}Z)$")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of a suite's packages: archives' addresses, and which part of each.

    All parts are signed with one of ``keys``, which are those of ``keyring``. ``said_by`` tells
    whose choice the addresses are; the packages of ``preferred`` are taken before those of other
    parts.
    """

    suite: str
    parts: tuple[tuple[str, str], ...]
    keys: tuple[Cert, ...]
    keyring: str
    said_by: str
    preferred: str | None = None
    may_be_expired: bool = False
    """Whether lists count beyond their time."""


class PackageArchive:
    """The packages of a suite of Debian's.

    ``directory`` keeps the lists and the downloaded packages; the caller sees to it that
    no other process uses it at the same time.
    """

    def __init__(self, directory: Path, sources: Sources) -> None:
        self._sources = sources
        self._debs = directory / "debs"
        self._lists = directory / "lists"

    def update(self) -> None:
        """Fetch the lists of packages.

        A suite that cannot be reached is not fatal if all of its lists are there from earlier.

        Raises:
            InputError: there is no such suite.
            RunError: its lists cannot be had, or are not signed as they should be.
        """
        self.__dict__.pop("_packages", None)
        suite = self._sources.suite
        for base, part in self._sources.parts:
            try:
                self._update_part(base, part)
            except (ReleaseError, NotAsAnnouncedError):
                raise
            except (InputError, RunError) as error:
                if not self._has_all_lists():
                    raise
                _log.warning("suite %s: uses earlier package lists (%s)", suite, error)
                return

    def candidates(self, names: Iterable[str]) -> dict[str, Package]:
        """The version to take of each of ``names``; unknown and virtual ones are left out."""
        found = {name: self._packages.candidate(name) for name in sorted(set(names))}
        return {name: entry.package for name, entry in found.items() if entry is not None}

    def candidate(self, name: str) -> Package:
        """The version of a package to take.

        Raises:
            InputError: there is no such package.
        """
        return self._candidate(name).package

    def with_dependencies(self, names: Iterable[str]) -> list[Package]:
        """Return ``names`` (or ``?essential``) with their dependencies, by name.

        Raises:
            InputError: there is no such package, or something that one needs cannot be had.
        """
        closure = Closure(self._packages)
        wanted: list[ListedPackage] = []
        for name in names:
            wanted += self._packages.essential() if name == ESSENTIAL else [self._candidate(name)]
        try:
            closure.add(wanted)
        except InputError as error:
            raise InputError(f"suite {self._sources.suite}: {error}") from error
        return [entry.package for entry in closure.entries]

    def write_repository(self, packages: Iterable[Package], directory: Path) -> None:
        """Make ``directory`` a flat repository of ``packages``, all downloaded."""
        wanted = list(packages)
        paragraphs = []
        for package, deb in zip(wanted, self.download(wanted), strict=True):
            (directory / f"{package.name}.deb").symlink_to(deb)
            paragraphs.append(
                f"{control_of(deb)}\nFilename: ./{package.name}.deb\n"
                f"Size: {deb.stat().st_size}\nSHA256: {package.sha256}\n"
            )
        (directory / "Packages").write_text("\n".join(paragraphs), encoding="utf-8")

    def download(self, packages: Iterable[Package]) -> list[Path]:
        """The packages' files, in the given order, downloaded unless they are there already.

        Raises:
            RunError: one cannot be had, or is not as the list says.
        """
        wanted = list(packages)
        self._debs.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            try:
                return list(pool.map(self._download, wanted))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def forget_all_but(self, packages: Iterable[Package]) -> None:
        """Delete the downloaded files of all other packages."""
        kept = {package.file_name for package in packages}
        for deb in self._debs.glob("*.deb"):
            if deb.name not in kept:
                deb.unlink()

    def _download(self, package: Package) -> Path:
        try:
            return self._fetch(package)
        except (NotThereError, UnreachableError, NotAsAnnouncedError) as error:
            raise type(error)(
                f"cannot fetch the package {package.name} {package.version} ({error}): check the "
                f"network and the mirror (the mirror's address is from {self._sources.said_by})"
            ) from error

    def _fetch(self, package: Package) -> Path:
        deb = self._debs / package.file_name
        if not (deb.exists() and _sha256(deb) == package.sha256):
            fetch_file(package.address, deb, package.size_bytes, package.sha256)
        return deb

    def _candidate(self, name: str) -> ListedPackage:
        entry = self._packages.candidate(name)
        if entry is None:
            raise InputError(f"suite {self._sources.suite}: there is no package {name} for amd64")
        return entry

    @cached_property
    def _packages(self) -> PackageLists:
        """The lists that are there, from now or from earlier."""
        parts = {}
        for base, part in self._sources.parts:
            release = read_release((self._lists / part / "InRelease").read_bytes(), self._keys)
            content = (self._lists / part / "Packages").read_bytes()
            if not _is(content, _announced(release, "")):
                raise RunError(
                    f"{self._lists / part / 'Packages'}: is damaged; delete it and try again"
                )
            parts[part] = PackageIndex(content, base)
        return PackageLists(parts, self._sources.preferred)

    def _has_all_lists(self) -> bool:
        try:
            return self._packages is not None
        except (OSError, FreezingTimeError):
            return False

    @property
    def _keys(self) -> tuple[Cert, ...]:
        return self._sources.keys

    def _update_part(self, base: str, part: str) -> None:
        """Fetch the list of a part, unless the one that is there is still what is signed."""
        lists = self._lists / part
        address = f"{base}/dists/{part}"
        try:
            signed = fetch_bytes(f"{address}/InRelease", _RELEASE_MAX_BYTES)
        except NotThereError as error:
            raise InputError(
                f"suite {self._sources.suite}: {error} ({self._whose}); choose another suite, such "
                f"as bookworm or trixie, or another mirror with {MIRROR_VARIABLE}"
            ) from error
        except RunError as error:
            raise self._cannot_fetch(RunError, error) from error
        release = self._read_release(signed, base, part)
        path = lists / "Packages"
        lists.mkdir(parents=True, exist_ok=True)
        if not (path.is_file() and _is(path.read_bytes(), _announced(release, ""))):
            content = self._fetch_index(address, release)
            with replaced(path) as file:
                file.write(content)
        with replaced(lists / "InRelease") as file:
            file.write(signed)

    def _read_release(self, signed: bytes, base: str, part: str) -> Release:
        suite, keyring = self._sources.suite, self._sources.keyring
        day = _DAY.search(base)
        now = datetime.strptime(day[1] + "+0000", "%Y%m%dT%H%M%SZ%z") if day else datetime.now(UTC)
        try:
            release = read_release(signed, self._keys)
            require_current(release, part, None if self._sources.may_be_expired else now)
        except UnsignedError as error:
            raise UnsignedError(
                f"suite {suite}: {base} {part} is not signed with a key of {keyring} ({error}): "
                f"name another mirror with {MIRROR_VARIABLE}, or another keyring with "
                f"{KEYRING_VARIABLE}"
            ) from error
        except ReleaseError as error:
            raise ReleaseError(
                f"suite {suite}: what {base} has as {part} cannot be trusted ({error}; "
                f"{self._whose}): name another mirror with {MIRROR_VARIABLE}, or see whether the "
                "clock is right"
            ) from error
        earlier = self._earlier(part)
        if day is None and earlier is not None and release.date < earlier.date:
            raise RunError(f"{base} has older ones, of {release.date:%Y-%m-%d}")
        return release

    def _earlier(self, part: str) -> Release | None:
        try:
            return read_release((self._lists / part / "InRelease").read_bytes(), self._keys)
        except (OSError, ReleaseError):
            return None

    def _fetch_index(self, address: str, release: Release) -> bytes:
        for suffix, unpack in _UNPACKERS.items():
            announced = release.files.get(f"{_INDEX}{suffix}")
            if announced is None:
                continue
            name = f"{_INDEX}{suffix}"
            if release.has_hash_names:
                name = f"{_INDEX.rpartition('/')[0]}/by-hash/SHA256/{announced.sha256}"
            try:
                packed = fetch_bytes(f"{address}/{name}", announced.size_bytes)
                if not _is(packed, announced):
                    raise NotAsAnnouncedError(f"{address}/{name}: differs from the announcement")
                content = unpack(packed)
            except NotAsAnnouncedError as error:
                raise self._cannot_fetch(NotAsAnnouncedError, error) from error
            except RunError as error:
                raise self._cannot_fetch(RunError, error) from error
            if _is(content, _announced(release, "")):
                return content
        raise self._cannot_fetch(NotAsAnnouncedError, f"{address}: announces none for amd64")

    def _cannot_fetch(self, kind: type[RunError], why: object) -> RunError:
        return kind(
            f"suite {self._sources.suite}: cannot fetch its package lists ({why}): check the "
            f"network and the mirror ({self._whose})"
        )

    @property
    def _whose(self) -> str:
        return f"the mirror's address is from {self._sources.said_by}"


def _announced(release: Release, suffix: str) -> Announced | None:
    return release.files.get(f"{_INDEX}{suffix}")


def _is(content: bytes, announced: Announced | None) -> bool:
    return announced == (hashlib.sha256(content).hexdigest(), len(content))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
