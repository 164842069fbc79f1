# SPDX-License-Identifier: GPL-2.0-or-later
"""A log, cut into two halves so that what drifts in it drifts in both; and how much it drifts.

The requests of each cell are cut, in their order, into equal blocks of 50 requests or more. Blocks
go to the halves in the order A B B A: a linear drift is then in both halves to the same amount, and
a slower one nearly so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from freezingtime.calibrate.distance import Distance, distance
from freezingtime.calibrate.latency_cells import Cell
from freezingtime.trace.readers.columns import IntColumn

#: Into how many blocks a cell is cut at most, to be dealt out to the halves.
SPLIT_BLOCKS = 512
#: Into how many it is cut to see its course; long ones, whose means are nearly independent.
COURSE_BLOCKS = 64

_BLOCK_MIN = 50


@dataclass(frozen=True, slots=True)
class Drift:
    """Differences of a measurement from itself."""

    interleaved: Distance
    """Half B against half A: about the least error that any model fitted to A can have on B."""
    in_time: Distance
    """The second half in time against the first: what waiting a while changes."""
    block_variation: float
    """The blocks' means: their coefficient of variation."""
    mean_uncertainty: float
    """The standard error of a half's mean that follows, as a share of it."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "interleaved_halves": self.interleaved.as_dict(),
            "halves_in_time": self.in_time.as_dict(),
            "block_variation": self.block_variation,
            "mean_uncertainty": self.mean_uncertainty,
        }


def split(latency_ns: IntColumn) -> tuple[IntColumn, IntColumn]:
    """Halves A and B of four latencies or more, each in order."""
    count = len(latency_ns)
    # A multiple of 4, so that both halves get as many.
    blocks = max(4, min(SPLIT_BLOCKS, count // _BLOCK_MIN // 4 * 4))
    block = np.arange(count) * blocks // count
    in_b = np.isin(block % 4, (1, 2))
    return latency_ns[~in_b], latency_ns[in_b]


def drift(cell: Cell) -> Drift:
    """Compare the halves of a cell of four requests or more."""
    latency_ns = cell.latency_ns
    middle = len(latency_ns) // 2
    return Drift(
        distance(*split(latency_ns)),
        distance(latency_ns[:middle], latency_ns[middle:]),
        _block_variation(latency_ns),
        math.sqrt(2) * mean_uncertainty(latency_ns),
    )


def mean_uncertainty(latency_ns: IntColumn) -> float:
    """The standard error of the mean of two latencies or more, as a share of it.

    From the means of its blocks (the method of batch means), as successive latencies are alike.
    """
    return _block_variation(latency_ns) / math.sqrt(_course_blocks(latency_ns))


def _block_variation(latency_ns: IntColumn) -> float:
    blocks = np.array_split(latency_ns, _course_blocks(latency_ns))
    means_ns = [float(block.mean()) for block in blocks]
    mean_ns = float(np.mean(means_ns))
    return float(np.std(means_ns)) / mean_ns if mean_ns else 0.0


def _course_blocks(latency_ns: IntColumn) -> int:
    return min(COURSE_BLOCKS, len(latency_ns))
