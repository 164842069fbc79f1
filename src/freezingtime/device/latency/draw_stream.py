# SPDX-License-Identifier: GPL-2.0-or-later
"""A sequence of random draws, made in blocks: fast in bulk, the same one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.kept.arrays import (
    generator_state,
    load_generator,
    load_numbers,
    require_range,
)
from freezingtime.device.kept.state import State, entry, items, require

#: Enough that numpy's cost per call does not count.
BLOCK_DRAWS = 4096

Draws: TypeAlias = NDArray[Any]


class DrawStream:
    """The draws of one generator in order, however they are asked for.

    ``new_block`` returns the next :data:`BLOCK_DRAWS` draws; as blocks are always made
    whole, how many draws are taken at once does not change them.
    """

    def __init__(
        self,
        generator: np.random.Generator,
        new_block: Callable[[], Draws],
        most: float,
        carried: Sequence[Draws] = (),
    ) -> None:
        """``new_block`` draws of ``generator`` alone, and of ``carried``, which it changes.

        ``most``: no draw is more, and none less than 0.
        """
        self.generator = generator
        self._new_block = new_block
        self._most = most
        self._carried = carried
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

    def state(self) -> State:
        """Return what the next draws depend on."""
        return {
            "generator": generator_state(self.generator),
            "left": self._block[self._used :],
            "carried": list(self._carried),
        }

    def load_state(self, state: State) -> None:
        """Go on from a state. Raises StateError."""
        left, carried = entry(state, "left"), items(entry(state, "carried"), "a stream")
        require(isinstance(left, np.ndarray) and left.dtype in (np.int64, np.float64), "a stream")
        require(left.ndim == 1 and left.size <= BLOCK_DRAWS, "a stream")
        require_range(left, "a draw", 0, self._most)  # type: ignore[arg-type]
        require(len(carried) == len(self._carried), "a stream")
        for mine, value in zip(self._carried, carried, strict=True):
            load_numbers(mine, value, "a stream", -1000, 1000)
        load_generator(self.generator, entry(state, "generator"))
        self._block, self._used = left, 0


def new_generator(seed: np.random.SeedSequence) -> np.random.Generator:
    """The generator that all models use."""
    return np.random.Generator(np.random.PCG64(seed))
