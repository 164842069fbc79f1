# SPDX-License-Identifier: GPL-2.0-or-later
"""Making any device misbehave: hiccups, fail-slow, periodic pauses, by rules of faults.

A composition, so that a part of another one can be held up; what fails is in
:mod:`freezingtime.device.faults`.

Gunawi et al., "Fail-Slow at Scale: Evidence of Hardware Performance Faults in Large
Production Systems", FAST 2018, describes such devices in the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from freezingtime.device.base import Device
from freezingtime.device.compose.members import Composition, MemberTable
from freezingtime.device.faults.faulty_device import FaultyDevice
from freezingtime.device.faults.rule import FaultTable
from freezingtime.device.model_parameters import Making
from freezingtime.device.parameters import Table
from freezingtime.device.schema import TimeNs, key
from freezingtime.units import MAX_VALUE, format_time_ns


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


class Perturb(FaultyDevice):
    """A device that is held up by rules of faults. Randomness is from ``seed`` alone."""

    def __init__(self, inner: Device, params: PerturbParams, seed: int) -> None:
        faults = [FaultTable(rule, "perturb").given() for rule in _rules(params)]
        super().__init__(inner, faults, seed, size_bytes=None)

    def inner_device(self, _index: int) -> Device:
        """Return the device that is held up."""
        return self.inner


def _rules(params: PerturbParams) -> Iterator[dict[str, Any]]:
    """The rules of faults that say the same; those that would hit nothing are left out."""
    from_ns, until_ns = params.slow_from_ns, params.slow_until_ns
    if params.slow_factor > 1.0 and (not until_ns or until_ns > from_ns):
        span = {"from": from_ns} | ({"until": until_ns} if until_ns else {})
        yield {"slow": params.slow_factor, **_times(span)}
    if params.hiccup_probability and params.hiccup_ns:
        chance = {"probability": params.hiccup_probability}
        yield {**_times({"slow_by": params.hiccup_ns}), **chance}
    if params.pause_every_ns and params.pause_ns:
        yield {"hang": True, **_times({"for": params.pause_ns, "every": params.pause_every_ns})}


def _times(times_ns: Mapping[str, int]) -> dict[str, str]:
    return {name: format_time_ns(time_ns) for name, time_ns in times_ns.items()}
