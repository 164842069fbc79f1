# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep that others work on: its points are enqueued, and their results waited for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from freezingtime.explore.sweep.cluster.lease import Leases
from freezingtime.explore.sweep.cluster.work_queue import SharedQueue, write_queue
from freezingtime.explore.sweep.pool import Ended, Numbered
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.explore.sweep.sweep import Engine, Sweep
from freezingtime.store.results.result_store import ResultStore

_LOOK_S = 1.0
_TICK_S = 0.2


class QueueEngine(Engine):
    """Writes a queue, and waits for workers, if that is wanted."""

    def __init__(self, out: Path, *, waits: bool) -> None:
        self._out = out
        self._waits = waits
        self._workers = 0

    @property
    def workers(self) -> int:
        """Return the number of points that somebody is at work on."""
        return self._workers

    def execute(
        self, tasks: Sequence[Numbered], sweep: Sweep, request: SweepRequest, store: ResultStore
    ) -> Ended:
        """Enqueue the points; yield the outcomes that workers leave."""
        queue = write_queue(self._out, sweep, request, store)
        left = {number: task.digest for number, task in tasks} if self._waits else {}
        while left:
            yield from self._look(queue, left)
            looked_s = time.monotonic()
            while left and time.monotonic() - looked_s < _LOOK_S:
                yield None
                time.sleep(_TICK_S)

    def _look(self, queue: SharedQueue, left: dict[int, str]) -> Ended:
        """Yield what is done by now, and take it from what is left."""
        self._workers = Leases(queue.leases_path, 0).count_others()
        for number, key in list(left.items()):
            if queue.is_done(key) and (outcome := queue.outcome(queue.points[number])) is not None:
                del left[number]
                yield number, replace(outcome, is_cached=False)
