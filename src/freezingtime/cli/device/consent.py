# SPDX-License-Identifier: GPL-2.0-or-later
"""Asking before something is done to a device of the user's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeAlias

from freezingtime.errors import InputError
from freezingtime.host.foreign_text import say
from freezingtime.option import Option

if TYPE_CHECKING:
    from freezingtime.calibrate.measure.measure import MeasurePlan

YesOption: TypeAlias = Annotated[bool, Option("", "Do not ask before measuring.", short="-y")]


def require_consent(plan: MeasurePlan, *, yes: bool, quiet: bool = False) -> None:
    """Describe the measurement, and continue only if the user agrees.

    Raises:
        InputError: they do not, or there is no terminal to ask on.
    """
    from freezingtime.calibrate.measure.options import describe_plan

    lines = describe_plan(plan)
    if not quiet or not yes:
        for line in lines:
            say(line)
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{plan.path}: nothing was measured: add --yes")
    sys.stderr.write("freezingtime: continue? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError(f"{plan.path}: nothing was measured")
