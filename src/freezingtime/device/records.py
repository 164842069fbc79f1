# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of 64-bit integers, which models' state consists of and compiled kernels read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def record(*names: str, **others: Any) -> np.dtype[Any]:
    """The type of a record: a 64-bit integer for each name, then fields of other types."""
    return np.dtype([*((name, np.int64) for name in names), *others.items()])


def fill(records: NDArray[np.void], values: Mapping[str, Any], *sources: object) -> None:
    """Set every field: from ``values``, or as the first of the sources that has it.

    Raises:
        KeyError: nothing has it.
    """
    for name in records.dtype.names or ():
        found = [getattr(source, name) for source in sources if hasattr(source, name)]
        records[name] = values[name] if name in values or not found else found[0]
