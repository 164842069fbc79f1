# SPDX-License-Identifier: GPL-2.0-or-later
"""Outcome of a recovery from a power cut."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecoveryOutcome:
    """End of a recovery and its check."""

    passed: bool
    reason: str = ""
    """Why it did not pass, in one line."""
    output: tuple[str, ...] = ()
    """The last lines that the check printed."""
    console: tuple[str, ...] = ()
    """The last lines of the guest's console, if it did not pass."""
    is_exact: bool = True
    """Whether it would end like this again."""
