# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of the catalogue's devices, and finding one among them."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from importlib import resources

from freezingtime.errors import InputError

_CATALOGUE = "freezingtime.device.catalogue"
_NEAREST_MOST = 3
#: How like a name must be (0 to 1) to be taken for a misspelt one.
_LIKENESS_LEAST = 0.5


def catalogue_names() -> list[str]:
    """The names of the catalogue's devices, sorted."""
    entries = resources.files(_CATALOGUE).iterdir()
    return sorted(e.name.removesuffix(".toml") for e in entries if e.name.endswith(".toml"))


def catalogue_entry(name: str) -> str:
    """The TOML text of an entry, whose name must be one of :func:`catalogue_names`."""
    return resources.files(_CATALOGUE).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def matches(pattern: str, name: str, texts: Iterable[str]) -> bool:
    """Whether name or texts have ``pattern`` in them, in any case.

    A pattern with ``*``, ``?`` or ``[`` is one of the shell's, for the name.
    """
    folded = pattern.lower()
    if any(character in folded for character in "*?["):
        return fnmatch.fnmatchcase(name, folded)
    return any(folded in text.lower() for text in (name, *texts))


def no_match(pattern: str) -> InputError:
    """The error to raise where nothing matches."""
    return InputError(f"no device matches {pattern!r}; {nearest(pattern)}")


def nearest(text: str) -> str:
    """Suggest where to find what ``text`` may have been meant to name."""
    names = catalogue_names()
    folded = text.lower()
    near = [name for name in names if folded and folded in name] or difflib.get_close_matches(
        folded, names, n=_NEAREST_MOST, cutoff=_LIKENESS_LEAST
    )
    search = "'freezingtime devices PATTERN' searches the catalogue"
    if not near:
        return search
    return f"did you mean {' or '.join(near[:_NEAREST_MOST])}? {search}"
