# SPDX-License-Identifier: GPL-2.0-or-later
"""Work that has an event loop of its own, for callers who have one, as notebooks do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Value = TypeVar("Value")


def outside_of_event_loops(work: Callable[[], Value], cancel: Callable[[], None]) -> Value:
    """Do the work; in a thread of its own if this one has an event loop, as in a notebook.

    QEMU's monitor is spoken to with an event loop, and a thread can run one only.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except BaseException:
            cancel()
            raise
