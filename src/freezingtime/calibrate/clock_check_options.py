# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of a check of the clocks; nothing heavy comes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from freezingtime.option import Option

CLOCKS: Final = "exact,kvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCheckOptions:
    """Options of a check, as a user writes them."""

    clocks: Annotated[str, Option("CLOCK,...", "The clocks to check: `exact`, `kvm`, or both.")] = (
        CLOCKS
    )
    requests: Annotated[int, Option("NUMBER", "Reads from each device, over each medium.")] = 1000
    delay: Annotated[str, Option("TIME", "Delay of the slow medium.")] = "3ms"
