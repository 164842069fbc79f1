# SPDX-License-Identifier: GPL-2.0-or-later
"""Running work with its own event loop for callers that have one, such as notebooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Value = TypeVar("Value")


def run_outside_event_loop(work: Callable[[], Value], cancel: Callable[[], None]) -> Value:
    """Do the work, in another thread if this one has an event loop, as in a notebook.

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
