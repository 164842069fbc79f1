# SPDX-License-Identifier: GPL-2.0-or-later
"""One device, driven event by event, and held to what a device promises."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from freezingtime.annotation import UNKNOWN, Annotation
from freezingtime.device.annotations.columns import ANNOTATION, Annotations, new_annotations
from freezingtime.device.base import Device
from freezingtime.device.contract import GuardedDevice
from freezingtime.request import Operation, Request
from freezingtime.simulate.statistics_sampler import NO_SAMPLES, StatisticsSampler
from freezingtime.trace.readers.columns import IntColumn

_OPERATIONS = {operation.value: operation for operation in Operation}
_OUTSTANDING = -1


class Drive:
    """One device and its requests in flight.

    All methods that run the device raise RunError if it breaks its contract.
    """

    def __init__(self, device: Device, sampler: StatisticsSampler = NO_SAMPLES) -> None:
        """``sampler``: of the device, to be asked for a sample now and then."""
        self._device = GuardedDevice(device)
        self._sampler = sampler
        self._completion_ns = array("q")
        self._annotations: dict[int, Annotation] = {}
        self._fault_kinds: dict[int, int] = {}
        self._now_ns = 0
        #: How many requests have been submitted and not completed.
        self.outstanding_count = 0

    def submit(
        self, operation: int, offset_bytes: int, length_bytes: int, fua: bool, now_ns: int
    ) -> None:
        """Submit the next request; its cookie is its index."""
        index = len(self._completion_ns)
        request = Request(_OPERATIONS[operation], offset_bytes, length_bytes, None, fua, index)
        self._completion_ns.append(_OUTSTANDING)
        self.outstanding_count += 1
        self._now_ns = now_ns
        self._device.submit(request, now_ns)

    def run_until(self, time_ns: int) -> None:
        """Run the device's events up to a time."""
        next_event_ns = self._device.next_event_ns
        while (event_ns := next_event_ns()) is not None and event_ns <= time_ns:
            self._advance(event_ns)

    def run_to_completion(self, limit_ns: int | None = None) -> tuple[int, int]:
        """Run the device until requests complete; return the time and how many did.

        If none does up to ``limit_ns``, that is the time, and 0 how many did.
        """
        next_event_ns = self._device.next_event_ns
        completed_count = 0
        while not completed_count:
            event_ns = next_event_ns()
            if event_ns is None or (limit_ns is not None and event_ns > limit_ns):
                if limit_ns is None:
                    raise ValueError("nothing completes without a request or a limit")
                return limit_ns, 0
            completed_count = self._advance(event_ns)
        while (event_ns := next_event_ns()) is not None and event_ns <= self._now_ns:
            completed_count += self._advance(event_ns)
        return self._now_ns, completed_count

    def completion_ns(self) -> IntColumn:
        """The completion times in the order of submission."""
        return np.frombuffer(self._completion_ns, dtype=np.int64)

    def annotations(self) -> Annotations:
        """Return the device's annotations of the requests, in the order of submission."""
        annotations = new_annotations(len(self._completion_ns))
        places = np.fromiter(self._annotations, np.int64, len(self._annotations))
        annotations[places] = np.fromiter(self._annotations.values(), ANNOTATION, len(places))
        return annotations

    def fault_kinds(self) -> NDArray[np.int8] | None:
        """Return the kind of each request's fault, in the order of submission; None: no faults."""
        if not self._fault_kinds:
            return None
        kinds = np.full(len(self._completion_ns), UNKNOWN, np.int8)
        kinds[list(self._fault_kinds)] = list(self._fault_kinds.values())
        return kinds

    def _advance(self, event_ns: int) -> int:
        """Bring the device to an event; return how many requests completed."""
        completed = self._device.advance(event_ns)
        self._now_ns = event_ns
        for request in completed:
            self._completion_ns[request.cookie] = event_ns
            if request.annotation is not None:
                self._annotations[request.cookie] = request.annotation
            if request.fault is not None:
                self._fault_kinds[request.cookie] = request.fault.kind
        self.outstanding_count -= len(completed)
        self._sampler.note(event_ns)
        return len(completed)
