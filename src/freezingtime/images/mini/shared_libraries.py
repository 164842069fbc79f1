# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared libraries: which ones a program needs, and what it wants of them.

The dynamic linker's own rules, restricted to what Debian's programs use: ``DT_NEEDED``
entries, followed from library to library, each found by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection, GNUVerSymSection
from elftools.elf.sections import Symbol, SymbolTableSection


@dataclass(frozen=True, slots=True)
class LibraryClosure:
    """``found``: every library needed, by soname. ``missing``: sonames that are nowhere."""

    found: dict[str, Path] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()


def needed_sonames(file: Path) -> list[str]:
    """The sonames of the libraries that ``file`` is linked with; none for a static program."""
    with file.open("rb") as stream:
        dynamic = ELFFile(stream).get_section_by_name(".dynamic")
        if not isinstance(dynamic, DynamicSection):
            return []
        # pyelftools sets `needed` by a computed name, which type checkers do not see.
        tags: Iterable[Any] = dynamic.iter_tags("DT_NEEDED")
        return [tag.needed for tag in tags]


def library_closure(
    programs: Iterable[Path], libraries: Mapping[str, Path], left_out: Callable[[str], bool]
) -> LibraryClosure:
    """All libraries that ``programs`` need, directly or not.

    ``libraries`` maps sonames to files. Sonames for which ``left_out`` holds are neither
    followed nor reported.
    """
    found: dict[str, Path] = {}
    missing: set[str] = set()
    pending = list(programs)
    while pending:
        for soname in needed_sonames(pending.pop()):
            if soname in found or left_out(soname):
                continue
            if soname in libraries:
                found[soname] = libraries[soname]
                pending.append(libraries[soname])
            else:
                missing.add(soname)
    return LibraryClosure(dict(sorted(found.items())), frozenset(missing))


@dataclass(frozen=True, order=True, slots=True)
class WantedSymbol:
    """A symbol that a program takes from elsewhere.

    ``soname`` and ``version`` are None for a symbol without a version, which may come
    from any library.
    """

    name: str
    soname: str | None = None
    version: str | None = None


def wanted_symbols(program: Path) -> list[WantedSymbol]:
    """The symbols that ``program`` cannot start without: undefined and not weak."""
    with program.open("rb") as stream:
        elf = ELFFile(stream)
        versions = _needed_versions(elf)
        symbols = elf.get_section_by_name(".dynsym")
        symbol_versions = elf.get_section_by_name(".gnu.version")
        if not isinstance(symbols, SymbolTableSection):
            return []
        if not isinstance(symbol_versions, GNUVerSymSection):
            return [
                WantedSymbol(symbol.name) for symbol in symbols.iter_symbols() if _is_wanted(symbol)
            ]
        return [
            WantedSymbol(symbol.name, *versions.get(version["ndx"], (None, None)))
            for symbol, version in zip(
                symbols.iter_symbols(), symbol_versions.iter_symbols(), strict=True
            )
            if _is_wanted(symbol)
        ]


def _is_wanted(symbol: Symbol) -> bool:
    return (symbol["st_shndx"], symbol["st_info"]["bind"]) == ("SHN_UNDEF", "STB_GLOBAL")


def _needed_versions(elf: ELFFile) -> dict[int, tuple[str, str]]:
    """Version index to (soname, version name)."""
    section = elf.get_section_by_name(".gnu.version_r")
    if not isinstance(section, GNUVerNeedSection):
        return {}
    return {
        auxiliary["vna_other"]: (library.name or "", auxiliary.name)
        for library, auxiliaries in section.iter_versions()
        for auxiliary in auxiliaries
    }


def exported_names(library: Path) -> set[str]:
    """The names of the symbols that ``library`` defines, whatever their version."""
    with library.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".dynsym")
        if not isinstance(symbols, SymbolTableSection):
            return set()
        return {
            symbol.name for symbol in symbols.iter_symbols() if symbol["st_shndx"] != "SHN_UNDEF"
        }
