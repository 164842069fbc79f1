# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages that some packages need: their dependencies, and so on, without recommendations.

Of alternatives it is one that is there already, else the first that can be had and goes with what
is there; of packages that provide a name, the one that a system rather has. What was taken stays:
where apt would find a way back, this says what goes not together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from freezingtime.errors import InputError
from freezingtime.images.debian.package_index import ListedPackage, PackageLists, is_version


class Relation(NamedTuple):
    """A name and maybe which versions: ``>= 2``."""

    name: str
    relation: str | None = None
    version: str | None = None

    def is_met_by(self, entry: ListedPackage) -> bool:
        """Whether a package is that, or provides it."""
        if entry.name == self.name and self._fits(entry.version):
            return True
        if self.name not in entry.package.provides:
            return False
        provided = _relations(entry.fields["Provides"])
        return any(
            self.version is None or (one.version is not None and self._fits(one.version))
            for (one,) in provided
            if one.name == self.name
        )

    def _fits(self, version: str) -> bool:
        if self.relation is None or self.version is None:
            return True
        return is_version(version, self.relation, self.version)

    def __str__(self) -> str:
        return (
            self.name if self.version is None else f"{self.name} ({self.relation} {self.version})"
        )


class Closure:
    """A set of packages that grows by what they need."""

    def __init__(self, lists: PackageLists) -> None:
        self._lists = lists
        self._taken: dict[str, ListedPackage] = {}
        self._meeting: dict[str, list[ListedPackage]] = {}
        """By name, what has or provides it."""
        self._open: deque[ListedPackage] = deque()

    def add(self, entries: Iterable[ListedPackage]) -> None:
        """Take packages, all of them before anything that they need.

        Raises:
            InputError: something that they need cannot be had, or conflicts with the rest.
        """
        for entry in entries:
            self._take(entry)
        while self._open:
            entry = self._open.popleft()
            for alternatives in _relations_of(entry, "Pre-Depends", "Depends"):
                self._meet(entry, alternatives)

    @property
    def entries(self) -> list[ListedPackage]:
        """Chosen packages, by name."""
        return [self._taken[name] for name in sorted(self._taken)]

    def _meet(self, entry: ListedPackage, alternatives: Sequence[Relation]) -> None:
        if any(self._is_met(relation) for relation in alternatives):
            return
        rival: tuple[ListedPackage, ListedPackage] | None = None
        for candidate in self._candidates(alternatives):
            if (against := self._rival(candidate)) is None:
                self._take(candidate)
                return
            rival = rival or (candidate, against)
        needs = f"{entry.name} needs {' or '.join(map(str, alternatives))}"
        if rival is None:
            raise InputError(f"{needs}, which the suite does not have")
        raise InputError(f"{needs}, but {rival[0].name} conflicts with {rival[1].name}")

    def _candidates(self, alternatives: Sequence[Relation]) -> Iterator[ListedPackage]:
        for relation in alternatives:
            named = self._lists.candidate(relation.name)
            if named is not None and relation.is_met_by(named):
                yield named
            yield from filter(relation.is_met_by, self._lists.providers(relation.name))

    def _is_met(self, relation: Relation) -> bool:
        return any(map(relation.is_met_by, self._meeting.get(relation.name, ())))

    def _take(self, entry: ListedPackage) -> None:
        if entry.name in self._taken:
            return
        if (rival := self._rival(entry)) is not None:
            raise InputError(f"{entry.name} conflicts with {rival.name}")
        self._taken[entry.name] = entry
        for name in (entry.name, *entry.package.provides):
            self._meeting.setdefault(name, []).append(entry)
        self._open.append(entry)

    def _rival(self, entry: ListedPackage) -> ListedPackage | None:
        """Return the chosen package that conflicts with a package."""
        for relation in _conflicts(entry):
            for other in self._meeting.get(relation.name, ()):
                if other.name != entry.name and relation.is_met_by(other):
                    return other
        for other in self._taken.values():
            if any(relation.is_met_by(entry) for relation in _conflicts(other)):
                return other
        return None


def _conflicts(entry: ListedPackage) -> Iterator[Relation]:
    for alternatives in _relations_of(entry, "Conflicts", "Breaks"):
        yield from alternatives


def _relations_of(entry: ListedPackage, *fields: str) -> Iterator[Sequence[Relation]]:
    for field in fields:
        if field in entry.fields:
            yield from _relations(entry.fields[field])


@cache
def _relations(text: str) -> tuple[tuple[Relation, ...], ...]:
    from debian.deb822 import PkgRelation

    parsed: Iterable[Iterable[Any]] = PkgRelation.parse_relations(text)
    return tuple(
        tuple(Relation(one["name"], *(one["version"] or (None, None))) for one in alternatives)
        for alternatives in parsed
    )
