# SPDX-License-Identifier: GPL-2.0-or-later
"""Binary heaps of times, least first, that the kernels keep in arrays."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def replace_least(heap: NDArray[np.int64], count: int, time_ns: int) -> None:
    """Take the least of the first ``count`` times out and put ``time_ns`` in."""
    place = 0
    while True:  # sift down from the root
        child = 2 * place + 1
        if child + 1 < count and heap[child + 1] < heap[child]:
            child += 1
        if child >= count or heap[child] >= time_ns:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = time_ns
