# SPDX-License-Identifier: GPL-2.0-or-later
"""A device whose parameters change at given times, to the nanosecond."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

from freezingtime.device.base import Device, Foresight, statistics_of
from freezingtime.device.changes.change import GivenChange, MemberChange
from freezingtime.device.kept.state import State
from freezingtime.device.model_parameters import ModelParameters
from freezingtime.request import Request


class Changeable(Protocol):
    """Device whose parameters can change while it runs."""

    def change_parameters(self, params: ModelParameters, now_ns: int) -> None:
        """Go on with other parameters from ``now_ns`` on, which the device has been brought to.

        Only keys that ``params`` declares as changeable are others.
        """


class HasMembers(Protocol):
    """Device made of devices, which change."""

    def inner_device(self, index: int) -> Device:
        """Return a member, which has been brought to the time of the composition's last event."""


@runtime_checkable
class Particular(Protocol):
    """Device that cannot take over every value of a key that can change."""

    def check_change(self, params: ModelParameters) -> None:
        """Require that the device can go on with other parameters.

        Raises:
            InputError: it cannot.
        """


class ChangingDevice(Device):
    """``inner``, which changes. What arrives at the time of a change finds the new parameters."""

    def __init__(self, inner: Device, changes: Sequence[GivenChange]) -> None:
        """``changes`` are in order of time.

        Raises:
            InputError: the device cannot make one of them.
        """
        self._inner = inner
        self._changes: Sequence[GivenChange] = ()
        self._made_count = 0
        self._start_ns: int | None = 0
        self._completed: list[Request] = []
        self.check(changes)
        self.replace_changes(changes)

    def check(self, changes: Sequence[GivenChange]) -> None:
        """Require that the device can make changes.

        Raises:
            InputError: it cannot make one.
        """
        for change in changes:
            for device, params in _targets(self._inner, change):
                if isinstance(device, Particular):
                    device.check_change(params)

    def replace_changes(self, changes: Sequence[GivenChange]) -> None:
        """Make these changes, of which those that have been made are the first."""
        self._changes = tuple(changes)

    def await_start(self) -> None:
        """Change nothing before :meth:`start`."""
        self._start_ns = None

    def start(self, now_ns: int) -> None:
        """Begin to change: times count from now."""
        if self._start_ns is None:
            self._start_ns = now_ns

    def submit(self, request: Request, now_ns: int) -> None:
        self._change_until(now_ns)
        self._inner.submit(request, now_ns)

    def next_event_ns(self) -> int | None:
        inner_ns = self._inner.next_event_ns()
        change_ns = self._change_ns()
        # A change alone is no event: a device that has nothing to do changes when it has.
        return inner_ns if inner_ns is None or change_ns is None else min(inner_ns, change_ns)

    def advance(self, now_ns: int) -> list[Request]:
        self._change_until(now_ns)
        completed, self._completed = self._completed + self._inner.advance(now_ns), []
        return completed

    def foresee(self) -> Foresight:
        foreseen, change_ns = self._inner.foresee(), self._change_ns()
        if change_ns is None or self._inner.next_event_ns() is None:
            return foreseen
        before = [event for event in foreseen.events if event[0] < change_ns]
        is_all = len(before) == len(foreseen.events)
        then_ns = foreseen.then_ns
        if is_all and (then_ns is None or then_ns < change_ns):
            return foreseen
        return Foresight(tuple(before), change_ns)

    def statistics(self) -> dict[str, float]:
        """Return the statistics of the device inside."""
        return statistics_of(self._inner)

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        """Return the state of the device inside: what changes begins with each job."""
        return self._inner.save_state(under_way)

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        self._inner.load_state(state, under_way)

    def _change_ns(self) -> int | None:
        if self._start_ns is None or self._made_count == len(self._changes):
            return None
        return self._start_ns + self._changes[self._made_count].time_ns

    def _change_until(self, now_ns: int) -> None:
        while (change_ns := self._change_ns()) is not None and change_ns <= now_ns:
            # What happens up to then, also inside, happens as it was.
            self._completed += self._inner.advance(change_ns)
            change = self._changes[self._made_count]
            self._made_count += 1
            for device, params in _targets(self._inner, change):
                cast(Changeable, device).change_parameters(params, change_ns)


def _targets(
    device: Device, change: GivenChange | MemberChange
) -> Iterator[tuple[Device, ModelParameters]]:
    """The devices that a change is of, with their parameters from then on: a composition's members,
    or the device itself."""
    if change.members is None:
        yield device, change.params
        return
    for member in change.members:
        yield from _targets(cast(HasMembers, device).inner_device(member.index), member)
