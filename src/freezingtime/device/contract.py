# SPDX-License-Identifier: GPL-2.0-or-later
"""Holding a device to its contract, whoever drives it: emulator, simulator, or a composition.

A model that breaks it, be it one of ours or the user's own, would hang what drives it, or have
it fail far from the cause. So the first broken promise ends the run and is told, with the
device, the request and the time.
"""

from __future__ import annotations

import operator
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from freezingtime.device.base import Device, Foresight, statistics_of
from freezingtime.device.kept.state import (
    NotKeptError,
    State,
    StateError,
    entry,
    integer,
    items,
    numbered,
    packed_request,
    unpacked_request,
)
from freezingtime.errors import FreezingTimeError, RunError
from freezingtime.request import Request
from freezingtime.units import MAX_VALUE

#: More events than that at one instant which complete nothing: time does not go on.
STALL_MAX = 100_000
#: More events than that, at whatever times, of which none completes what is under way.
FRUITLESS_MAX = 1_000_000


class GuardedDevice(Device):
    """A device with its calls checked; to be driven as the device itself would be.

    Raises RunError from any call when the device has broken its contract or failed.
    """

    def __init__(self, device: Device, name: str = "", *, orphans: Sequence[Request] = ()) -> None:
        """``name``: what the device is to its user, such as the disk's name.

        ``orphans`` are requests under way in a device that goes on from a state, which nobody waits
        for any more: they complete in it, and do not come out.
        """
        self._device = device
        self._name = name
        self._orphans = set(orphans)
        self._arrival_ns = dict.fromkeys(orphans, 0)  # what is under way, oldest first
        self._now_ns = 0
        self._stalled_count = 0
        self._fruitless_count = 0
        self._foresees = hasattr(device, "foresee")  # the user's own need not
        self._foreseen: list[tuple[int, Sequence[Request]]] = []  # what still must come true

    def submit(self, request: Request, now_ns: int) -> None:
        self._arrival_ns[request] = now_ns
        self._now_ns = now_ns
        self._foreseen = []
        try:
            self._device.submit(request, now_ns)
        except Exception as error:
            self._failed("submit", now_ns, error)

    def next_event_ns(self) -> int | None:
        try:
            event_ns = self._device.next_event_ns()
        except Exception as error:
            self._failed("next_event_ns", self._now_ns, error)
        if type(event_ns) is int and self._now_ns <= event_ns <= MAX_VALUE:
            return event_ns  # nearly always
        return self._checked_event_ns(event_ns)

    def advance(self, now_ns: int) -> list[Request]:
        try:
            completed = self._device.advance(now_ns)
        except Exception as error:
            self._failed("advance", now_ns, error)
        if not isinstance(completed, list):
            kind = type(completed).__name__
            self._break(f"returned a {kind} from advance(); must be a list of requests")
        if self._foreseen:
            self._require_foreseen(now_ns, completed)
        if completed:
            self._stalled_count = self._fruitless_count = 0
            self._now_ns = now_ns
            self._take_out(completed)
            if self._orphans:
                return self._without_orphans(completed)
        else:
            self._count_fruitless(now_ns)
        return completed

    def foresee(self) -> Foresight:
        next_ns = self.next_event_ns()
        if next_ns is None or not self._foresees:
            return Foresight(then_ns=next_ns)
        try:
            foreseen = self._device.foresee()
        except Exception as error:
            self._failed("foresee", self._now_ns, error)
        times_ns = [event_ns for event_ns, _ in foreseen.events]
        times_ns += [] if foreseen.then_ns is None else [foreseen.then_ns]
        if times_ns[:1] != ([] if next_ns is None else [next_ns]) or any(
            type(event_ns) is not int or event_ns > MAX_VALUE or event_ns <= before_ns
            for before_ns, event_ns in pairwise(times_ns)
        ):
            self._break(f"foresees events at {times_ns} ns, and the next one is at {next_ns} ns")
        if self._orphans:
            foreseen = self._up_to_orphans(foreseen)
        self._foreseen = list(foreseen.events)
        return foreseen

    def save_state(self) -> State:  # type: ignore[override]  # it keeps the requests itself
        """Return the state of the device and what is under way in it.

        Raises:
            NotKeptError: the device's state cannot be saved.
            RunError: it failed at that.
        """
        _require_kept(self._device)
        under_way = list(self._arrival_ns)
        try:
            state = self._device.save_state(numbered(under_way))
        except StateError:
            raise
        except Exception as error:
            self._failed("save_state", self._now_ns, error)
        return {
            "under_way": [packed_request(request) for request in under_way],
            "arrivals_ns": list(self._arrival_ns.values()),
            "now_ns": self._now_ns,
            "device": state,
        }

    def load_state(  # type: ignore[override]
        self, state: State, requests: Sequence[Request] | None = None
    ) -> Sequence[Request]:
        """Have the device go on from a state; return what is under way, in order of arrival.

        ``requests``: what is under way, if somebody else has made these requests.

        Raises:
            StateError: the state is none of such a device.
            RunError: the device failed at that.
        """
        _require_kept(self._device)
        packed = items(entry(state, "under_way"), "what is under way")
        if requests is None:
            requests = [unpacked_request(each) for each in packed]
        if len(requests) != len(packed):
            raise StateError("what is under way is not possible")
        arrivals = items(entry(state, "arrivals_ns"), "the arrivals")
        if len(arrivals) != len(requests):
            raise StateError("the arrivals are not possible")
        self._now_ns = integer(entry(state, "now_ns"), "the time")
        arrivals_ns = [integer(each, "an arrival") for each in arrivals]
        self._arrival_ns = dict(zip(requests, arrivals_ns, strict=True))
        try:
            self._device.load_state(entry(state, "device"), requests)
        except StateError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise StateError(f"is not possible ({type(error).__name__}: {error})") from error
        except Exception as error:
            self._failed("load_state", self._now_ns, error)
        self._foreseen = []
        return requests

    @property
    def device(self) -> Device:
        """The device itself, for who does not drive it."""
        return self._device

    @property
    def under_way(self) -> Sequence[Request]:
        """The requests that it has, in order of arrival."""
        return list(self._arrival_ns)

    def statistics(self) -> dict[str, float]:
        """Return the statistics of the device."""
        return statistics_of(self._device)

    def _checked_event_ns(self, event_ns: object) -> int | None:
        if event_ns is None:
            if self._arrival_ns:
                self._break(f"has no next event, and yet {self._under_way()}")
            return None
        try:
            time_ns = operator.index(event_ns)  # type: ignore[arg-type]  # that is the question
        except TypeError:
            self._break(f"has its next event at {event_ns!r}; must be a whole number of ns")
        if not self._now_ns <= time_ns <= MAX_VALUE:
            when = "is past" if time_ns < self._now_ns else "no clock can reach"
            self._break(f"has its next event at {time_ns} ns, which {when}")
        return time_ns

    def _take_out(self, completed: Sequence[Request]) -> None:
        arrival_ns = self._arrival_ns
        for request in completed:
            try:
                del arrival_ns[request]
            except (KeyError, TypeError):
                self._break(f"completed {_words(request)}, which it does not have (any more)")

    def _require_foreseen(self, now_ns: int, completed: list[Request]) -> None:
        event_ns, foreseen = self._foreseen.pop(0)
        if event_ns != now_ns or completed != list(foreseen):
            self._break(
                f"completed {len(completed)} requests at {now_ns} ns, but foresaw "
                f"{len(foreseen)}, or others, at {event_ns} ns"
            )

    def _without_orphans(self, completed: list[Request]) -> list[Request]:
        kept = [request for request in completed if request not in self._orphans]
        self._orphans.difference_update(completed)
        return kept

    def _up_to_orphans(self, foreseen: Foresight) -> Foresight:
        """The events before the first at which one completes that does not come out."""
        for place, (event_ns, requests) in enumerate(foreseen.events):
            if not self._orphans.isdisjoint(requests):
                return Foresight(foreseen.events[:place], event_ns)
        return foreseen

    def _count_fruitless(self, now_ns: int) -> None:
        if now_ns > self._now_ns:
            self._now_ns = now_ns
            self._stalled_count = 0
        self._stalled_count += 1
        if self._stalled_count > STALL_MAX:
            self._break(f"had {STALL_MAX} events at one instant that completed nothing")
        if self._arrival_ns:
            self._fruitless_count += 1
            if self._fruitless_count > FRUITLESS_MAX:
                self._break(f"had {FRUITLESS_MAX} events, and still {self._under_way()}")

    def _under_way(self) -> str:
        request, arrival_ns = next(iter(self._arrival_ns.items()))
        count = len(self._arrival_ns)
        verb = "is" if count == 1 else "are"
        return (
            f"{count} of its requests {verb} not completed, the oldest {_words(request)}, "
            f"which arrived at {arrival_ns} ns"
        )

    def _break(self, promise: str) -> NoReturn:
        raise RunError(f"{self._who()} {promise}; guest time is {self._now_ns} ns")

    def _failed(self, call: str, now_ns: int, error: Exception) -> NoReturn:
        if isinstance(error, FreezingTimeError):
            raise error
        *_, frame = traceback.extract_tb(error.__traceback__)
        raise RunError(
            f"{self._who()} failed in {call}() at {now_ns} ns of guest time: "
            f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
        ) from error

    def _who(self) -> str:
        kind = type(self._device).__name__
        return f"the device of {self._name} ({kind})" if self._name else f"the device {kind}"


def _require_kept(device: Device) -> None:
    """Require that the state of a device can be saved.

    A user's own class has to say it by itself: what one of ours keeps that it is derived from
    is not all that it has.

    Raises:
        NotKeptError: it does not.
    """
    for kind in type(device).__mro__:
        if kind.__module__.startswith("freezingtime."):
            if kind is type(device):
                return  # it is asked, and says so itself
            break
        if "save_state" in vars(kind) or "model_state" in vars(kind):
            return
    raise NotKeptError(f"{type(device).__name__} has neither save_state() nor model_state()")


def _words(request: object) -> str:
    if not isinstance(request, Request):
        return f"{request!r}"
    name = f"the {request.operation.name.lower()}"
    if not request.length_bytes:
        return name
    return f"{name} of {request.length_bytes} bytes at {request.offset_bytes}"
