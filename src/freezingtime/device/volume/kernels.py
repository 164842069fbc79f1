# SPDX-License-Identifier: GPL-2.0-or-later
"""The hot step of I/O accounting: how many I/Os a request counts as."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A run of contiguous requests of one direction is a row of an int64 matrix.
RUN_END_BYTES = 0
RUN_LENGTH_BYTES = 1
RUN_COLUMNS = 2


@njit(cache=True)
def count_ios(
    runs: NDArray[np.int64],
    operation_class: int,
    offset_bytes: int,
    length_bytes: int,
    io_bytes: int,
    merge: bool,
) -> int:
    """I/Os of ``io_bytes`` that the request adds to the run that it is part of, or begins."""
    if operation_class >= runs.shape[0]:
        return 0
    run = runs[operation_class]
    if not merge or offset_bytes != run[RUN_END_BYTES]:
        run[RUN_LENGTH_BYTES] = 0
    counted: int = (run[RUN_LENGTH_BYTES] + io_bytes - 1) // io_bytes
    run[RUN_LENGTH_BYTES] += length_bytes
    run[RUN_END_BYTES] = offset_bytes + length_bytes
    now_counted: int = (run[RUN_LENGTH_BYTES] + io_bytes - 1) // io_bytes
    return now_counted - counted


@njit(cache=True)
def count_all_ios(
    runs: NDArray[np.int64],
    classes: NDArray[np.int64],
    offsets_bytes: NDArray[np.int64],
    lengths_bytes: NDArray[np.int64],
    io_bytes: int,
    merge: bool,
) -> NDArray[np.int64]:
    """The I/Os of each of the next requests."""
    ios = np.empty_like(classes)
    for request in range(classes.size):
        ios[request] = count_ios(
            runs, classes[request], offsets_bytes[request], lengths_bytes[request], io_bytes, merge
        )
    return ios
