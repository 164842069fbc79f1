# SPDX-License-Identifier: GPL-2.0-or-later
"""The clock interface: the owner of time, and the emulator's turns.

The emulator's loop is the same under every clock: wait for a moment at which there is
something to do, do it, and return when the next event is due. Clocks differ in whether time
stands still between :meth:`Clock.wait` and :meth:`Clock.resume`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from freezingtime.request import Request


class DiskChannel(Protocol):
    """One client's connection to a disk: requests come in, their replies go out."""

    @property
    def disk_index(self) -> int: ...


class Arrival(NamedTuple):
    """A request and the time at which it arrived at its disk."""

    request: Request
    channel: DiskChannel
    time_ns: int
    adrift: bool = False
    """The time is not exact: it was not taken while the guest was held."""
    from_host: bool = False
    """Asked by QEMU itself while the machine does not run, not by the guest."""


class Delivery(NamedTuple):
    """The time at which a completion had reached its client."""

    disk_index: int
    cookie: int
    time_ns: int
    adrift: bool = False
    warped_ns: int = 0
    """Idle guest time skipped by then."""


class Reply(NamedTuple):
    """A reply that the client has, or gets with the verdict, and when it is to see it."""

    disk_index: int
    cookie: int
    time_ns: int


class KvmAccount(NamedTuple):
    """Cost of KVM and what the host took, in sums since the start; all 0 under another clock."""

    preemption_count: int
    """How often the host took the CPU from the guest."""
    taken_out_ns: int
    """Of guest time, for that."""
    left_in_ns: int
    """What could not be taken out of it; none of the guest's CPUs may have executed meanwhile."""
    stolen_ns: int
    """For how long the guest's CPUs had none of the host's while others of them executed."""
    skipped_ns: int
    """Skipped ahead of deadlines that a computing guest had to meet."""
    gathering_ns: int
    """How much longer accesses to devices took, as the other CPUs had to leave the guest."""
    in_cycles: int
    """Taken out of guest time at each pass through the guest, on the way in..."""
    out_cycles: int
    """...and on the way out, at a write to a device's memory."""
    tsc_khz: int
    is_signalled: int
    """1: the host tells when it takes the CPU."""

    def since(self, earlier: KvmAccount) -> KvmAccount:
        """Return the account with its sums since an earlier one."""
        return self._replace(
            preemption_count=self.preemption_count - earlier.preemption_count,
            taken_out_ns=self.taken_out_ns - earlier.taken_out_ns,
            left_in_ns=self.left_in_ns - earlier.left_in_ns,
            stolen_ns=self.stolen_ns - earlier.stolen_ns,
            skipped_ns=self.skipped_ns - earlier.skipped_ns,
            gathering_ns=self.gathering_ns - earlier.gathering_ns,
        )


@dataclass(slots=True)
class Moment:
    """A time at which the emulator has its turn."""

    now_ns: int
    arrivals: Sequence[Arrival] = ()
    deliveries: Sequence[Delivery] = ()
    must_drain: bool = False
    """Time cannot advance: everything in flight must be answered at once."""
    warped_ns: int = 0
    """Idle guest time skipped so far."""
    disturbed: bool = False
    """Something has reached the guest since the last turn that comes from the host alone."""
    kvm: KvmAccount | None = None
    """Under the KVM clock: what that has cost so far."""


@dataclass(slots=True)
class Verdict:
    """Outcome of the emulator's turn."""

    next_event_ns: int | None
    """When the next turn is to be, at the latest."""
    replies: Sequence[Reply] = ()
    """Replies that are due, in order of completion."""
    scheduled: Sequence[Reply] = ()
    """Replies that come due later, in order, each without a turn; a turn before them, for a request
    that arrives, takes them back. All are before the next event."""
    stop_machine: bool = False
    rate_hz: int | None = None
    """Instructions per second that the guest executes from here on."""
    commands: Sequence[str] = ()
    """QMP commands for QEMU to execute behind the replies that are due, before time runs again."""


class Wire(Protocol):
    """Decoded requests as they come in: the part of the wire that a clock needs."""

    def take_request(self, disk_index: int) -> tuple[Request, DiskChannel] | None:
        """The next request of a disk in order of sending, or None: not yet received."""

    def take_requests(self) -> Sequence[tuple[Request, DiskChannel]]:
        """All requests received so far, of all disks."""


class Clock(ABC):
    """Owner of time."""

    #: Whether time stands still while the emulator has its turn.
    stands_still: bool
    #: Whether later moments tell when replies were delivered.
    reports_deliveries: bool
    #: How long after the present, and after each other, deliveries may be scheduled; -1: never.
    schedule_gap_ns: int = -1

    @abstractmethod
    def now_ns(self) -> int:
        """The present time; under a clock that stands still, the current turn's."""

    @abstractmethod
    def wait(self, wire: Wire) -> Moment | None:
        """Wait for the next turn; None when it is over."""

    @abstractmethod
    def resume(self, verdict: Verdict) -> None:
        """End the turn that :meth:`wait` began."""
