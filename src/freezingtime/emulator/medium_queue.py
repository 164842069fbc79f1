# SPDX-License-Identifier: GPL-2.0-or-later
"""Running requests on a medium in workers, in an order that guest data does not reveal.

Requests whose ranges overlap, one of them modifying, reach the medium in order of their
arrival; everything else may run at once. So what a guest reads never depends on how fast
the medium happens to be.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from freezingtime.errors import RunError
from freezingtime.host.patience import wait_patiently
from freezingtime.medium.base import Medium, SectorError
from freezingtime.request import Buffer, Fault, FaultKind, Operation, Request

_NO_DATA = b""
_WORKERS_MAX = 64


def new_workers() -> ThreadPoolExecutor:
    """Threads for the queues of an emulator's media; the caller shuts them down."""
    return ThreadPoolExecutor(_WORKERS_MAX, thread_name_prefix="medium")


class Transfer:
    """One request's work on a medium, under way or finished."""

    __slots__ = (
        "_blocked_by_count",
        "_dependents",
        "_finished",
        "data",
        "duration_ns",
        "error",
        "request",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        self.data: Buffer = _NO_DATA
        self.error: OSError | None = None
        self.duration_ns = 0  # host time that the medium took
        self._finished: threading.Event | None = None  # None: finished at once, inline
        self._dependents: list[Transfer] = []
        self._blocked_by_count = 0

    @property
    def done(self) -> bool:
        return self._finished is None or self._finished.is_set()


class MediumQueue:
    """Starts transfers on one medium and waits for them. Owned by one thread."""

    def __init__(
        self,
        medium: Medium,
        workers: ThreadPoolExecutor,
        deadline_s: float,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        """``deadline_s`` bounds :meth:`wait`; ``on_done`` is called in a worker's thread."""
        self.medium = medium
        self._workers = workers
        self._deadline_s = deadline_s
        self._on_done = on_done
        self._lock = threading.Lock()
        self._unfinished: list[Transfer] = []
        self._abandoned = False

    def start(self, request: Request) -> Transfer:
        """Begin a request's work; a medium that never blocks does it here and now."""
        transfer = Transfer(request)
        if not self.medium.may_block:
            self._execute(transfer)
            return transfer
        transfer._finished = threading.Event()
        with self._lock:
            for earlier in self._unfinished:
                if request.conflicts_with(earlier.request):
                    earlier._dependents.append(transfer)
                    transfer._blocked_by_count += 1
            self._unfinished.append(transfer)
            ready = transfer._blocked_by_count == 0
        if ready:
            self._workers.submit(self._run, transfer)
        return transfer

    def wait(self, transfer: Transfer) -> int:
        """Wait until the transfer is done; return the host nanoseconds spent waiting.

        Raises:
            RunError: the deadline passed; the message names the request. Or
                the medium was abandoned.
        """
        if transfer.done and not self._abandoned:
            return 0
        start_ns = time.perf_counter_ns()
        event = transfer._finished
        finished = event is None or wait_patiently(event, self._deadline_s)
        if self._abandoned:
            raise RunError(f"{self.medium.describe()} was abandoned")
        if not finished:
            request = transfer.request
            raise RunError(
                f"{self.medium.describe()} has not finished a {request.operation.name.lower()} of "
                f"{request.length_bytes} bytes at {request.offset_bytes} within "
                f"{self._deadline_s:g} s; raise --medium-deadline if it is merely slow"
            )
        return time.perf_counter_ns() - start_ns

    def abandon(self) -> None:
        """End :meth:`wait`, now and for good. Any thread."""
        with self._lock:
            self._abandoned = True
            for transfer in self._unfinished:
                if transfer._finished is not None:
                    transfer._finished.set()

    def _run(self, transfer: Transfer) -> None:
        try:
            self._execute(transfer)
        except Exception as error:
            # In a worker's future it would be lost, and the request with it.
            where = self.medium.describe()
            transfer.error = OSError(errno.EIO, f"{where}: {type(error).__name__}: {error}")
        with self._lock:
            self._unfinished.remove(transfer)
            unblocked = []
            for dependent in transfer._dependents:
                dependent._blocked_by_count -= 1
                if dependent._blocked_by_count == 0:
                    unblocked.append(dependent)
        if transfer._finished is not None:
            transfer._finished.set()
        for dependent in unblocked:
            self._workers.submit(self._run, dependent)
        if self._on_done is not None:
            self._on_done()

    def _execute(self, transfer: Transfer) -> None:
        start_ns = time.perf_counter_ns()
        try:
            transfer.data = perform(self.medium, transfer.request)
        except OSError as error:
            transfer.error = error
        transfer.duration_ns = time.perf_counter_ns() - start_ns


def perform(medium: Medium, request: Request) -> Buffer:
    """Move a request's bytes; return what was read.

    Raises:
        OSError: the medium fails, or the request is to fail.
    """
    if request.fault is not None:
        return _perform_faulty(medium, request, request.fault)
    operation = request.operation
    if operation is Operation.READ:
        return medium.read(request.offset_bytes, request.length_bytes)
    if operation is Operation.WRITE:
        medium.write(request.offset_bytes, request.data or _NO_DATA)
    elif operation is Operation.WRITE_ZEROES:
        medium.zero(request.offset_bytes, request.length_bytes)
    elif operation is Operation.DISCARD:
        medium.discard(request.offset_bytes, request.length_bytes)
    if operation is Operation.FLUSH or request.fua:
        medium.flush()
    return _NO_DATA


def _perform_faulty(medium: Medium, request: Request, fault: Fault) -> Buffer:
    if fault.errno:
        raise SectorError(fault.errno, "the device fails by a rule")
    if fault.kind is FaultKind.LOSE:
        return _NO_DATA
    changed = replace(request, offset_bytes=request.offset_bytes + fault.moved_bytes, fault=None)
    if fault.kept_bytes is not None:
        changed.length_bytes = fault.kept_bytes
        changed.data = None if request.data is None else request.data[: fault.kept_bytes]
    data = perform(medium, changed)
    if fault.flipped_bits:
        data = bytearray(data)
        for bit in fault.flipped_bits:
            data[bit // 8] ^= 1 << bit % 8
    return data
