# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's loop: joins wire, clock, device and medium. The heart of the project.

One turn, during which guest time stands still under the virtual clock:

1. requests that arrived start their real I/O on the medium, and the device is told, after it
   has been brought to the time of their arrival; one that fails is told first;
2. the emulator's owner, such as a machine with a job, requests changes;
3. the device is advanced to the present, event by event, and reports completions;
4. what completed waits for its medium, if it must: the freeze;
5. its replies go out, and those of completions that are foreseen;
6. the clock gets the time of the device's next event, and time runs again.

What a device foresees happens only if nothing arrives before. So the clock delivers it in its time,
without a turn; the device is brought to that time in the next turn, which hears of the delivery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from freezingtime.annotation import Annotation
from freezingtime.clock.base import (
    Arrival,
    Clock,
    Delivery,
    KvmAccount,
    Moment,
    Reply,
    Verdict,
)
from freezingtime.device.base import Device, presence_changes_of
from freezingtime.device.contract import GuardedDevice
from freezingtime.emulator.flight import ReplyWire, RequestUnderWay
from freezingtime.emulator.medium_queue import MediumQueue
from freezingtime.emulator.schedule import schedule
from freezingtime.errors import RunError
from freezingtime.medium.base import SectorError
from freezingtime.request import Fault, Operation, Request


@dataclass(frozen=True, slots=True)
class EmulatedDisk:
    """One emulated disk: *when* by the device, *where* by the queue's medium."""

    index: int
    name: str
    device: Device
    queue: MediumQueue
    internal: bool = False
    """Not one of the user's: its requests are in no figure and no record."""
    may_fail: bool = False
    """Whether the device may set a request's fault, disappear and come back."""
    orphans: Sequence[Request] = ()
    """What is under way in a device that goes on from a saved state: the guest of then has got its
    answers already."""


class CompletedRequest(NamedTuple):
    """A completed request of the guest; times in guest ns unless named otherwise."""

    disk_index: int
    operation: Operation
    offset_bytes: int
    length_bytes: int
    fua: bool
    queue_depth: int
    """How many requests the device had when this one arrived, itself included."""
    arrival_ns: int
    completion_ns: int
    """When the device completed it, which is when the guest should see it completed."""
    delivery_ns: int
    """When it really was delivered."""
    warped_ns: int
    """Of the time from arrival to completion, what the guest idled and was skipped."""
    frozen_host_ns: int
    """Host time for which guest time stood still waiting for the medium."""
    medium_host_ns: int
    """Host time that the medium took."""
    on_time: bool
    sequence: int
    """Its place among the run's requests in order of arrival, from 0."""
    annotation: Annotation | None = None
    """What the device says of it."""
    fault: Fault | None = None
    """What a device that fails on purpose did to it."""
    taken_out_ns: int = 0
    """Under the KVM clock: what the host took from the guest meanwhile, and guest time has not."""
    left_in_ns: int = 0
    """What of that guest time may have, at most."""


@dataclass(slots=True)
class Totals:
    """Running totals. Written by the emulator's thread, read by any."""

    now_ns: int = 0
    warped_ns: int = 0
    frozen_host_ns: int = 0
    turn_count: int = 0
    waiting_for: str | None = None
    """The medium for which guest time currently stands still."""
    device_at_work: str | None = None
    """The disk whose device is being called at present: none of its calls may take long."""
    request_count: int = 0
    late_count: int = 0
    worst_late_ns: int = 0
    kvm: KvmAccount | None = None
    """Under the KVM clock: what that has cost so far."""
    lateness: Counter[int] = field(default_factory=Counter)
    """Under the KVM clock: how many requests were delivered how many ns after they were due."""
    disturbed_ns: int | None = None
    """When the host was first seen to reach into the guest; None: never."""

    def since(self, start: Totals) -> Totals:
        """Return a copy in which the clock's sums are those since an earlier one."""
        kvm = self.kvm and start.kvm and self.kvm.since(start.kvm)
        return replace(self, warped_ns=self.warped_ns - start.warped_ns, kvm=kvm)


@dataclass(slots=True)
class Steering:
    """Changes that a turn makes beside serving requests; none by default."""

    replace_disks: Sequence[EmulatedDisk] = ()
    """Take the places of the disks with their indexes, which have nothing under way then."""
    alarm_ns: int | None = None
    """A guest time at which to take a turn, replacing the previous one."""
    end_record: bool = False
    """Count and record no request that is delivered from now on, and let no alarm ring.

    Devices and deliveries are as exact as before.
    """
    begin_record: bool = False
    """Count and record again, and let alarms ring: another job begins."""
    stop_machine: bool = False
    """Stop the guest at the end of this turn."""
    rate_hz: int | None = None
    """The guest CPU's speed from the end of this turn on."""


def _guarded(disk: EmulatedDisk) -> GuardedDevice:
    return GuardedDevice(disk.device, disk.name, orphans=disk.orphans)


def _ignore(_: CompletedRequest) -> None:
    pass


@dataclass(slots=True)
class Emulator:
    """The loop and its state; :meth:`run` belongs to one thread."""

    disks: list[EmulatedDisk]
    clock: Clock
    wire: ReplyWire
    on_completed: Callable[[CompletedRequest], None] = _ignore
    totals: Totals = field(default_factory=Totals)
    resolution_ns: int = 1
    """A completion that is delivered less late than this is on time.

    Under the virtual clock: the guest's time between two instructions, rounded up, as no interrupt
    can come between them."""
    steer: Callable[[bool], Steering] = lambda alarm_rings: Steering()
    """Called once a turn, after its requests have arrived, with whether the alarm rings."""
    plug: Callable[[int, bool], Sequence[str]] = lambda disk_index, is_there: ()
    """The clock's peer's commands that take a disk away, or give it back."""
    _devices: list[GuardedDevice] = field(init=False)
    _in_device: dict[Request, RequestUnderWay] = field(default_factory=dict)
    _queue_depths: Counter[int] = field(default_factory=Counter)
    _awaiting_medium: list[RequestUnderWay] = field(default_factory=list)
    _awaiting_delivery: dict[tuple[int, int], RequestUnderWay] = field(default_factory=dict)
    _scheduled: dict[tuple[int, int], RequestUnderWay] = field(default_factory=dict)
    _arrived_count: int = 0
    _alarm_ns: int | None = None
    _record_ended: bool = False

    def __post_init__(self) -> None:
        self._devices = [_guarded(disk) for disk in self.disks]

    def run(self) -> None:
        """Serve until the clock ends.

        Raises:
            RunError: a device broke its contract, a medium failed or missed its deadline, or
                the clock's peer misbehaved.
        """
        while (moment := self.clock.wait(self.wire)) is not None:
            self._take_in(moment)
            steering = self._take_steering(moment.now_ns)
            self._advance_devices(moment.now_ns)
            if moment.must_drain:
                self._drain()
            for disk in steering.replace_disks:
                self._replace(disk)
            replies = self._reply_to_completed()
            scheduled, then_ns = self._send_foreseen(steering)
            # In this order: what a socket does not take at once goes out in flush(), while the
            # peer reads. Under the virtual clock that is the agent, which reads replies only once
            # this order has told it of them; flush() first would wait for a reader that waits
            # for us. Guest time cannot pass in between: the agent holds the guest until it has
            # received and delivered every reply that the order names.
            self.clock.resume(
                Verdict(
                    *(then_ns, replies, scheduled, steering.stop_machine, steering.rate_hz),
                    commands=self._plug_commands(),
                )
            )
            self.wire.flush()

    def guarded_device(self, disk_index: int) -> GuardedDevice:
        """Return a disk's device. Others than :meth:`run`'s thread while the machine is stopped."""
        return self._devices[disk_index]

    def _take_in(self, moment: Moment) -> None:
        totals = self.totals
        totals.now_ns = moment.now_ns
        totals.warped_ns = moment.warped_ns
        totals.turn_count += 1
        totals.kvm = moment.kvm
        if moment.disturbed and totals.disturbed_ns is None and not self._record_ended:
            totals.disturbed_ns = moment.now_ns
        for disk_index, cookie, *_ in moment.deliveries:
            if flight := self._scheduled.pop((disk_index, cookie), None):
                flight.delivered = True
                self._awaiting_delivery[disk_index, cookie] = flight
        for delivery in moment.deliveries:
            self._account(delivery)
        submitted_ns = None
        for arrival in moment.arrivals:
            if arrival.time_ns != submitted_ns:
                # What arrives together is submitted together, behind the events of that time:
                # an arrival may be due to one of them, but none of them to an arrival.
                self._advance_devices(arrival.time_ns)
                submitted_ns = arrival.time_ns
            self._accept(arrival)

    def _take_steering(self, now_ns: int) -> Steering:
        alarm_rings = self._alarm_ns is not None and now_ns >= self._alarm_ns
        if alarm_rings:
            self._alarm_ns = None
        steering = self.steer(alarm_rings)
        if steering.begin_record:
            self._record_ended = False
        if steering.alarm_ns is not None:
            self._alarm_ns = steering.alarm_ns
        if steering.end_record:
            self._record_ended = True
        if self._record_ended:
            self._alarm_ns = None
        return steering

    def _replace(self, disk: EmulatedDisk) -> None:
        if any(flight.channel.disk_index == disk.index for flight in self._in_device.values()):
            raise RuntimeError(f"disk {disk.name} replaced with a request under way")
        self.disks[disk.index] = disk
        self._devices[disk.index] = _guarded(disk)

    def _accept(self, arrival: Arrival) -> None:
        request, channel, time_ns, adrift, from_host = arrival
        disk = self.disks[channel.disk_index]
        # The medium works while the device is told, unless that decides which bytes are moved.
        transfer = None if disk.may_fail else disk.queue.start(request)
        if not from_host:
            self.totals.device_at_work = disk.name
            self._devices[disk.index].submit(request, time_ns)
            self.totals.device_at_work = None
        flight = RequestUnderWay(
            request,
            channel,
            time_ns,
            disk.queue.start(request) if transfer is None else transfer,
            exact=not adrift,
            from_host=from_host,
            queue_depth=self._queue_depths[disk.index] + 1,
            warped_before_ns=self.totals.warped_ns,
            kvm_before=self.totals.kvm,
            sequence=self._arrived_count,
        )
        if from_host:
            # The machine stands: no guest has asked, so no device decides when.
            self._awaiting_medium.append(flight)
        else:
            if not disk.internal:
                self._arrived_count += 1
            self._in_device[request] = flight
            self._queue_depths[disk.index] += 1

    def _advance_devices(self, now_ns: int) -> None:
        for disk, device in zip(self.disks, self._devices, strict=True):
            self.totals.device_at_work = disk.name
            while (event_ns := device.next_event_ns()) is not None and event_ns <= now_ns:
                for request in device.advance(event_ns):
                    self._complete(request, event_ns)
        self.totals.device_at_work = None

    def _complete(self, request: Request, event_ns: int) -> None:
        flight = self._in_device.pop(request)
        self._queue_depths[flight.channel.disk_index] -= 1
        if not flight.answered:
            flight.completion_ns = event_ns
            if not flight.delivered:
                self._awaiting_medium.append(flight)

    def _drain(self) -> None:
        """Time cannot reach the devices' events: answer, and advance the devices alone.

        What a fault keeps back is ended by the guest, which has given up on it and resets the
        controller, and with it all that its disk has under way: that is the very time at which it
        should be over. Other disks are answered if QEMU waits on, and so drains once more.
        """
        waiting = [flight for flight in self._in_device.values() if not flight.answered]
        reset = {
            flight.channel.disk_index for flight in waiting if flight.request.fault is not None
        }
        for flight in waiting:
            given_up = flight.channel.disk_index in reset
            if reset and not given_up:
                continue
            flight.answered = True
            flight.exact = False
            flight.given_up = given_up
            flight.completion_ns = self.totals.now_ns
            self._awaiting_medium.append(flight)

    def _reply_to_completed(self) -> Sequence[Reply]:
        """Answer what the devices completed; under a clock that stands still, all of it.

        Returns the replies in order of completion.
        """
        if not self._awaiting_medium:
            return ()
        waiting = []
        replies = []
        for flight in self._awaiting_medium:
            if self.clock.stands_still:
                self._freeze(flight)
            elif not flight.transfer.done:
                waiting.append(flight)
                continue
            self._reply(flight)
            replies.append(Reply(*flight.key, flight.completion_ns))
        self._awaiting_medium = waiting
        return replies

    def _freeze(self, flight: RequestUnderWay) -> None:
        disk = self.disks[flight.channel.disk_index]
        if not flight.transfer.done:
            self.totals.waiting_for = f"{disk.name}: {disk.queue.medium.describe()}"
        flight.frozen_host_ns = disk.queue.wait(flight.transfer)
        self.totals.frozen_host_ns += flight.frozen_host_ns
        self.totals.waiting_for = None
        if flight.transfer.error is not None and not isinstance(flight.transfer.error, SectorError):
            # The medium's faults are not the device's: the guest must not see them.
            error = flight.transfer.error
            raise RunError(f"the medium failed: {error.strerror or error}") from error

    def _reply(self, flight: RequestUnderWay) -> None:
        flight.warped_ns = self.totals.warped_ns - flight.warped_before_ns
        flight.kvm_after = self.totals.kvm
        flight.send(self.wire)
        if self.clock.reports_deliveries:
            self._awaiting_delivery[flight.key] = flight
        else:
            self._record(flight, self.clock.now_ns(), on_time=True)

    def _send_foreseen(self, steering: Steering) -> tuple[Sequence[Reply], int | None]:
        """Send what completes without a turn of ours; return it, and when the next turn is."""
        self._scheduled.clear()
        completions, then_ns = schedule(
            [device.foresee() for device in self._devices],
            until_ns=self._alarm_ns,
            now_ns=self.totals.now_ns,
            gap_ns=-1 if steering.stop_machine else self.clock.schedule_gap_ns,
            is_ready=lambda request: self._in_device[request].may_be_sent,
        )
        replies = []
        for time_ns, request in completions:
            flight = self._in_device[request]
            flight.send(self.wire)
            self._scheduled[flight.key] = flight
            replies.append(Reply(*flight.key, time_ns))
        return replies, then_ns

    def _plug_commands(self) -> list[str]:
        """Have disks disappear and come back whose devices did so in this turn."""
        return [
            command
            for disk in self.disks
            if disk.may_fail
            for is_there in presence_changes_of(disk.device)
            for command in self.plug(disk.index, is_there)
        ]

    def _account(self, delivery: Delivery) -> None:
        """The audit: was the completion delivered when the device said?"""
        flight = self._awaiting_delivery.pop((delivery.disk_index, delivery.cookie))
        if flight.delivered:
            self._advance_devices(delivery.time_ns)
            if flight.request in self._in_device:
                raise RunError(
                    f"disk {delivery.disk_index}: a request was delivered at "
                    f"{delivery.time_ns} ns, before the device has completed it"
                )
            flight.warped_ns = delivery.warped_ns - flight.warped_before_ns
        if flight.from_host:
            return
        exact = flight.given_up or (flight.exact and not delivery.adrift)
        late_ns = delivery.time_ns - flight.completion_ns
        _, left_in_ns = self._taken(flight)
        on_time = exact and late_ns >= 0 and late_ns + left_in_ns < self.resolution_ns
        self._record(flight, delivery.time_ns, on_time=on_time)

    def _taken(self, flight: RequestUnderWay) -> tuple[int, int]:
        """What the host took from the guest while a request was under way: out, and left in.

        Of one that was delivered without a turn, it is known at the next turn.
        """
        before, after = flight.kvm_before, flight.kvm_after or self.totals.kvm
        if before is None or after is None:
            return 0, 0
        meanwhile = after.since(before)
        return meanwhile.taken_out_ns, meanwhile.left_in_ns

    def _record(self, flight: RequestUnderWay, delivery_ns: int, *, on_time: bool) -> None:
        request = flight.request
        if self._record_ended or self.disks[flight.channel.disk_index].internal:
            return
        totals = self.totals
        totals.request_count += 1
        late_ns = delivery_ns - flight.completion_ns
        taken_out_ns, left_in_ns = self._taken(flight)
        if totals.kvm is not None:
            totals.lateness[late_ns] += 1
        if not on_time:
            totals.late_count += 1
            totals.worst_late_ns = max(totals.worst_late_ns, late_ns + left_in_ns)
        self.on_completed(
            CompletedRequest(
                flight.channel.disk_index,
                request.operation,
                request.offset_bytes,
                request.length_bytes,
                request.fua,
                flight.queue_depth,
                flight.arrival_ns,
                flight.completion_ns,
                delivery_ns,
                flight.warped_ns,
                flight.frozen_host_ns,
                flight.transfer.duration_ns,
                on_time,
                flight.sequence,
                request.annotation,
                request.fault,
                taken_out_ns,
                left_in_ns,
            )
        )
