"""fio's latency logs: what every single request took, as fio saw it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import RunError

#: fio's data direction in its log.
_OPERATIONS = {"0": "read", "1": "write"}


def parse_latency_log(lines: Iterable[str]) -> Mapping[str, NDArray[np.int64]]:
    """Latencies in ns, by operation, of a log of ``--write_lat_log`` without averaging.

    Raises:
        RunError: a line is not of such a log, or there is none.
    """
    found: dict[str, list[int]] = {}
    for row in csv.reader(lines, skipinitialspace=True):
        try:
            _, latency_ns, direction, *_ = row
            found.setdefault(_OPERATIONS[direction], []).append(int(latency_ns))
        except (ValueError, KeyError):
            raise RunError(f"not a line of fio's latency log: {row}") from None
    if not found:
        raise RunError("fio has left an empty latency log")
    return {operation: np.array(values, np.int64) for operation, values in found.items()}
