# SPDX-License-Identifier: GPL-2.0-or-later
"""A sequence of random draws, made in blocks: fast in bulk, the same one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Enough that numpy's cost per call does not count.
BLOCK_DRAWS = 4096

Draws: TypeAlias = NDArray[Any]


class DrawStream:
    """The draws of one generator in order, however they are asked for.

    ``new_block`` returns the next :data:`BLOCK_DRAWS` draws; as blocks are always made
    whole, how many draws are taken at once does not change them.
    """

    def __init__(self, new_block: Callable[[], Draws]) -> None:
        self._new_block = new_block
        self._block: Draws = np.empty(0)
        self._used = 0

    def next(self) -> Any:
        """The next draw, a numpy scalar."""
        if self._used == self._block.size:
            self._block, self._used = self._new_block(), 0
        self._used += 1
        return self._block[self._used - 1]

    def take(self, count: int) -> Draws:
        """The next ``count`` draws."""
        pieces = [self._block[self._used : self._used + count]]
        missing = count - pieces[0].size
        self._used += pieces[0].size
        while missing > 0:
            self._block = self._new_block()
            self._used = min(missing, self._block.size)
            pieces.append(self._block[: self._used])
            missing -= self._used
        return np.concatenate(pieces)


def new_generator(seed: np.random.SeedSequence) -> np.random.Generator:
    """The generator that all models use."""
    return np.random.Generator(np.random.PCG64(seed))
