# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's suites: which one a guest is made of, and the parts of the archive that make it up.

A guest is of a suite that is named, whatever the host runs: its kernel and programs are part of
what is measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from freezingtime.errors import InputError
from freezingtime.images.names import DEFAULT_SUITE

_BACKPORTS = "-backports"
#: It has no updates beside it, as it is where they arrive first.
_UNSTABLE = "sid"
#: These are other suites as time goes by.
_ALIASES = ("stable", "oldstable", "oldoldstable", "testing", "unstable")


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite by its code name, such as bookworm or bookworm-backports."""

    name: str

    @classmethod
    def parse(cls, text: str, option: str) -> Suite:
        """Raise InputError, which calls the text ``option``, if no suite can be called so."""
        if text.removesuffix(_BACKPORTS) in _ALIASES:
            raise InputError(
                f"{option}: {text} will name another suite later; "
                f"give its code name, such as {DEFAULT_SUITE} or trixie"
            )
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", text):
            raise InputError(
                f"{option}: must be the code name of a Debian suite, such as "
                f"{DEFAULT_SUITE} or trixie"
            )
        return cls(text)

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT_SUITE

    @property
    def main_parts(self) -> list[str]:
        """Parts of the suite on a mirror of Debian's archive."""
        base = self._base
        if base == _UNSTABLE:
            return [self.name]
        return list(dict.fromkeys([base, f"{base}-updates", self.name]))

    @property
    def security_parts(self) -> list[str]:
        """Parts of the suite on a mirror of Debian's security archive."""
        return [] if self._base == _UNSTABLE else [f"{self._base}-security"]

    @property
    def preferred_part(self) -> str | None:
        """The part whose packages are taken where other parts have newer ones or the same."""
        return self.name if self.name.endswith(_BACKPORTS) else None

    @property
    def _base(self) -> str:
        return self.name.removesuffix(_BACKPORTS)


DEFAULT = Suite(DEFAULT_SUITE)
