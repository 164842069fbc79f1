# SPDX-License-Identifier: GPL-2.0-or-later
"""Making any device misbehave: hiccups, fail-slow, periodic pauses.

Gunawi et al., "Fail-Slow at Scale: Evidence of Hardware Performance Faults in Large
Production Systems", FAST 2018, describes such devices in the field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from freezingtime.annotation import EMPTY_ANNOTATION, HeldBy
from freezingtime.device.base import CompletionQueue, Device, statistics_of
from freezingtime.device.compose.members import Composition, MemberTable
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.model_parameters import Making
from freezingtime.device.parameters import Table
from freezingtime.device.schema import TimeNs, key
from freezingtime.request import Request
from freezingtime.units import MAX_VALUE

#: 146 years: what would complete later, as factors of factors may have it, completes then.
#: No perturbation lasts longer than until then, so that whoever is next can add to it in 64 bits.
_LATEST_NS = 2**62


class PerturbParams(Composition, frozen=True, kw_only=True):
    """All off by default. A request's own time on the device comes first."""

    hiccup_probability: Annotated[
        float, key("fraction of requests that take `hiccup` longer", most=1.0)
    ] = 0.0
    hiccup_ns: Annotated[TimeNs, key("how much longer")] = 0
    slow_factor: Annotated[
        float, key("factor on service times in the slow span", least=1.0, most=1e6)
    ] = 1.0
    slow_from_ns: Annotated[TimeNs, key("start of the slow span", most=MAX_VALUE)] = 0
    slow_until_ns: Annotated[TimeNs, key("end of the slow span; never if 0", most=MAX_VALUE)] = 0
    pause_every_ns: Annotated[TimeNs, key("period of pauses without completions; never if 0")] = 0
    pause_ns: Annotated[TimeNs, key("length of a pause")] = 0

    def check(self, table: Table) -> None:
        if self.pause_every_ns and self.pause_ns >= self.pause_every_ns:
            raise table.error("pause", "must be shorter than pause_every")


class PerturbedParams(PerturbParams, frozen=True, kw_only=True):
    """A device, and how it misbehaves."""

    device: Annotated[MemberTable, key("the device to perturb")]

    @property
    def tables(self) -> Sequence[MemberTable]:
        return (self.device,)

    def make(self, making: Making) -> Device:
        (device,) = self.make_members(making, [making.size_bytes])
        return Perturb(device, self, making.seed)


class Perturb(Device):
    """Holds a device's completions back. Randomness is from ``seed`` alone."""

    def __init__(self, inner: Device, params: PerturbParams, seed: int) -> None:
        if params.pause_every_ns and params.pause_ns >= params.pause_every_ns:
            raise ValueError("pause_ns must be less than pause_every_ns")
        if not 1.0 <= params.slow_factor < math.inf:
            raise ValueError("slow_factor must be at least 1, and finite")
        self._inner = GuardedDevice(inner, "the perturbed")
        self._params = params
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._arrival_ns: dict[Request, int] = {}
        self._held = CompletionQueue()

    def submit(self, request: Request, now_ns: int) -> None:
        self._arrival_ns[request] = now_ns
        self._inner.submit(request, now_ns)

    def next_event_ns(self) -> int | None:
        times_ns = (self._inner.next_event_ns(), self._held.next_ns())
        return min((time_ns for time_ns in times_ns if time_ns is not None), default=None)

    def advance(self, now_ns: int) -> list[Request]:
        while (event_ns := self._inner.next_event_ns()) is not None and event_ns <= now_ns:
            for request in self._inner.advance(event_ns):
                self._hold(request, event_ns)
        return self._held.take_until(now_ns)

    def statistics(self) -> dict[str, float]:
        """Return the statistics of the device inside."""
        return statistics_of(self._inner)

    def _hold(self, request: Request, done_ns: int) -> None:
        params = self._params
        arrival_ns = self._arrival_ns.pop(request)
        until_ns = done_ns
        slow_until_ns = params.slow_until_ns or math.inf
        if params.slow_from_ns <= arrival_ns < slow_until_ns:
            until_ns += round((done_ns - arrival_ns) * (params.slow_factor - 1.0))
        if params.hiccup_probability and self._random.random() < params.hiccup_probability:
            until_ns += params.hiccup_ns
        if params.pause_every_ns:
            into_ns = until_ns % params.pause_every_ns
            until_ns += max(0, params.pause_ns - into_ns)
        until_ns = min(until_ns, max(done_ns, _LATEST_NS))
        annotation = request.annotation or EMPTY_ANNOTATION
        if until_ns - done_ns > max(0, annotation.held_ns):
            request.annotation = annotation._replace(
                held_by=HeldBy.PERTURBATION, held_ns=until_ns - done_ns
            )
        self._held.put(request, until_ns)
