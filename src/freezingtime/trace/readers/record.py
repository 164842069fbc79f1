# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own record of a run as a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from freezingtime.trace.readers.columns import Trace
from freezingtime.trace.record_columns import read_disk, take_in_order
from freezingtime.trace.record_reader import Notify

_COLUMNS = ("arrival_ns", "operation", "offset_bytes", "length_bytes", "fua")


def read_record(
    path: Path, disk: str | None, notify: Notify, progress: Callable[[int, int], None]
) -> tuple[Trace, str]:
    """Read the requests of one disk, and its name, or raise InputError.

    Times stay as they are: they count from when the devices were new.
    """
    requests = read_disk(
        path,
        (*_COLUMNS, "sequence"),
        disk=disk,
        option="--trace-disk",
        notify=notify,
        progress=progress,
    )
    return Trace(*take_in_order(requests.columns, _COLUMNS)), requests.name
