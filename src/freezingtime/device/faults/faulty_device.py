# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that fails by rules: it decides which requests fail, and delays what is to be late."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

import numpy as np

from freezingtime.annotation import EMPTY_ANNOTATION, HeldBy
from freezingtime.device.base import CompletionQueue, Device, statistics_of
from freezingtime.device.changes.changing_device import ChangingDevice
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.faults.absence import Absence, Presence
from freezingtime.device.faults.active_rule import ActiveRule
from freezingtime.device.faults.rule import GivenFault
from freezingtime.device.kept.state import (
    NotKeptError,
    State,
    entry,
    integer,
    items,
    one_of,
    require,
)
from freezingtime.request import Fault, FaultKind, Operation, Request

#: 146 years: what would complete later, as factors of factors may have it, completes then.
#: Nothing lasts longer than until then, so that whoever is next can add to it in 64 bits.
_LATEST_NS = 2**62
#: Spans of rules that hang may follow each other; after so many a request completes.
_SPANS_MAX = 1000
_GONE = Fault(FaultKind.DISAPPEAR, errno.EIO)


class FaultyDevice(Device):
    """``inner``, which serves every request, also those that fail: an error takes as long.

    The rules' randomness is their own: without them the same requests take the same times.
    """

    def __init__(
        self, inner: Device, faults: Sequence[GivenFault], seed: int, size_bytes: int | None
    ) -> None:
        """``size_bytes``: the disk's; None: there is no medium."""
        self._inner = GuardedDevice(inner, "the perturbed")
        self._changing = inner
        self._faults = faults
        self._seed = seed
        self._rules = [
            ActiveRule(given, np.random.Generator(np.random.PCG64([seed, number])), size_bytes)
            for number, given in enumerate(faults)
        ]
        self._waits_for_flush = any(rule.rule.after_flush is not None for rule in self._rules)
        self._start_ns: int | None = 0
        self._arrivals: dict[Request, tuple[int, Sequence[ActiveRule]]] = {}
        self._held = CompletionQueue()
        self._leaving = next((rule for rule in self._rules if rule.rule.disappear), None)
        # What the device inside still works at, which has ended with an error.
        self._ended: set[Request] = set()
        self._presence_changes: list[bool] = []

    @property
    def inner(self) -> Device:
        """The device that serves the requests."""
        return self._changing

    def await_start(self) -> None:
        """Hit nothing before :meth:`start`."""
        self._start_ns = None
        if isinstance(self._changing, ChangingDevice):
            self._changing.await_start()

    def start(self, now_ns: int) -> None:
        """Begin to hit requests: the rules' times and numbers count from now."""
        if self._start_ns is None:
            self._start_ns = now_ns
            if isinstance(self._changing, ChangingDevice):
                self._changing.start(now_ns)
            for rule in self._rules:
                rule.begin()

    def hit_counts(self) -> list[tuple[str, int]]:
        """Each rule, as ``--fault`` has it, and how many requests it has hit."""
        return [
            (given.text, rule.hit_count)
            for given, rule in zip(self._faults, self._rules, strict=True)
        ]

    def submit(self, request: Request, now_ns: int) -> None:
        slowing: Sequence[ActiveRule] = ()
        if self._start_ns is not None:
            slowing = self._hit(request, now_ns - self._start_ns)
        if self._presence is Presence.GONE:
            _set_fault(request, _GONE)
            self._held.put(request, now_ns)
            return
        self._arrivals[request] = now_ns, slowing
        self._inner.submit(request, now_ns)

    def next_event_ns(self) -> int | None:
        times_ns = (
            self._inner.next_event_ns(),
            self._held.next_ns(),
            self._presence_event_ns(),
        )
        return min((time_ns for time_ns in times_ns if time_ns is not None), default=None)

    def advance(self, now_ns: int) -> list[Request]:
        while (event_ns := self._inner.next_event_ns()) is not None and event_ns <= now_ns:
            for request in self._inner.advance(event_ns):
                if request in self._ended:
                    self._ended.remove(request)
                else:
                    self._hold(request, event_ns)
        completed = self._held.take_until(now_ns)
        while (event_ns := self._presence_event_ns()) is not None and event_ns <= now_ns:
            completed += self._pass_presence_event()
        if self._waits_for_flush and self._start_ns is not None:
            for request in completed:
                if request.operation is Operation.FLUSH and not _fails(request):
                    for rule in self._rules:
                        rule.note_flush(now_ns - self._start_ns)
        return completed

    def take_presence_changes(self) -> Sequence[bool]:
        """Return whether it has disappeared (False) or come back (True) since the last call."""
        changes, self._presence_changes = self._presence_changes, []
        return changes

    def statistics(self) -> dict[str, float]:
        """Return the statistics of the device inside."""
        return statistics_of(self._inner)

    def save_state(self, under_way: Mapping[Request, int]) -> State:
        if self._presence not in (None, Presence.THERE):
            raise NotKeptError("a device that has disappeared has no state to go on from")
        return {
            "inner": self._inner.save_state(),
            "in_inner": [under_way[each] for each in self._inner.under_way],
            "faults": [given.text for given in self._faults],
            "seed": str(self._seed),
            "rules": [rule.state() for rule in self._rules],
            "start_ns": self._start_ns,
            "slowed": [
                [under_way[each], arrival_ns, [self._rules.index(rule) for rule in slowing]]
                for each, (arrival_ns, slowing) in self._arrivals.items()
            ],
            "held": self._held.save_state(under_way),
        }

    def load_state(self, state: State, under_way: Sequence[Request]) -> None:
        """Go on; with other rules of faults than those of the state, only with the device inside.

        With another seed, the rules draw that one's random numbers.
        """
        in_inner = items(entry(state, "in_inner"), "what is under way")
        inside = [one_of(under_way, number, "a request") for number in in_inner]
        self._inner.load_state(entry(state, "inner"), inside)
        is_same = entry(state, "faults") == [given.text for given in self._faults]
        if is_same:
            rules = items(entry(state, "rules"), "the rules")
            require(len(rules) == len(self._rules), "the rules")
            draws = entry(state, "seed") == str(self._seed)
            for rule, loaded in zip(self._rules, rules, strict=True):
                rule.load_state(loaded, draws=draws)
            start_ns = entry(state, "start_ns")
            self._start_ns = None if start_ns is None else integer(start_ns, "a time")
        for number, arrival_ns, slowing in items(entry(state, "slowed"), "what is under way"):
            rules_of = items(slowing, "the rules") if is_same else []
            self._arrivals[one_of(under_way, number, "a request")] = (
                integer(arrival_ns, "an arrival"),
                [one_of(self._rules, each, "a rule") for each in rules_of],
            )
        require(all(each in self._arrivals for each in inside), "what is under way")
        self._held.load_state(entry(state, "held"), under_way)

    @property
    def _absence(self) -> Absence | None:
        """When it is gone, if it ever is."""
        return None if self._leaving is None else self._leaving.absence

    @property
    def _presence(self) -> Presence | None:
        return None if self._absence is None else self._absence.presence

    def _presence_event_ns(self) -> int | None:
        """When the device disappears or comes back next."""
        if self._absence is None or self._start_ns is None:
            return None
        event_ns = self._absence.next_event_ns()
        return None if event_ns is None else self._start_ns + event_ns

    def _pass_presence_event(self) -> list[Request]:
        """Disappear or come back; return the requests that this ends."""
        if self._leaving is None or self._absence is None:
            return []
        self._absence.pass_event()
        is_back = self._presence is Presence.BACK
        self._presence_changes.append(is_back)
        if is_back:
            return []
        self._leaving.hit_count += 1
        return self._end_all()

    def _end_all(self) -> list[Request]:
        """End all requests with an error: the oldest first."""
        in_inner = list(self._arrivals)
        self._arrivals.clear()
        self._ended.update(in_inner)
        ended = [*in_inner, *self._held.take_all()]
        for request in ended:
            _set_fault(request, _GONE)
        return ended

    def _hit(self, request: Request, time_ns: int) -> Sequence[ActiveRule]:
        """Set the request's fault; return the rules that slow it down."""
        slowing = []
        for rule in self._rules:
            fault = rule.fault_of(request, time_ns)
            if fault is not None:
                _set_fault(request, fault)
                if rule.added is not None:
                    slowing.append(rule)
        if request.fault is None or request.fault.kind < FaultKind.MISDIRECT:
            for rule in self._rules:
                rule.note_written(request)
        return slowing

    def _hold(self, request: Request, done_ns: int) -> None:
        arrival_ns, slowing = self._arrivals.pop(request)
        until_ns = done_ns
        for rule in slowing:
            if rule.added is not None:
                until_ns += rule.added(done_ns - arrival_ns)
        if self._start_ns is not None:
            until_ns = self._after_hangs(request, until_ns - self._start_ns) + self._start_ns
        until_ns = min(until_ns, max(done_ns, _LATEST_NS))
        annotation = request.annotation or EMPTY_ANNOTATION
        if until_ns - done_ns > max(0, annotation.held_ns):
            request.annotation = annotation._replace(
                held_by=HeldBy.PERTURBATION, held_ns=until_ns - done_ns
            )
        self._held.put(request, until_ns)

    def _after_hangs(self, request: Request, done_ns: int) -> int:
        """When a request may complete, that would at ``done_ns``; times from the job's start."""
        hanging: list[ActiveRule] = []
        for _ in range(_SPANS_MAX):
            before_ns = done_ns
            for rule in self._rules:
                end_ns = rule.held_until_ns(request, done_ns)
                if end_ns > done_ns:
                    done_ns = end_ns
                    if rule not in hanging:
                        hanging.append(rule)
            if done_ns == before_ns:
                break
        for rule in hanging:
            rule.hit_count += 1
            _set_fault(request, Fault(FaultKind.HANG))
        return done_ns


def _set_fault(request: Request, fault: Fault) -> None:
    """The greater kind stays, and of two alike the first."""
    if request.fault is None or fault.kind > request.fault.kind:
        request.fault = fault


def _fails(request: Request) -> bool:
    return request.fault is not None and request.fault.errno != 0
