# SPDX-License-Identifier: GPL-2.0-or-later
"""A list of packages of one part of the archive: tens of thousands, of which few are looked at."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from freezingtime.errors import RunError
from freezingtime.images.debian.package import Package, relation_names

_NAME = re.compile(rb"^Package: (\S+)$", re.MULTILINE)
_ESSENTIAL = re.compile(rb"^Essential: yes$", re.MULTILINE)
_PROVIDES = re.compile(rb"^Provides: (.*)$", re.MULTILINE)
_PRIORITIES = ("required", "important", "standard", "optional")
#: What may be in the name of a file of ours.
_VERSION = re.compile(r"[\w.+:~-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListedPackage:
    """A package of a list, with all that its paragraph says."""

    package: Package
    fields: dict[str, str]

    @property
    def name(self) -> str:
        return self.package.name

    @property
    def version(self) -> str:
        return self.package.version


class PackageIndex:
    """The content of a file ``Packages``; ``base`` is the address of the archive that has it."""

    def __init__(self, content: bytes, base: str) -> None:
        self._content = content
        self._base = base
        self._starts: dict[bytes, list[int]] = {}
        for found in _NAME.finditer(content):
            self._starts.setdefault(found[1], []).append(found.start())
        self._providers: dict[str, list[int]] | None = None

    def entries(self, name: str) -> list[ListedPackage]:
        """The versions of a package."""
        return [self._entry(start) for start in self._starts.get(name.encode(), ())]

    def essential(self) -> Iterator[ListedPackage]:
        """Return the essential packages."""
        return map(self._entry, map(self._start, _ESSENTIAL.finditer(self._content)))

    def providers(self, name: str) -> list[ListedPackage]:
        """The packages that provide a name which is not theirs."""
        if self._providers is None:
            self._providers = {}
            for found in _PROVIDES.finditer(self._content):
                for provided in relation_names(found[1].decode()):
                    self._providers.setdefault(provided, []).append(self._start(found))
        return [self._entry(start) for start in self._providers.get(name, ())]

    def _start(self, found: re.Match[bytes]) -> int:
        """Return the start of the paragraph around a match."""
        before = self._content.rfind(b"\n\n", 0, found.start())
        return 0 if before < 0 else before + len(b"\n\n")

    def _entry(self, start: int) -> ListedPackage:
        end = self._content.find(b"\n\n", start)
        paragraph = self._content[start : end if end >= 0 else None].decode()
        fields = dict(re.findall(r"^([\w-]+): *(.*)$", paragraph, re.MULTILINE))
        try:
            return ListedPackage(_package(fields, self._base), fields)
        except (KeyError, ValueError) as error:
            line = paragraph.partition("\n")[0]
            raise RunError(f"{self._base}: its list of packages is wrong at {line!r}") from error


class PackageLists:
    """The lists of all parts of a suite; the packages of ``preferred`` come before the others'."""

    def __init__(self, parts: dict[str, PackageIndex], preferred: str | None) -> None:
        self._parts = parts
        self._preferred = preferred

    def candidate(self, name: str) -> ListedPackage | None:
        """The version to take: the newest, of the preferred part if that has one."""
        parts: Iterable[PackageIndex] = self._parts.values()
        if self._preferred is not None and self._parts[self._preferred].entries(name):
            parts = [self._parts[self._preferred]]
        found = [entry for part in parts for entry in part.entries(name)]
        return max(found, key=_newness, default=None)

    def providers(self, name: str) -> list[ListedPackage]:
        """Packages to take that provide a name: those first that a system rather has."""
        names = {entry.name for part in self._parts.values() for entry in part.providers(name)}
        candidates = (self.candidate(provider) for provider in names)
        found = [entry for entry in candidates if entry and name in entry.package.provides]
        return sorted(found, key=_rank)

    def essential(self) -> list[ListedPackage]:
        """Return the essential packages, by name."""
        names = {entry.name for part in self._parts.values() for entry in part.essential()}
        candidates = (self.candidate(name) for name in sorted(names))
        return [entry for entry in candidates if entry is not None]


def is_version(version: str, relation: str, other: str) -> bool:
    """Whether a version is as a relation says: ``>=``, ``>>``, ``=``, ``<=`` or ``<<`` another."""
    from debian.debian_support import version_compare

    order = version_compare(version, other)
    return {
        **{">=": order >= 0, ">>": order > 0, "=": order == 0},
        **{"<=": order <= 0, "<<": order < 0},
    }.get(relation, False)


def _newness(entry: ListedPackage) -> Any:
    from debian.debian_support import Version

    return Version(entry.version)


def _rank(entry: ListedPackage) -> tuple[int, str]:
    priority = entry.fields.get("Priority", "")
    known = priority in _PRIORITIES
    return (_PRIORITIES.index(priority) if known else len(_PRIORITIES), entry.name)


def _package(fields: dict[str, str], base: str) -> Package:
    depends = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"
    version = fields["Version"]
    if not _VERSION.fullmatch(version):
        raise ValueError(version)
    return Package(
        name=fields["Package"],
        version=version,
        architecture=fields["Architecture"],
        section=fields.get("Section", ""),
        depends=tuple(relation_names(depends)),
        provides=tuple(relation_names(fields.get("Provides", ""))),
        sha256=fields["SHA256"],
        size_bytes=int(fields["Size"]),
        path=fields["Filename"],
        address=f"{base}/{urllib.parse.quote(fields['Filename'], safe='/+~')}",
    )
