# SPDX-License-Identifier: GPL-2.0-or-later
"""What in the cache cannot be used: passed by, with a word about why, and how to remove it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


class OtherFormatError(ValueError):
    """It is whole, as far as one can tell, but another version of freezingtime wrote it."""


def require_format(found: object, known: int) -> None:
    """Raise OtherFormatError unless what was found is the format that is known."""
    if found != known:
        raise OtherFormatError(
            f"its format is {found!r}, not {known}: another version of freezingtime wrote it"
        )


@dataclass(frozen=True, slots=True)
class Unusable:
    """A directory of the cache that no run can use."""

    directory: Path
    reason: str
    removal: str
    """The command that removes it."""

    @classmethod
    def because(cls, error: Exception, directory: Path, removal: str) -> Self:
        """What ``error`` makes unusable: damaged, unless it is of another format."""
        if isinstance(error, OtherFormatError):
            return cls(directory, str(error), removal)
        said = f"has no {error}" if isinstance(error, KeyError) else str(error)
        return cls(directory, f"it is damaged ({said})", removal)

    @property
    def advice(self) -> str:
        """Why it cannot be used, and how to remove it."""
        return f"{self.reason}; remove it with '{self.removal}'"
