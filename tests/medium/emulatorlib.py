# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulated clock and wire for the emulator's loop: no socket, no guest, no real time.

The simulated clock does what the agent does: it stands still during a turn, moves on to the
next arrival or to the next event that the emulator announced, and reports at the next turn
when the replies of the last one were delivered, and those that were scheduled since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from freezingtime.clock.base import (
    Arrival,
    Clock,
    Delivery,
    DiskChannel,
    Moment,
    Reply,
    Verdict,
    Wire,
)
from freezingtime.device.base import Device
from freezingtime.device.constant import ConstantDevice
from freezingtime.emulator.loop import CompletedRequest, EmulatedDisk, Emulator, Steering
from freezingtime.emulator.medium_queue import MediumQueue
from freezingtime.medium.base import Medium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Buffer, Operation, Request

MIB = 2**20


@dataclass(frozen=True)
class FakeChannel:
    disk_index: int = 0


@dataclass
class FakeWire:
    """Keeps what is sent. Requests come from the clock's script, so none is ever received."""

    replies: list[tuple[Request, bytes]] = field(default_factory=list)
    errors: list[tuple[Request, OSError]] = field(default_factory=list)
    undelivered: list[tuple[DiskChannel, Request]] = field(default_factory=list)
    flush_count: int = 0

    def take_request(self, disk_index: int) -> tuple[Request, DiskChannel] | None:
        raise AssertionError(f"nothing to receive on disk {disk_index}")

    def take_requests(self) -> Sequence[tuple[Request, DiskChannel]]:
        raise AssertionError("nothing to receive")

    def reply(self, channel: DiskChannel, request: Request, data: Buffer) -> None:
        self.replies.append((request, bytes(data)))
        self.undelivered.append((channel, request))

    def reply_error(self, channel: DiskChannel, request: Request, error: OSError) -> None:
        self.errors.append((request, error))
        self.undelivered.append((channel, request))

    def flush(self) -> None:
        self.flush_count += 1


class SimulatedClock(Clock):
    """Guest time as a script of arrivals. Once it has run out, time ends after the last event.

    The guest idles all the time, so that all time is skipped.
    """

    stands_still = True
    reports_deliveries = True

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        wire: FakeWire,
        *,
        late_ns: Callable[[Request], int] = lambda request: 0,
        adrift: Callable[[Request], bool] = lambda request: False,
        drains_at_ns: int | None = None,
        disturbed_from_ns: int | None = None,
        schedule_gap_ns: int = -1,
    ) -> None:
        self.schedule_gap_ns = schedule_gap_ns
        self._sent: dict[tuple[int, int], Request] = {}
        self._delivered: list[Delivery] = []
        self._arrivals = sorted(arrivals, key=lambda arrival: arrival.time_ns)
        self._wire = wire
        self._late_ns = late_ns
        self._adrift = adrift
        self._drains_at_ns = drains_at_ns
        self._disturbed_from_ns = disturbed_from_ns
        self._now_ns = 0
        self._verdict = Verdict(None)
        self.verdicts: list[Verdict] = []

    def now_ns(self) -> int:
        return self._now_ns

    def wait(self, wire: Wire) -> Moment | None:
        assert wire is self._wire
        times_ns = [arrival.time_ns for arrival in self._arrivals[:1]]
        if self._drains_at_ns is not None:
            times_ns.append(self._drains_at_ns)
        for reply in self._verdict.scheduled:
            if times_ns and reply.time_ns >= min(times_ns):
                break
            assert reply.time_ns >= self._now_ns
            self._now_ns = reply.time_ns
            self._deliver(reply)
        else:
            if self._verdict.next_event_ns is not None:
                assert self._verdict.next_event_ns > self._now_ns or not self._verdict.scheduled
                times_ns.append(self._verdict.next_event_ns)
        deliveries, self._delivered = self._delivered, []
        if not times_ns:
            return Moment(self._now_ns, deliveries=deliveries) if deliveries else None
        assert min(times_ns) >= self._now_ns, "an event in the past"
        self._now_ns = min(times_ns)
        return Moment(
            self._now_ns,
            self._due_arrivals(),
            deliveries,
            self._is_drain_due(),
            warped_ns=self._now_ns,
            disturbed=self._is_disturbed(),
        )

    def _is_disturbed(self) -> bool:
        return self._disturbed_from_ns is not None and self._now_ns >= self._disturbed_from_ns

    def resume(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.verdicts.append(verdict)
        for channel, request in self._wire.undelivered:
            assert (channel.disk_index, request.cookie) not in self._sent
            self._sent[channel.disk_index, request.cookie] = request
        self._wire.undelivered.clear()
        for reply in verdict.replies:
            self._deliver(reply)

    def _deliver(self, reply: Reply) -> None:
        request = self._sent.pop((reply.disk_index, reply.cookie))
        self._delivered.append(
            Delivery(
                reply.disk_index,
                reply.cookie,
                self._now_ns + self._late_ns(request),
                self._adrift(request),
                warped_ns=self._now_ns,
            )
        )

    def _due_arrivals(self) -> list[Arrival]:
        due = [arrival for arrival in self._arrivals if arrival.time_ns <= self._now_ns]
        self._arrivals = self._arrivals[len(due) :]
        return due

    def _is_drain_due(self) -> bool:
        if self._drains_at_ns is None or self._drains_at_ns > self._now_ns:
            return False
        self._drains_at_ns = None
        return True


@dataclass
class Script:
    """Steers an emulator: its first turn by the first, and each alarm by the next."""

    steps: list[Steering]
    emulator: Emulator
    rung_ns: list[int] = field(default_factory=list)
    turn_count: int = 0

    def __post_init__(self) -> None:
        self.emulator.steer = self.steer

    def steer(self, alarm_rings: bool) -> Steering:
        self.turn_count += 1
        if alarm_rings:
            self.rung_ns.append(self.emulator.totals.now_ns)
        return self.steps.pop(0) if alarm_rings or self.turn_count == 1 else Steering()


class SlowMedium(MemoryMedium):
    """Memory in which each call takes its time, the next of ``delays_s``, over and over."""

    may_block = True

    def __init__(self, *delays_s: float) -> None:
        super().__init__(MIB)
        self._delays_s = delays_s
        self._calls = 0

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        self._sleep()
        return super().read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: Buffer) -> None:
        self._sleep()
        super().write(offset_bytes, data)

    def _sleep(self) -> None:
        self._calls += 1
        time.sleep(self._delays_s[self._calls % len(self._delays_s)])


class BrokenMedium(MemoryMedium):
    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        raise OSError(5, f"file:/broken: cannot read {length_bytes} bytes at {offset_bytes}")


def arrival(
    time_ns: int,
    operation: Operation = Operation.READ,
    *,
    cookie: int | None = None,
    offset_bytes: int = 0,
    data: bytes | None = None,
    disk_index: int = 0,
    adrift: bool = False,
    from_host: bool = False,
) -> Arrival:
    length_bytes = len(data) if data is not None else 4096
    request = Request(
        operation, offset_bytes, length_bytes, data, cookie=time_ns if cookie is None else cookie
    )
    return Arrival(request, FakeChannel(disk_index), time_ns, adrift, from_host)


def constant(service_ns: int) -> Device:
    return ConstantDevice(
        read_ns=service_ns, write_ns=2 * service_ns, flush_ns=service_ns, discard_ns=service_ns
    )


@dataclass
class Run:
    """A run of the emulator over a script, and all that came of it."""

    emulator: Emulator
    clock: SimulatedClock
    wire: FakeWire
    completed: list[CompletedRequest]


def run(
    arrivals: Sequence[Arrival],
    workers: ThreadPoolExecutor,
    *,
    device: Device | None = None,
    medium: Medium | None = None,
    second_disk: EmulatedDisk | None = None,
    deadline_s: float = 60.0,
    late_ns: Callable[[Request], int] = lambda request: 0,
    adrift: Callable[[Request], bool] = lambda request: False,
    drains_at_ns: int | None = None,
    disturbed_from_ns: int | None = None,
    schedule_gap_ns: int = -1,
) -> Run:
    wire = FakeWire()
    clock = SimulatedClock(
        arrivals,
        wire,
        late_ns=late_ns,
        adrift=adrift,
        drains_at_ns=drains_at_ns,
        disturbed_from_ns=disturbed_from_ns,
        schedule_gap_ns=schedule_gap_ns,
    )
    queue = MediumQueue(medium or MemoryMedium(MIB), workers, deadline_s)
    disks = [EmulatedDisk(0, "disk1", device or constant(1000), queue)]
    if second_disk is not None:
        disks.append(second_disk)
    completed: list[CompletedRequest] = []
    emulator = Emulator(disks, clock, wire, completed.append)
    emulator.run()
    return Run(emulator, clock, wire, completed)
