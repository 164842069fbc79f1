# SPDX-License-Identifier: GPL-2.0-or-later
"""The text that blkparse prints by default (blkparse(1), "Output description and formatting").

Times are seconds since the first event. In RWBS a flush is ``FW``, as the kernel queues one;
zeros that are written are a write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import SECTOR_BYTES
from freezingtime.trace.record_columns import DiskRequests
from freezingtime.trace.writers.block_events import (
    COMPLETE,
    LETTERS,
    MAJOR,
    MINOR,
    PROCESS,
    PROCESS_ID,
    BlockEvents,
    block_events,
)
from freezingtime.units import NS_PER_S

_RWBS: Mapping[int, str] = {
    Operation.READ: "R",
    Operation.WRITE: "W",
    Operation.FLUSH: "FW",
    Operation.DISCARD: "D",
    Operation.WRITE_ZEROES: "W",
}


def blkparse_text(requests: DiskRequests) -> Iterator[bytes]:
    """The file, some lines at a time. Raises InputError as :func:`block_events` does."""
    start_ns = int(requests.columns["arrival_ns"].min())
    for events in block_events(requests):
        yield "".join(_lines(events, start_ns)).encode()


def _lines(events: BlockEvents, start_ns: int) -> Iterator[str]:
    columns = (
        events.kind,
        events.time_ns - start_ns,
        events.operation,
        events.sector,
        events.length_bytes // SECTOR_BYTES,
        events.fua,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, row in enumerate(rows, start=events.first_number):
        kind, time_ns, operation, sector, count, fua = row
        seconds, fraction_ns = divmod(time_ns, NS_PER_S)
        is_complete = kind == COMPLETE
        process_id, tail = (0, "[0]") if is_complete else (PROCESS_ID, f"[{PROCESS}]")
        if count:
            tail = f"{sector} + {count} {tail}"
        elif is_complete:
            tail = f"{sector} {tail}"
        rwbs = f"{_RWBS[operation]}{'F' if fua else ''}"
        yield (
            f"{MAJOR:3},{MINOR:<3} {0:2} {number:8} {seconds:5}.{fraction_ns:09} "
            f"{process_id:5} {LETTERS[kind]:>2} {rwbs:>3} {tail}\n"
        )
