"""The binary trace of one CPU, ``NAME.blktrace.0``, which blkparse and btt read.

Each event is a ``struct blk_io_trace`` of Linux's ``blktrace_api.h``, version 7, here of a
little-endian machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from freezingtime.errors import InputError
from freezingtime.request import Operation
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

_EVENT = np.dtype(
    [
        ("magic", "<u4"),
        ("sequence", "<u4"),
        ("time", "<u8"),
        ("sector", "<u8"),
        ("bytes", "<u4"),
        ("action", "<u4"),
        ("pid", "<u4"),
        ("device", "<u4"),
        ("cpu", "<u4"),
        ("error", "<u2"),
        ("pdu_len", "<u2"),
    ]
)
_MAGIC = 0x65617400 | 7
_DEVICE = MAJOR << 20 | MINOR
_NAME_BYTES = 16

# An action is the number of what happened and, above bit 16, a set of categories.
_CATEGORY_SHIFT = 16
_READ, _WRITE, _FLUSH = 1 << 0, 1 << 1, 1 << 2
_QUEUED, _ISSUED, _COMPLETED = 1 << 4, 1 << 6, 1 << 7
_NOTIFY, _DISCARD, _FUA = 1 << 10, 1 << 13, 1 << 15
_KINDS = {QUEUE: (1, _QUEUED), ISSUE: (7, _ISSUED), COMPLETE: (8, _COMPLETED)}
_CATEGORIES = {
    Operation.READ: _READ,
    Operation.WRITE: _WRITE,
    Operation.FLUSH: _WRITE | _FLUSH,
    Operation.DISCARD: _WRITE | _DISCARD,
    Operation.WRITE_ZEROES: _WRITE,
}

_KIND_ACTIONS = np.zeros(len(_KINDS), np.uint32)
for _kind, (_number, _category) in _KINDS.items():
    _KIND_ACTIONS[_kind] = _number | _category << _CATEGORY_SHIFT
_OPERATION_ACTIONS = np.zeros(max(Operation) + 1, np.uint32)
for _operation, _category in _CATEGORIES.items():
    _OPERATION_ACTIONS[_operation] = _category << _CATEGORY_SHIFT


def blktrace_binary(requests: DiskRequests) -> Iterator[bytes]:
    """The file, some events at a time.

    Raises:
        InputError: as :func:`block_events` does, or a request is longer than 4 GiB.
    """
    longest_bytes = int(requests.columns["length_bytes"].max())
    if longest_bytes > np.iinfo(np.uint32).max:
        raise InputError(
            f"{requests.name}: a request has {longest_bytes} bytes, and this format has room "
            "for less than 4 GiB; export it as blkparse"
        )
    yield _process_notice(int(requests.columns["arrival_ns"].min()))
    for events in block_events(requests):
        yield _encoded(events)


def _process_notice(time_ns: int) -> bytes:
    """The name of the process that the events are said to be of."""
    notice = np.zeros(1, _EVENT)
    notice["magic"], notice["time"] = _MAGIC, time_ns
    notice["action"] = _NOTIFY << _CATEGORY_SHIFT
    notice["pid"], notice["device"], notice["pdu_len"] = PROCESS_ID, _DEVICE, _NAME_BYTES
    return notice.tobytes() + PROCESS.encode().ljust(_NAME_BYTES, b"\0")


def _encoded(events: BlockEvents) -> bytes:
    encoded = np.zeros(len(events.kind), _EVENT)
    encoded["magic"] = _MAGIC
    numbers = np.arange(events.first_number, events.first_number + len(encoded))
    encoded["sequence"] = numbers & np.iinfo(np.uint32).max
    encoded["time"] = events.time_ns
    encoded["sector"] = events.sector
    encoded["bytes"] = events.length_bytes
    encoded["action"] = (
        _KIND_ACTIONS[events.kind]
        | _OPERATION_ACTIONS[events.operation]
        | np.where(events.fua, np.uint32(_FUA << _CATEGORY_SHIFT), np.uint32(0))
    )
    encoded["pid"] = np.where(events.kind == COMPLETE, 0, PROCESS_ID)
    encoded["device"] = _DEVICE
    return encoded.tobytes()
