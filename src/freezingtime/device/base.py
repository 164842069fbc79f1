# SPDX-License-Identifier: GPL-2.0-or-later
"""The device interface: *when* a request completes.

A device knows nothing of NBD, clocks, QEMU, threads or bytes. It is driven by calls that
carry guest time in integer nanoseconds, so that the same model serves a guest and a
trace. Devices are deterministic: randomness comes from a seeded generator handed in.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from freezingtime.device.kept.state import NotKeptError, State, entry, integer, items, one_of
from freezingtime.request import Request

#: Called between the pieces of a trace that a device works off at once: how many of the requests it
#: is done with or has in hand, and the guest time in ns.
Pause: TypeAlias = Callable[[int, int], None]

_PIECES = 256
# The statistics of a device cost as much as so many requests.
_PIECE_MIN = 64
#: How many completions a device foresees at most: more cost more than they save.
_FORESEEN_MAX = 4


class Foresight(NamedTuple):
    """Events of a device that come next if no request arrives before."""

    events: Sequence[tuple[int, Sequence[Request]]] = ()
    """Its next events in order: the time in ns, and what completes then, in order."""
    then_ns: int | None = None
    """Time of the event behind those, of which no more is known; None: there is none."""


class Device(ABC):
    """An event-driven device model.

    The caller promises that ``now_ns`` never decreases over the calls, and that it calls
    :meth:`advance` at every time that :meth:`next_event_ns` announces. The device
    promises that no request completes before it arrives, and that every request
    completes.
    """

    @abstractmethod
    def submit(self, request: Request, now_ns: int) -> None:
        """Take in a request that arrives at ``now_ns``."""

    @abstractmethod
    def next_event_ns(self) -> int | None:
        """Return the time of the device's next event, or None while there is none."""

    @abstractmethod
    def advance(self, now_ns: int) -> list[Request]:
        """Bring the device to ``now_ns``; return what has completed by then, in order.

        Their ``annotation`` says what the device knows of them, if it knows anything.
        """

    def foresee(self) -> Foresight:
        """Return what comes next, as far as it is known; changes nothing.

        An event that is foreseen must come true unless a request is submitted before it: at
        its time :meth:`advance` returns just these requests.
        """
        return Foresight(then_ns=self.next_event_ns())

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        """Return what the past has left in the device, as plain data; changes nothing.

        ``under_way`` has the number of each request that was submitted and has not come out of
        :meth:`advance`; these numbers stand for them. Arrays may be the device's own: they are
        written before anything else happens. See :mod:`freezingtime.device.kept.state`.

        Raises:
            NotKeptError: the device's state cannot be saved, as it does not say how.
        """
        raise NotKeptError(f"{type(self).__name__} has no save_state()")

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        """Go on from a state that a device of the same description has saved.

        The device is new. ``under_way`` are the requests of the numbers; they complete as others
        do. What :func:`statistics_of` returns counts from here on. The device may be left in pieces
        if this raises.

        Raises:
            StateError: the state is none of such a device; nothing in it is to be trusted.
        """
        raise NotKeptError(f"{type(self).__name__} has no load_state()")


def statistics_of(device: Device) -> dict[str, float]:
    """Return a device's statistics since it was made, by name.

    That is its method ``statistics``; a device need not have one, and then says nothing.
    """
    statistics: dict[str, float] = getattr(device, "statistics", dict)()
    return statistics


def presence_changes_of(device: Device) -> Sequence[bool]:
    """Return what has become of a device since this was last asked, in order.

    False: it has disappeared; True: it has come back. That is its method
    ``take_presence_changes``; a device need not have one, and then stays.
    """
    changes: Sequence[bool] = getattr(device, "take_presence_changes", tuple)()
    return changes


def pieces(count: int, pause: Pause | None) -> Iterator[tuple[int, int]]:
    """Return the first and the end of each piece of a trace; the trace whole without pauses."""
    length = count if pause is None else max(_PIECE_MIN, -(-count // _PIECES))
    for first in range(0, count, max(1, length)):
        yield first, min(count, first + length)


class CompletionQueue:
    """Requests whose completion times are known; equal times come out in order of entry."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Request]] = []
        self._entered_count = 0

    def put(self, request: Request, completion_ns: int) -> None:
        """Enter a request that completes at ``completion_ns``."""
        # The count breaks ties in order of entry, and keeps requests out of comparisons.
        self._entered_count += 1
        heapq.heappush(self._heap, (completion_ns, self._entered_count, request))

    def save_state(self, under_way: Mapping[Request, int]) -> list[list[int]]:
        """Return what is in the queue, in order: times and requests' numbers."""
        return [[int(time_ns), under_way[request]] for time_ns, _, request in sorted(self._heap)]

    def load_state(self, state: object, under_way: Sequence[Request]) -> None:
        """Enter what was in a queue. Raises StateError."""
        for time_ns, number in items(state, "a queue"):
            completion_ns = integer(time_ns, "a completion")
            self.put(one_of(under_way, number, "a request"), completion_ns)

    def next_ns(self) -> int | None:
        """Return the time of the next completion, or None if there is none."""
        return self._heap[0][0] if self._heap else None

    def foresee(self) -> Foresight:
        """Return the next completions."""
        if len(self._heap) == 1:  # nearly always
            ((completion_ns, _, request),) = self._heap
            return Foresight(((int(completion_ns), (request,)),))
        first = heapq.nsmallest(_FORESEEN_MAX + 1, self._heap)
        then_ns = first[-1][0] if len(first) > _FORESEEN_MAX else None
        events: dict[int, list[Request]] = {}
        for completion_ns, _, request in first:
            if completion_ns != then_ns:
                events.setdefault(int(completion_ns), []).append(request)
        return Foresight(tuple(events.items()), None if then_ns is None else int(then_ns))

    def take_all(self) -> list[Request]:
        """Take out whatever is in the queue, in order."""
        taken = [request for _, _, request in sorted(self._heap)]
        self._heap.clear()
        return taken

    def take_until(self, now_ns: int) -> list[Request]:
        """Take out what completes by ``now_ns``, in order."""
        completed = []
        while self._heap and self._heap[0][0] <= now_ns:
            completed.append(heapq.heappop(self._heap)[2])
        return completed


class TimedDevice(Device):
    """A device whose completion times are known on arrival: write :meth:`completion_ns` only.

    Requests that complete at the same nanosecond complete in order of arrival. To have its state
    saved, write :meth:`model_state` and :meth:`restore_model`, too.
    """

    _foresees = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # One that takes more into its hands than completion times is not foreseen.
        cls._foresees = all(
            getattr(cls, name) is getattr(TimedDevice, name)
            for name in ("submit", "next_event_ns", "advance")
        )

    def __init__(self) -> None:
        self._pending = CompletionQueue()

    @abstractmethod
    def completion_ns(self, request: Request, now_ns: int) -> int:
        """The guest time at which ``request``, arriving at ``now_ns``, completes."""

    def submit(self, request: Request, now_ns: int) -> None:
        completion_ns = self.completion_ns(request, now_ns)
        if completion_ns < now_ns:
            raise ValueError(
                f"{type(self).__name__} completed a request at {completion_ns} ns, "
                f"before it arrived at {now_ns} ns"
            )
        self._pending.put(request, completion_ns)

    def next_event_ns(self) -> int | None:
        return self._pending.next_ns()

    def advance(self, now_ns: int) -> list[Request]:
        return self._pending.take_until(now_ns)

    def foresee(self) -> Foresight:
        return self._pending.foresee() if self._foresees else super().foresee()

    def model_state(self) -> State:
        """Return what later completion times depend on, beside the description; see ``save_state``.

        Raises:
            NotKeptError: the model does not say.
        """
        raise NotKeptError(f"{type(self).__name__} has no model_state()")

    def restore_model(self, state: State) -> None:
        """Go on from what :meth:`model_state` returned.

        Raises:
            StateError: the state is none of such a device.
        """
        raise NotKeptError(f"{type(self).__name__} has no restore_model()")

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        return {"model": self.model_state(), "pending": self._pending.save_state(under_way)}

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        self.restore_model(entry(state, "model"))
        self._pending.load_state(entry(state, "pending"), under_way)
