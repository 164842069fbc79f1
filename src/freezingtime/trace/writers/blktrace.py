# SPDX-License-Identifier: GPL-2.0-or-later
"""The binary trace of one CPU, ``NAME.blktrace.0``, which blkparse and btt read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace import blktrace_layout as layout
from freezingtime.trace.record_columns import DiskRequests
from freezingtime.trace.writers.block_events import (
    COMPLETE,
    ISSUE,
    MAJOR,
    MINOR,
    PROCESS,
    PROCESS_ID,
    QUEUE,
    BlockEvents,
    block_events,
)

SUFFIX = ".blktrace.0"

_DEVICE = MAJOR << layout.DEVICE_MINOR_BITS | MINOR
_NAME_BYTES = 16

_KINDS = {
    QUEUE: (layout.NUMBERS["Q"], layout.QUEUED),
    ISSUE: (layout.NUMBERS["D"], layout.ISSUED),
    COMPLETE: (layout.NUMBERS["C"], layout.COMPLETED),
}
_CATEGORIES = {
    Operation.READ: layout.READ,
    Operation.WRITE: layout.WRITE,
    Operation.FLUSH: layout.WRITE | layout.FLUSH,
    Operation.DISCARD: layout.WRITE | layout.DISCARD,
    Operation.WRITE_ZEROES: layout.WRITE,
}

_KIND_ACTIONS = np.zeros(len(_KINDS), np.uint32)
for _kind, (_number, _category) in _KINDS.items():
    _KIND_ACTIONS[_kind] = _number | _category << layout.CATEGORY_SHIFT
_OPERATION_ACTIONS = np.zeros(max(Operation) + 1, np.uint32)
for _operation, _category in _CATEGORIES.items():
    _OPERATION_ACTIONS[_operation] = _category << layout.CATEGORY_SHIFT


def blktrace_binary(requests: DiskRequests) -> Iterator[bytes]:
    """The file, some events at a time.

    Raises:
        InputError: as :func:`block_events` does, or a request is longer than 4 GiB.
    """
    longest_bytes = int(requests.columns["length_bytes"].max())
    if longest_bytes > np.iinfo(np.uint32).max:
        raise InputError(
            f"{requests.name}: a request has {longest_bytes} bytes; this format is limited "
            "to less than 4 GiB; export it as blkparse"
        )
    yield _process_notice(int(requests.columns["arrival_ns"].min()))
    for events in block_events(requests):
        yield _encoded(events)


def _process_notice(time_ns: int) -> bytes:
    """Return a notice with the process name of the events."""
    notice = np.zeros(1, layout.EVENT)
    notice["magic"], notice["time"] = layout.MAGIC, time_ns
    notice["action"] = layout.NOTIFY << layout.CATEGORY_SHIFT
    notice["pid"], notice["device"], notice["pdu_len"] = PROCESS_ID, _DEVICE, _NAME_BYTES
    return notice.tobytes() + PROCESS.encode().ljust(_NAME_BYTES, b"\0")


def _encoded(events: BlockEvents) -> bytes:
    encoded = np.zeros(len(events.kind), layout.EVENT)
    encoded["magic"] = layout.MAGIC
    numbers = np.arange(events.first_number, events.first_number + len(encoded))
    encoded["sequence"] = numbers & np.iinfo(np.uint32).max
    encoded["time"] = events.time_ns
    encoded["sector"] = events.sector
    encoded["bytes"] = events.length_bytes
    encoded["action"] = (
        _KIND_ACTIONS[events.kind]
        | _OPERATION_ACTIONS[events.operation]
        | np.where(events.fua, np.uint32(layout.FUA << layout.CATEGORY_SHIFT), np.uint32(0))
    )
    encoded["pid"] = np.where(events.kind == COMPLETE, 0, PROCESS_ID)
    encoded["device"] = _DEVICE
    return encoded.tobytes()
