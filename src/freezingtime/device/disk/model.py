# SPDX-License-Identifier: GPL-2.0-or-later
"""The hard disk: a device whose time goes into moving an arm and waiting for a platter."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.annotation import Annotation
from freezingtime.device import compile_cache
from freezingtime.device.annotations.columns import (
    Annotations,
    annotations_or_empty,
    new_annotations,
)
from freezingtime.device.base import Device, Pause, pieces
from freezingtime.device.disk.kept import disk_state, load_disk
from freezingtime.device.disk.parameters import DiskParams
from freezingtime.device.disk.state import new_state
from freezingtime.device.kept.held_requests import (
    load_tagged,
    load_waiting,
    tagged_state,
    waiting_state,
)
from freezingtime.device.kept.state import State, entry, integer, require
from freezingtime.device.model_parameters import ModelParameters
from freezingtime.request import Request
from freezingtime.units import NEVER_NS

Int64s = NDArray[np.int64]


class DiskDevice(Device):
    """One drive, with its command queue, scheduler and cache.

    The disk that the user sees is the first ``size_bytes`` of the drive, its outermost tracks;
    all of it if not given. ``seed`` chooses the platter's angle and the arm's place at time 0,
    which is all that is random.

    Raises ValueError if ``size_bytes`` is more than the drive's capacity, or if the parameters
    contradict each other (:func:`~freezingtime.device.disk.parameters.parse` says where).
    """

    def __init__(self, params: DiskParams, seed: int, size_bytes: int | None = None) -> None:
        if size_bytes is not None and size_bytes > params.capacity_bytes:
            raise ValueError(
                f"a disk of {size_bytes} bytes is larger than the drive, which has "
                f"{params.capacity_bytes}"
            )
        # Compiled code takes long to import: only for those who have a disk.
        compile_cache.prepare(Path(__file__).parent)
        from freezingtime.device.disk.kernels import entry as kernels

        self._kernels: Any = kernels
        self._size_bytes = params.capacity_bytes if size_bytes is None else size_bytes
        self._sector_bytes = params.sector_bytes
        self._disk = new_state(params, seed)
        self._tags: Int64s = np.empty(params.queue_depth, np.int64)
        self._free_slots = params.queue_depth
        self._in_drive: dict[int, Request] = {}
        self._done = new_annotations(params.queue_depth)
        self._waiting: deque[tuple[Request, int]] = deque()
        self._submitted_count = 0
        self._next_ns = NEVER_NS

    def submit(self, request: Request, now_ns: int) -> None:
        self._waiting.append((request, now_ns))
        self._admit_waiting(now_ns)

    def next_event_ns(self) -> int | None:
        return None if self._next_ns == NEVER_NS else self._next_ns

    def advance(self, now_ns: int) -> list[Request]:
        completed: list[Request] = []
        while self._next_ns <= now_ns:
            event_ns = self._next_ns
            count, self._next_ns = self._kernels.advance(
                self._disk, event_ns, self._tags, self._done
            )
            tags, annotations = self._tags[:count].tolist(), self._done[:count].tolist()
            for tag, annotation in zip(tags, annotations, strict=True):
                request = self._in_drive.pop(tag)
                request.annotation = Annotation._make(annotation)
                completed.append(request)
            self._free_slots += count
            self._admit_waiting(event_ns)
        return completed

    def complete_all(
        self,
        arrivals_ns: Int64s,
        operations: Int64s,
        offsets_bytes: Int64s,
        lengths_bytes: Int64s,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> Int64s:
        """Return the completion times of a trace's requests; ``arrivals_ns`` never decreases.

        ``annotations`` get what the drive says of each, if they are given; ``pause`` is called now
        and then. Exactly what :meth:`submit` and :meth:`advance` would give, where requests that
        arrive at the very time of an event are submitted behind it, all together.

        Raises ValueError if requests are in flight, or one is outside the disk.
        """
        from freezingtime.device.disk.kernels import trace as trace_kernels

        lbas, sectors = self._trace_sectors(offsets_bytes, lengths_bytes)
        if np.any(np.diff(arrivals_ns) < 0):
            raise ValueError("arrival times must not decrease")
        completions_ns = np.empty(len(arrivals_ns), np.int64)
        columns = (arrivals_ns, operations, lbas, sectors, completions_ns)
        annotated = annotations_or_empty(annotations)
        progress = trace_kernels.begin(self._disk, 0)
        for _, end in pieces(len(completions_ns), pause):
            trace_kernels.run_open(self._disk, progress, end, *columns, annotated, self._done)
            if pause is not None and end < len(completions_ns):
                pause(end, int(progress[trace_kernels.NOW_NS]))
        self._next_ns = self._kernels.next_event_ns(self._disk)
        return completions_ns

    def complete_closed(
        self,
        depth: int,
        operations: Int64s,
        offsets_bytes: Int64s,
        lengths_bytes: Int64s,
        start_ns: int = 0,
        annotations: Annotations | None = None,
        pause: Pause | None = None,
    ) -> tuple[Int64s, Int64s]:
        """Arrival and completion times of a trace with ``depth`` (1 or more) requests in flight.

        Raises ValueError if requests are in flight, or one is outside the disk.
        """
        from freezingtime.device.disk.kernels import trace as trace_kernels

        lbas, sectors = self._trace_sectors(offsets_bytes, lengths_bytes)
        if depth < 1:
            raise ValueError(f"queue depth is {depth}; must be 1 or more")
        arrivals_ns = np.empty(len(operations), np.int64)
        completions_ns = np.empty(len(operations), np.int64)
        columns = (operations, lbas, sectors, arrivals_ns, completions_ns)
        annotated = annotations_or_empty(annotations)
        progress = trace_kernels.begin(self._disk, start_ns)
        for _, end in pieces(len(completions_ns), pause):
            trace_kernels.run_closed(
                self._disk, progress, end, depth, *columns, annotated, self._done
            )
            if pause is not None and end < len(completions_ns):
                pause(end, int(progress[trace_kernels.NOW_NS]))
        self._next_ns = self._kernels.next_event_ns(self._disk)
        return arrivals_ns, completions_ns

    def statistics(self) -> dict[str, float]:
        """Counts since the beginning, and mean times in ns."""
        record = self._disk.core["counters"]
        counters = {name: int(record[name][0]) for name in record.dtype.names}
        operations = max(1, counters["media_operations"])
        seek_ns, rotation_ns, transfer_ns = (
            counters.pop(name) for name in ("seek_ns", "rotation_ns", "transfer_ns")
        )
        return {
            **{name: float(count) for name, count in counters.items()},
            "mean_seek_ns": seek_ns / max(1, counters["seeks"]),
            "mean_rotation_ns": rotation_ns / operations,
            "mean_transfer_ns": transfer_ns / operations,
        }

    def change_parameters(self, params: ModelParameters, _now_ns: int) -> None:
        """Go on with other times: of commands from now on, and of what the arm does next."""
        assert isinstance(params, DiskParams)
        drive = self._disk.core["drive"]
        for name in ("overhead_ns", "link_bytes_per_s", "write_settle_ns", "age_limit_ns"):
            drive[name] = getattr(params, name)
        self._disk.core["seek"] = np.array(params.seek_curve, self._disk.core["seek"].dtype)

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        return {
            "drive": disk_state(self._disk),
            "submitted": self._submitted_count,
            "in_drive": tagged_state(self._in_drive, under_way),
            "waiting": waiting_state(self._waiting, under_way),
            "next_ns": self._next_ns,
        }

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        self._submitted_count = integer(entry(state, "submitted"), "a count")
        self._in_drive = load_tagged(
            entry(state, "in_drive"), under_way, "what is in the drive", self._free_slots
        )
        self._waiting = load_waiting(entry(state, "waiting"), under_way)
        require(all(0 <= each.end_bytes <= self._size_bytes for each in under_way), "a request")
        load_disk(self._disk, entry(state, "drive"), self._in_drive)
        self._free_slots -= len(self._in_drive)
        self._next_ns = integer(entry(state, "next_ns"), "a time")

    def _admit_waiting(self, now_ns: int) -> None:
        while self._waiting and self._free_slots:
            request, arrival_ns = self._waiting.popleft()
            lba = request.offset_bytes // self._sector_bytes
            sectors = -(-request.end_bytes // self._sector_bytes) - lba
            tag = self._submitted_count
            self._submitted_count += 1
            self._in_drive[tag] = request
            self._free_slots -= 1
            event_ns = self._kernels.admit(
                self._disk,
                tag,
                int(request.operation),
                lba,
                sectors,
                request.fua,
                arrival_ns,
                now_ns,
            )
            self._next_ns = min(self._next_ns, event_ns)

    def _trace_sectors(self, offsets_bytes: Int64s, lengths_bytes: Int64s) -> tuple[Int64s, Int64s]:
        if self._in_drive:
            raise ValueError(f"{len(self._in_drive)} requests are in flight")
        ends_bytes = offsets_bytes + lengths_bytes
        outside = (offsets_bytes < 0) | (lengths_bytes < 0) | (ends_bytes > self._size_bytes)
        if np.any(outside):
            number = int(np.argmax(outside))
            raise ValueError(
                f"request {number} (offset {offsets_bytes[number]}, length "
                f"{lengths_bytes[number]}) is outside the disk of {self._size_bytes} bytes"
            )
        lbas = offsets_bytes // self._sector_bytes
        return lbas, -(-ends_bytes // self._sector_bytes) - lbas
