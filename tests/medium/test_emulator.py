# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's loop on a simulated clock and wire: no socket, no guest, no real time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.clock.base import Arrival, Moment, Wire
from freezingtime.device.base import Device
from freezingtime.device.constant import ConstantDevice
from freezingtime.emulator.loop import CompletedRequest, EmulatedDisk, Emulator, Steering
from freezingtime.emulator.medium_queue import MediumQueue
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Buffer, Operation, Request
from tests.medium.emulatorlib import (
    MIB,
    BrokenMedium,
    FakeChannel,
    FakeWire,
    Script,
    SimulatedClock,
    SlowMedium,
    arrival,
    constant,
    run,
)


class LoggingDevice(ConstantDevice):
    """1000 ns for everything; keeps what it is told, in order."""

    def __init__(self) -> None:
        super().__init__(read_ns=1000, write_ns=1000, flush_ns=1000, discard_ns=1000)
        self.log: list[str] = []

    def submit(self, request: Request, now_ns: int) -> None:
        self.log.append(f"submit {now_ns}")
        super().submit(request, now_ns)

    def advance(self, now_ns: int) -> list[Request]:
        self.log.append(f"advance {now_ns}")
        return super().advance(now_ns)


def test_requests_that_arrive_with_an_event_are_submitted_behind_it_together(
    workers: ThreadPoolExecutor,
) -> None:
    device = LoggingDevice()
    arrivals = [arrival(100), arrival(1100, cookie=1), arrival(1100, cookie=2)]
    ran = run(arrivals, workers, device=device)
    assert device.log == [
        *("submit 100", "advance 1100", "submit 1100", "submit 1100", "advance 2100"),
    ]
    assert [record.sequence for record in ran.completed] == [0, 1, 2]


def test_requests_complete_exactly_when_the_device_says(workers: ThreadPoolExecutor) -> None:
    ran = run(
        [arrival(100), arrival(150), arrival(5000, Operation.WRITE, data=b"x" * 512)], workers
    )
    times = [
        (record.arrival_ns, record.completion_ns, record.delivery_ns) for record in ran.completed
    ]
    assert times == [(100, 1100, 1100), (150, 1150, 1150), (5000, 7000, 7000)]
    assert all(record.on_time for record in ran.completed)
    assert ran.emulator.totals.request_count == 3
    assert ran.emulator.totals.late_count == 0
    assert ran.emulator.totals.now_ns == 7000


def test_a_request_knows_the_queue_that_it_met_and_what_was_skipped(
    workers: ThreadPoolExecutor,
) -> None:
    ran = run([arrival(at_ns) for at_ns in (100, 150, 1099, 1101, 5000)], workers)
    assert [record.queue_depth for record in ran.completed] == [1, 2, 3, 3, 1]
    assert [record.warped_ns for record in ran.completed] == [1000] * 5


def test_the_clock_is_told_the_next_event_and_how_many_replies_to_await(
    workers: ThreadPoolExecutor,
) -> None:
    ran = run([arrival(0), arrival(0, cookie=1), arrival(400, cookie=2)], workers)
    turns = [(verdict.next_event_ns, len(verdict.replies)) for verdict in ran.clock.verdicts]
    assert turns == [(1000, 0), (1000, 0), (1400, 2), (None, 1), (None, 0)]
    assert ran.wire.flush_count == len(turns)


def test_reads_see_what_arrived_before_them(workers: ThreadPoolExecutor) -> None:
    """Whatever the device's order: here the write completes after the read."""
    script = [
        arrival(0, Operation.WRITE, data=b"a" * 4096),
        arrival(1),
        arrival(2, Operation.WRITE, data=b"b" * 4096),
        arrival(3),
    ]
    ran = run(script, workers, medium=SlowMedium(0.005, 0.0))
    reads = [data for request, data in ran.wire.replies if request.operation is Operation.READ]
    assert reads == [b"a" * 4096, b"b" * 4096]


def test_a_slow_medium_freezes_time_and_changes_nothing(workers: ThreadPoolExecutor) -> None:
    script = [arrival(0), arrival(10, offset_bytes=4096)]
    quick = run(script, workers)
    slow = run(script, workers, medium=SlowMedium(0.02))
    assert [guest_view(record) for record in slow.completed] == [
        guest_view(record) for record in quick.completed
    ]
    assert slow.emulator.totals.late_count == 0
    assert slow.completed[0].medium_host_ns >= 20_000_000
    assert slow.emulator.totals.frozen_host_ns > 0
    assert sum(record.frozen_host_ns for record in slow.completed) == (
        slow.emulator.totals.frozen_host_ns
    )
    assert quick.emulator.totals.frozen_host_ns == 0


def guest_view(record: CompletedRequest) -> tuple[object, ...]:
    return (*record[:8], record.on_time)


def test_a_medium_that_is_done_in_time_freezes_nothing(workers: ThreadPoolExecutor) -> None:
    """The second request's turn, 50 ms of host time later, finds the first one's medium done."""
    ran = run([arrival(0)], workers, device=SleepyDevice(50e-3), medium=SlowMedium(0.001))
    assert ran.completed[0].frozen_host_ns == 0
    assert ran.completed[0].medium_host_ns >= 1_000_000


class SleepyDevice(ConstantDevice):
    """A model that takes long to compute, which no guest must notice."""

    def __init__(self, host_s: float) -> None:
        super().__init__(read_ns=1000, write_ns=1000, flush_ns=1000, discard_ns=1000)
        self._host_s = host_s

    def submit(self, request: Request, now_ns: int) -> None:
        super().submit(request, now_ns)
        time.sleep(self._host_s)


class PhasedDevice(Device):
    """Wakes up at multiples of 100 ns for itself, and completes one request each time it does."""

    def __init__(self) -> None:
        self._pending: list[Request] = []
        self._now_ns = 0

    def submit(self, request: Request, now_ns: int) -> None:
        self._pending.append(request)
        self._now_ns = now_ns

    def next_event_ns(self) -> int | None:
        return self._now_ns // 100 * 100 + 100 if self._pending else None

    def advance(self, now_ns: int) -> list[Request]:
        self._now_ns = now_ns
        return [self._pending.pop(0)]


def test_a_device_may_act_between_requests(workers: ThreadPoolExecutor) -> None:
    ran = run([arrival(5), arrival(6), arrival(7), arrival(250)], workers, device=PhasedDevice())
    assert [record.completion_ns for record in ran.completed] == [100, 200, 300, 400]
    assert all(record.on_time for record in ran.completed)


@given(
    script=st.lists(
        st.tuples(
            st.integers(0, 50_000),
            st.sampled_from([Operation.READ, Operation.WRITE, Operation.FLUSH]),
            st.integers(0, 7),
        ),
        max_size=30,
    ),
    service_ns=st.integers(0, 10_000),
    delay_us=st.sampled_from([0, 200]),
)
@settings(max_examples=50)
def test_every_request_is_answered_once_and_on_time(
    script: list[tuple[int, Operation, int]],
    service_ns: int,
    delay_us: int,
    workers: ThreadPoolExecutor,
) -> None:
    """With its data, which is what had arrived before it, and whatever the medium's speed."""
    arrivals = [
        arrival(
            time_ns,
            operation,
            cookie=cookie,
            offset_bytes=block * 4096,
            data=bytes([cookie % 251 + 1]) * 4096 if operation is Operation.WRITE else None,
        )
        for cookie, (time_ns, operation, block) in enumerate(script)
    ]
    for each in arrivals:
        if each.request.operation is Operation.FLUSH:
            each.request.offset_bytes = each.request.length_bytes = 0
    model = bytearray(MIB)
    expected = {}
    for each in sorted(arrivals, key=lambda each: each.time_ns):
        request = each.request
        place = slice(request.offset_bytes, request.end_bytes)
        if request.operation is Operation.WRITE:
            model[place] = request.data or b""
        expected[request.cookie] = (
            bytes(model[place]) if request.operation is Operation.READ else b""
        )
    ran = run(
        arrivals, workers, device=constant(service_ns), medium=SlowMedium(0.0, delay_us / 1e6)
    )
    assert {request.cookie: data for request, data in ran.wire.replies} == expected
    assert len(ran.wire.replies) == len(arrivals)
    for record in ran.completed:
        twice = 2 if record.operation is Operation.WRITE else 1
        assert record.delivery_ns == record.completion_ns == record.arrival_ns + twice * service_ns
        assert record.on_time


class RunningClock(SimulatedClock):
    """The host's clock as the emulator sees it: nothing stands still, no delivery is reported."""

    stands_still = False
    reports_deliveries = False

    def wait(self, wire: Wire) -> Moment | None:
        self._delivered.clear()
        return super().wait(wire)


class GatedMedium(MemoryMedium):
    """Memory that is read only once the gate is open."""

    may_block = True

    def __init__(self) -> None:
        super().__init__(MIB)
        self.gate = threading.Event()

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        assert self.gate.wait(60.0)
        return super().read(offset_bytes, length_bytes)


class OpeningDevice(ConstantDevice):
    """Takes 1 us; at a flush it opens a medium's gate and waits for two transfers' ends."""

    def __init__(self, gate: threading.Event, done: threading.Semaphore) -> None:
        super().__init__(read_ns=1000, write_ns=1000, flush_ns=1000, discard_ns=1000)
        self._gate = gate
        self._done = done

    def submit(self, request: Request, now_ns: int) -> None:
        if request.operation is Operation.FLUSH:
            self._gate.set()
            for _ in range(2):
                assert self._done.acquire(timeout=60.0)
        super().submit(request, now_ns)


def test_under_a_clock_that_runs_a_reply_waits_for_device_and_medium(
    workers: ThreadPoolExecutor,
) -> None:
    """The device is done at 1000, the medium at 5000; no turn waits for it."""
    wire, medium, done = FakeWire(), GatedMedium(), threading.Semaphore(0)
    flush = Arrival(Request(Operation.FLUSH, 0, 0, cookie=2), FakeChannel(), 5000)
    clock = RunningClock([arrival(0, cookie=1), flush], wire)
    queue = MediumQueue(medium, workers, 60.0, on_done=done.release)
    completed: list[CompletedRequest] = []
    disk = EmulatedDisk(0, "disk1", OpeningDevice(medium.gate, done), queue)
    Emulator([disk], clock, wire, completed.append).run()
    read = next(record for record in completed if record.operation is Operation.READ)
    assert (read.completion_ns, read.delivery_ns, read.on_time) == (1000, 5000, True)
    assert not clock.verdicts[1].replies


def test_under_a_clock_that_runs_the_client_is_told_of_a_fault(workers: ThreadPoolExecutor) -> None:
    wire = FakeWire()
    queue = MediumQueue(BrokenMedium(MIB), workers, 60.0)
    clock = RunningClock([arrival(0)], wire)
    Emulator([EmulatedDisk(0, "disk1", constant(10), queue)], clock, wire).run()
    ((request, error),) = wire.errors
    assert request.cookie == 0
    assert "file:/broken" in str(error)


def test_an_alarm_rings_at_its_time_and_once(workers: ThreadPoolExecutor) -> None:
    """It ends a turn of its own, at which the machine may be stopped."""
    wire = FakeWire()
    clock = SimulatedClock([arrival(100)], wire)
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    emulator = Emulator([EmulatedDisk(0, "disk1", constant(1000), queue)], clock, wire)
    script = Script([Steering(alarm_ns=777), Steering(stop_machine=True, rate_hz=5)], emulator)
    emulator.run()
    assert script.rung_ns == [777]
    assert [verdict.next_event_ns for verdict in clock.verdicts[:2]] == [777, 1100]
    assert [verdict.stop_machine for verdict in clock.verdicts].count(True) == 1
    assert [verdict.rate_hz for verdict in clock.verdicts].count(5) == 1
    assert clock.verdicts[1].stop_machine
    assert script.turn_count == emulator.totals.turn_count == len(clock.verdicts)


def test_a_replaced_disk_has_the_new_device_from_the_next_turn_on(
    workers: ThreadPoolExecutor,
) -> None:
    wire = FakeWire()
    clock = SimulatedClock([arrival(100), arrival(5000)], wire)
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    completed: list[CompletedRequest] = []
    before = EmulatedDisk(0, "disk1", constant(0), queue, internal=True)
    after = EmulatedDisk(0, "disk1", constant(300), queue)
    emulator = Emulator([before], clock, wire, completed.append)
    Script([Steering(alarm_ns=2000), Steering(replace_disks=[after])], emulator)
    emulator.run()
    assert [(each.arrival_ns, each.completion_ns) for each in completed] == [(5000, 5300)]


class Speaking(MemoryMedium):
    """Has something to say of what is written to it, as the control disk does."""

    def __init__(self) -> None:
        super().__init__(MIB)
        self.said: list[bytes] = []

    def write(self, offset_bytes: int, data: Buffer) -> None:
        self.said.append(bytes(data[:1]))


def test_what_a_turns_requests_ask_for_changes_nothing_before_all_are_taken_in(
    workers: ThreadPoolExecutor,
) -> None:
    """Steering is asked once, with everything that has arrived on the media."""
    wire = FakeWire()
    medium = Speaking()
    words = [arrival(100, Operation.WRITE, cookie=n, data=b"R") for n in (1, 2)]
    clock = SimulatedClock([words[0], arrival(100, disk_index=1), words[1]], wire)
    queues = [MediumQueue(each, workers, 60.0) for each in (medium, MemoryMedium(MIB))]
    emulator = Emulator(
        [EmulatedDisk(n, f"disk{n}", constant(9), queues[n]) for n in (0, 1)], clock, wire
    )
    heard: list[tuple[int, int]] = []

    def steer(alarm_rings: bool) -> Steering:
        heard.append((emulator.totals.now_ns, len(medium.said)))
        return Steering()

    emulator.steer = steer
    emulator.run()
    assert heard[0] == (100, 2)
    assert len(heard) == emulator.totals.turn_count


def test_an_ended_record_counts_nothing_more_and_rings_no_alarm(
    workers: ThreadPoolExecutor,
) -> None:
    """What is under way at the end, or comes after it, is served on time all the same."""
    wire = FakeWire()
    clock = SimulatedClock([arrival(100), arrival(4000), arrival(9000)], wire)
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    recorded: list[CompletedRequest] = []
    emulator = Emulator(
        [EmulatedDisk(0, "disk1", constant(1000), queue)], clock, wire, recorded.append
    )
    script = Script([Steering(alarm_ns=4500), Steering(end_record=True, alarm_ns=20_000)], emulator)
    emulator.run()
    assert [completed.arrival_ns for completed in recorded] == [100]
    assert emulator.totals.request_count == 1
    assert script.rung_ns == [4500]
    assert sum(len(verdict.replies) for verdict in clock.verdicts) == 3


def test_a_record_begins_again_with_the_next_job(workers: ThreadPoolExecutor) -> None:
    wire = FakeWire()
    clock = SimulatedClock([arrival(100), arrival(4000), arrival(9000)], wire)
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    recorded: list[CompletedRequest] = []
    emulator = Emulator(
        [EmulatedDisk(0, "disk1", constant(1000), queue)], clock, wire, recorded.append
    )
    rung_ns: list[int] = []

    def steer(alarm_rings: bool) -> Steering:
        now_ns = emulator.totals.now_ns
        if alarm_rings:
            rung_ns.append(now_ns)
        if now_ns == 100:
            return Steering(alarm_ns=2000)
        if now_ns == 9000:
            return Steering(begin_record=True, alarm_ns=9500)
        return Steering(end_record=now_ns == 2000)

    emulator.steer = steer
    emulator.run()
    assert [completed.arrival_ns for completed in recorded] == [100, 9000]
    assert rung_ns == [2000, 9500]
