# SPDX-License-Identifier: GPL-2.0-or-later
"""The clocks that a guest can have, as a user asks for one."""

from __future__ import annotations

from enum import StrEnum

from freezingtime.errors import InputError


class ClockKind(StrEnum):
    """A guest's clock."""

    EXACT = "exact"
    KVM = "kvm"
    AUTO = "auto"
    """KVM where it will do, else exact."""


def parse_clock(text: str) -> ClockKind:
    """Parse ``--clock``.

    Raises:
        InputError: there is no such clock.
    """
    try:
        return ClockKind(text)
    except ValueError:
        raise InputError(f"--clock {text}: must be one of: {', '.join(ClockKind)}") from None
