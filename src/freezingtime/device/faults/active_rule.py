# SPDX-License-Identifier: GPL-2.0-or-later
"""A rule of faults at work on the requests of one device."""

from __future__ import annotations

import errno

import numpy as np

from freezingtime.device.faults.absence import Absence
from freezingtime.device.faults.delays import Added, added_ns
from freezingtime.device.faults.places import SECTOR_BYTES, Sectors
from freezingtime.device.faults.rule import GivenFault, sectors_of
from freezingtime.device.faults.sector_set import SectorSet
from freezingtime.device.faults.trigger import Trigger
from freezingtime.device.kept.arrays import generator_state, load_generator
from freezingtime.device.kept.state import State, entry, integer
from freezingtime.request import Fault, FaultKind, Operation, Request
from freezingtime.units import NS_PER_S

_ERRNOS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "timeout": errno.ETIMEDOUT}
#: Longer than any of Linux's drivers waits: 30 s, and as long again for what it does then.
_NO_ANSWER_NS = 90 * NS_PER_S
_ANYWHERE = Sectors(0, 2**63)
#: They write all sectors anew.
_WRITING = frozenset({Operation.WRITE, Operation.WRITE_ZEROES, Operation.DISCARD})


class ActiveRule:
    """A rule and its state. Times are from the start of the job."""

    def __init__(
        self, given: GivenFault, generator: np.random.Generator, size_bytes: int | None
    ) -> None:
        """``size_bytes``: the disk's; None: there is no medium."""
        rule = given.rule
        self.rule = rule
        self._generator = generator
        self._size_bytes = size_bytes
        self._operations = frozenset(rule.operations)
        self._trigger = Trigger(rule, generator)
        self.absence = Absence(rule) if rule.disappear else None
        """When the device is gone, if that is how it fails."""
        self._sectors = rule.sectors or _ANYWHERE
        self._bad, self._healed = SectorSet(), SectorSet()
        self._error = errno.EREMOTEIO if rule.read_only else _ERRNOS.get(rule.error or "", 0)
        self.added: Added | None = None
        if rule.kind in ("slow", "slow_by", "slow_distribution"):
            self.added = added_ns(given, generator)
        elif rule.error == "timeout":
            self.added = lambda service_ns: _NO_ANSWER_NS
        #: How many requests were hit: also those that met a sector that was known to be bad. Of a
        #: device that disappears: how often it has.
        self.hit_count = 0

    def begin(self) -> None:
        """A job begins: count from 0. Sectors that are bad stay so."""
        self._trigger = Trigger(self.rule, self._generator)
        self.absence = Absence(self.rule) if self.rule.disappear else None
        self.hit_count = 0

    def state(self) -> State:
        """Return what later requests depend on."""
        return {
            "hits": self.hit_count,
            "trigger": self._trigger.state(),
            "generator": generator_state(self._generator),
            "bad": self._bad.state(),
            "healed": self._healed.state(),
            **({} if self.absence is None else {"absence": self.absence.state()}),
        }

    def load_state(self, state: object, *, draws: bool) -> None:
        """Go on from a state; ``draws``: also with its random numbers. Raises StateError."""
        self.hit_count = integer(entry(state, "hits"), "a count")
        self._trigger.load_state(entry(state, "trigger"))
        if draws:
            load_generator(self._generator, entry(state, "generator"))
        self._bad.load_state(entry(state, "bad"))
        self._healed.load_state(entry(state, "healed"))
        if self.absence is not None:
            self.absence.load_state(entry(state, "absence"))

    def fault_of(self, request: Request, time_ns: int) -> Fault | None:
        """Return the fault of a request that arrives; None: it is not hit, or not yet."""
        rule = self.rule
        fits = self._fits(request)
        if rule.unreadable:
            return self._unreadable(request, time_ns) if fits else None
        if self.absence is not None:
            if fits:
                self.absence.note_arrival(time_ns)
            return None
        if rule.hang:
            if fits and rule.nth is not None:
                self._trigger.note_arrival(time_ns)
            return None
        if not fits or not self._trigger.note_arrival(time_ns):
            return None
        self.hit_count += 1
        return self._fault(request)

    def held_until_ns(self, request: Request, done_ns: int) -> int:
        """Return when a request may complete that the device is done with."""
        if not self.rule.hang or not self._fits(request):
            return done_ns
        end_ns = self._trigger.end_ns(done_ns)
        return done_ns if end_ns is None else end_ns

    def note_written(self, request: Request) -> None:
        """A request arrives that does what it should: what it writes can be read again."""
        rule = self.rule
        if not rule.unreadable or not rule.heals or request.operation not in _WRITING:
            return
        first, end = sectors_of(request)
        self._bad.remove(first, end)
        if rule.sectors is not None:
            for run in rule.sectors.within(first, end):
                self._healed.add(*run)

    def note_flush(self, time_ns: int) -> None:
        """A flush has completed."""
        self._trigger.note_flush(time_ns)
        if self.absence is not None:
            self.absence.note_flush(time_ns)

    def _fits(self, request: Request) -> bool:
        """Whether the rule can hit a request, by what that is."""
        if request.operation not in self._operations:
            return False
        size, sectors = self.rule.size, self.rule.sectors
        if self.rule.torn and request.length_bytes < 2 * SECTOR_BYTES:
            return False
        if size is not None and not size.least_bytes <= request.length_bytes <= size.most_bytes:
            return False
        return sectors is None or bool(sectors.within(*sectors_of(request)))

    def _fault(self, request: Request) -> Fault:
        rule, generator = self.rule, self._generator
        if self._error:
            return Fault(FaultKind.ERROR, self._error)
        if rule.flip is not None:
            bit_count = request.length_bytes * 8
            bits = generator.choice(bit_count, rule.flip, replace=False, shuffle=False)
            return Fault(FaultKind.FLIP, flipped_bits=bits.tolist())
        if rule.lose:
            return Fault(FaultKind.LOSE)
        if rule.torn:
            sectors = int(generator.integers(1, request.length_bytes // SECTOR_BYTES))
            return Fault(FaultKind.TORN, kept_bytes=sectors * SECTOR_BYTES)
        if rule.misdirect is not None:
            return Fault(FaultKind.MISDIRECT, moved_bytes=self._moved_bytes(request))
        return Fault(FaultKind.SLOW)

    def _moved_bytes(self, request: Request) -> int:
        """How far a request goes astray: behind the end of the disk it begins anew."""
        moved_bytes = (self.rule.misdirect or 0) * SECTOR_BYTES
        if self._size_bytes is not None:
            places = self._size_bytes - request.length_bytes + SECTOR_BYTES
            moved_bytes = (request.offset_bytes + moved_bytes) % places - request.offset_bytes
        return moved_bytes

    def _unreadable(self, request: Request, time_ns: int) -> Fault | None:
        runs = self._sectors.within(*sectors_of(request))
        if not any(self._bad.has_some(*run) for run in runs):
            if all(self._healed.has_all(*run) for run in runs):
                return None
            if not self._trigger.note_arrival(time_ns):
                return None
            for run in runs:
                self._bad.add(*run)
        self.hit_count += 1
        return Fault(FaultKind.UNREADABLE, errno.ENODATA)
