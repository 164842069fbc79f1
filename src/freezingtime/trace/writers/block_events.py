# SPDX-License-Identifier: GPL-2.0-or-later
"""Events that Linux's block layer would have traced for a disk's requests.

Each request is queued (Q), issued to the driver (D) and completed (C). Under a virtual
disk, the guest's driver hands over what it has at once, so that Q and D are the arrival;
what the guest's own queue did before is not in the record. C is the delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import InputError
from freezingtime.trace.readers.lines import SECTOR_BYTES
from freezingtime.trace.record_columns import DiskRequests

COLUMNS = (
    *("operation", "offset_bytes", "length_bytes", "fua"),
    *("arrival_ns", "delivery_ns", "sequence"),
)

#: The kinds of events, and their letters.
QUEUE, ISSUE, COMPLETE = range(3)
LETTERS = "QDC"

#: The first virtio disk of Debian's guests.
MAJOR, MINOR = 254, 0
PROCESS_ID = 1
PROCESS = "guest"

_SLICE = 1 << 16


@dataclass(frozen=True, slots=True)
class BlockEvents:
    """Some events in order of time, one array for each property."""

    first_number: int
    """The number of the first of them, of all from 1."""
    kind: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    operation: NDArray[np.uint8]
    sector: NDArray[np.int64]
    length_bytes: NDArray[np.int64]
    fua: NDArray[np.bool_]


def block_events(requests: DiskRequests) -> Iterator[BlockEvents]:
    """All events, some at a time.

    Raises:
        InputError: a request is not made of whole sectors, so that there is none such.
    """
    _check_sectors(requests)
    columns = requests.columns
    by_arrival = np.argsort(columns["sequence"], kind="stable")
    arrival_ns, delivery_ns = columns["arrival_ns"], columns["delivery_ns"]
    times_ns = np.stack([arrival_ns, arrival_ns, delivery_ns], axis=1)[by_arrival].ravel()
    # Stable: at one instant a request is queued before it is issued and completed.
    order = np.argsort(times_ns, kind="stable")
    for start in range(0, len(order), _SLICE):
        chosen = order[start : start + _SLICE]
        request: NDArray[Any] = by_arrival[chosen // len(LETTERS)]
        yield BlockEvents(
            first_number=start + 1,
            kind=chosen % len(LETTERS),
            time_ns=times_ns[chosen],
            operation=columns["operation"][request],
            sector=columns["offset_bytes"][request] // SECTOR_BYTES,
            length_bytes=columns["length_bytes"][request],
            fua=columns["fua"][request],
        )


def _check_sectors(requests: DiskRequests) -> None:
    offsets_bytes = requests.columns["offset_bytes"]
    uneven = (offsets_bytes | requests.columns["length_bytes"]) % SECTOR_BYTES != 0
    if uneven.any():
        at = int(offsets_bytes[np.argmax(uneven)])
        raise InputError(
            f"{requests.name}: the request at byte {at} is not a multiple of "
            f"{SECTOR_BYTES} bytes; this format counts in sectors; export it as csv"
        )
