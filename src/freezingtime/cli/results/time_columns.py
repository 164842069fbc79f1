# SPDX-License-Identifier: GPL-2.0-or-later
"""Differences in the cells of a table."""

from __future__ import annotations


def difference(share: float) -> str:
    """A relative difference, with its sign."""
    # Adding 0.0 makes the -0.0 that rounding may leave a 0.0.
    return f"{round(share, 3) + 0.0:+.1%}"
