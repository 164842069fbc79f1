# SPDX-License-Identifier: GPL-2.0-or-later
"""A device whose writes and flushes are logged as it gets and completes them."""

from __future__ import annotations

from collections.abc import Callable

from freezingtime.device.base import Device, statistics_of
from freezingtime.request import Operation, Request
from freezingtime.trace.writes.log import WriteLogWriter


class RecordedDevice(Device):
    """Passes everything on to ``device``, and notes it in ``log`` as that of ``disk``.

    ``output_bytes`` says how much the job has printed: since guest time stands still in each
    call, that is exactly what it had printed before the event.
    """

    def __init__(
        self, device: Device, disk: int, log: WriteLogWriter, output_bytes: Callable[[], int]
    ) -> None:
        self._device = device
        self._disk = disk
        self._log = log
        self._output_bytes = output_bytes
        self._sequences: dict[Request, int] = {}

    def submit(self, request: Request, now_ns: int) -> None:
        if request.operation is not Operation.READ:
            self._sequences[request] = self._log.arrive(
                self._disk, request, now_ns, self._output_bytes()
            )
        self._device.submit(request, now_ns)

    def next_event_ns(self) -> int | None:
        return self._device.next_event_ns()

    def advance(self, now_ns: int) -> list[Request]:
        completed = self._device.advance(now_ns)
        for request in completed:
            if (sequence := self._sequences.pop(request, None)) is not None:
                self._log.complete(self._disk, request, sequence, now_ns, self._output_bytes())
        return completed

    def statistics(self) -> dict[str, float]:
        """Return what the device itself says."""
        return statistics_of(self._device)
