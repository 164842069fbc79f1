# SPDX-License-Identifier: GPL-2.0-or-later
"""Unusable entries of the cache: skipped, with the reason and how to remove them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from freezingtime.host.json_document import OtherFormatError


@dataclass(frozen=True, slots=True)
class Unusable:
    """A directory of the cache that no run can use."""

    directory: Path
    reason: str
    removal: str
    """The command that removes it."""

    @classmethod
    def because(cls, error: Exception, directory: Path, removal: str) -> Self:
        """Describe an entry that ``error`` makes unusable: damaged, or of another format."""
        if isinstance(error, OtherFormatError):
            return cls(directory, str(error), removal)
        return cls(directory, f"it is damaged ({error})", removal)

    @property
    def advice(self) -> str:
        """Return why the entry cannot be used, and how to remove it."""
        return f"{self.reason}; remove it with '{self.removal}'"
