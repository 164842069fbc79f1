# SPDX-License-Identifier: GPL-2.0-or-later
"""Definition of a percentile: one rule, for all figures of the program.

A percentile is the smallest value that at least that share of all did not exceed (the
nearest-rank method): exact, and always a value that did occur.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def percentile_rank(count: int, per_100k: int) -> int:
    """The rank, from 1, of a percentile among ``count`` values; 99 % is 99,000 of 100,000."""
    # Whole-number arithmetic: 0.999 * 1000 is not 999 in floating point.
    return max(1, -(-count * per_100k // 100_000))


def percentile_ns(ordered_ns: NDArray[np.int64], per_100k: int) -> int:
    """A percentile of times in order, of which there is at least one."""
    return int(ordered_ns[percentile_rank(len(ordered_ns), per_100k) - 1])
