# SPDX-License-Identifier: GPL-2.0-or-later
"""Hints of the user for what a file leaves open: the unit of its times, its codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from freezingtime.errors import InputError
from freezingtime.option import Option

#: A unit's name, and its length: 10**digits ns.
TIME_UNITS = {"s": 9, "ms": 6, "us": 3, "100ns": 2, "ns": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class HintOptions:
    """Hints as text that a user writes."""

    time_unit: Annotated[
        str | None,
        Option(
            "UNIT",
            f"Unit of times that have none, in CSV and MQSim's or DiskSim's ASCII: "
            f"{', '.join(TIME_UNITS)}. Default: detected.",
        ),
    ] = None
    read_code: Annotated[
        str | None,
        Option(
            "CODE",
            "Code of reads in a CSV's operation column that has two codes, such as `1`.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Hints:
    """Values that are given and not guessed. Made by :func:`parse_hints`."""

    time_digits: int | None = None
    """The unit of times and latencies is 10**digits ns; None: as in the file."""
    read_code: str | None = None
    """Of two codes for operations, the one that reads."""


NO_HINTS = Hints()


def parse_hints(options: HintOptions) -> Hints:
    """Parse the values of ``--time-unit`` and ``--read-code``.

    Raises:
        InputError: there is no such unit, or the code is empty.
    """
    time_unit, read_code = options.time_unit, options.read_code
    if time_unit is not None and time_unit not in TIME_UNITS:
        raise InputError(f"--time-unit {time_unit}: must be one of: {', '.join(TIME_UNITS)}")
    if read_code is not None and not read_code.strip():
        raise InputError("--read-code: is empty; give the code that reads, such as 1")
    digits = None if time_unit is None else TIME_UNITS[time_unit]
    return Hints(digits, None if read_code is None else read_code.strip().lower())
