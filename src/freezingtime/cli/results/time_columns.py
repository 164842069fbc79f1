# SPDX-License-Identifier: GPL-2.0-or-later
"""Times and their differences in the cells of a table."""

from __future__ import annotations

from freezingtime.units import largest_time_unit


def time_cell(time_ns: float) -> str:
    """A time in four digits, in the largest unit that is not more than it."""
    unit, unit_ns = largest_time_unit(time_ns)
    return f"{four_digits(time_ns / unit_ns)}{unit}"


def four_digits(value: float) -> str:
    """Format a number to four digits, or to all before its point."""
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def difference(share: float) -> str:
    """A relative difference, with its sign."""
    # Adding 0.0 makes the -0.0 that rounding may leave a 0.0.
    return f"{round(share, 3) + 0.0:+.1%}"
