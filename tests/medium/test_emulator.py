# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's loop on a simulated clock and wire: no socket, no guest, no real time.

The simulated clock does what the agent does: it stands still during a turn, moves on to the
next arrival or to the next event that the emulator announced, and reports at the next turn
when the replies of the last one were delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.clock.base import Arrival, Clock, Delivery, DiskChannel, Moment, Verdict, Wire
from freezingtime.device.base import Device
from freezingtime.device.constant import ConstantDevice
from freezingtime.emulator.loop import CompletedRequest, EmulatedDisk, Emulator, Steering
from freezingtime.emulator.medium_queue import MediumQueue
from freezingtime.errors import RunError
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
    ) -> None:
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
        deliveries = [
            Delivery(
                channel.disk_index,
                request.cookie,
                self._now_ns + self._late_ns(request),
                self._adrift(request),
            )
            for channel, request in self._wire.undelivered
        ]
        self._wire.undelivered.clear()
        times_ns = [arrival.time_ns for arrival in self._arrivals[:1]]
        if self._verdict.next_event_ns is not None:
            times_ns.append(self._verdict.next_event_ns)
        if self._drains_at_ns is not None:
            times_ns.append(self._drains_at_ns)
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


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


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
) -> Run:
    wire = FakeWire()
    clock = SimulatedClock(
        arrivals,
        wire,
        late_ns=late_ns,
        adrift=adrift,
        drains_at_ns=drains_at_ns,
        disturbed_from_ns=disturbed_from_ns,
    )
    queue = MediumQueue(medium or MemoryMedium(MIB), workers, deadline_s)
    disks = [EmulatedDisk(0, "disk1", device or constant(1000), queue)]
    if second_disk is not None:
        disks.append(second_disk)
    completed: list[CompletedRequest] = []
    emulator = Emulator(disks, clock, wire, completed.append)
    emulator.run()
    return Run(emulator, clock, wire, completed)


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
    turns = [(verdict.next_event_ns, len(verdict.reply_disks)) for verdict in ran.clock.verdicts]
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


def test_the_audit_finds_a_late_delivery(workers: ThreadPoolExecutor) -> None:
    script = [arrival(0, cookie=1), arrival(0, cookie=2), arrival(0, cookie=3)]
    ran = run(script, workers, late_ns=lambda request: {1: 0, 2: 7, 3: 3}[request.cookie])
    assert [record.on_time for record in ran.completed] == [True, False, False]
    assert [record.delivery_ns for record in ran.completed] == [1000, 1007, 1003]
    assert ran.emulator.totals.late_count == 2
    assert ran.emulator.totals.worst_late_ns == 7


def test_the_audit_finds_an_early_delivery(workers: ThreadPoolExecutor) -> None:
    ran = run([arrival(0)], workers, late_ns=lambda request: -1)
    assert not ran.completed[0].on_time
    assert ran.emulator.totals.late_count == 1


def test_the_audit_finds_the_first_disturbance(workers: ThreadPoolExecutor) -> None:
    script = [arrival(time_ns, cookie=time_ns) for time_ns in (0, 5000, 9000)]
    ran = run(script, workers, disturbed_from_ns=5000)
    assert ran.emulator.totals.disturbed_ns == 5000
    assert ran.emulator.totals.late_count == 0
    assert run(script, workers).emulator.totals.disturbed_ns is None


def test_the_audit_finds_what_is_adrift(workers: ThreadPoolExecutor) -> None:
    """A time that was not taken while the guest was held proves nothing, even if it fits."""
    arrived = run([arrival(0, adrift=True), arrival(5)], workers)
    assert [record.on_time for record in arrived.completed] == [False, True]
    delivered = run([arrival(0, cookie=1), arrival(5)], workers, adrift=lambda r: r.cookie == 1)
    assert [record.on_time for record in delivered.completed] == [False, True]
    assert arrived.emulator.totals.late_count == delivered.emulator.totals.late_count == 1


def test_a_drain_answers_everything_at_once_and_says_so(workers: ThreadPoolExecutor) -> None:
    ran = run([arrival(0), arrival(100)], workers, drains_at_ns=200)
    assert [record.delivery_ns for record in ran.completed] == [200, 200]
    assert [record.on_time for record in ran.completed] == [False, False]
    # The devices went on alone, and nothing was answered twice.
    assert len(ran.wire.replies) == 2
    assert ran.clock.verdicts[2].reply_disks == [0, 0]
    assert sum(len(verdict.reply_disks) for verdict in ran.clock.verdicts) == 2


def test_a_drain_waits_for_the_medium(workers: ThreadPoolExecutor) -> None:
    script = [arrival(0, Operation.WRITE, data=b"w" * 512)]
    medium = SlowMedium(0.02)
    run(script, workers, medium=medium, drains_at_ns=1)
    assert medium.read(0, 512) == b"w" * 512


class RefusingDevice(Device):
    def submit(self, request: Request, now_ns: int) -> None:
        raise AssertionError(f"{request} at {now_ns} is none of the device's business")

    def next_event_ns(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> list[Request]:
        raise AssertionError(f"no event was announced for {now_ns}")


def test_what_qemu_asks_for_itself_is_no_matter_of_the_device(workers: ThreadPoolExecutor) -> None:
    ran = run([arrival(0, from_host=True)], workers, device=RefusingDevice())
    assert [request.cookie for request, _ in ran.wire.replies] == [0]
    assert ran.clock.verdicts[0].reply_disks == [0]
    assert ran.completed == []
    assert ran.emulator.totals.request_count == 0


def test_an_internal_disk_is_in_no_figure(workers: ThreadPoolExecutor) -> None:
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    internal = EmulatedDisk(1, "control", constant(0), queue, internal=True)
    ran = run([arrival(0), arrival(10, disk_index=1)], workers, second_disk=internal)
    assert [record.disk_index for record in ran.completed] == [0]
    assert len(ran.wire.replies) == 2
    assert ran.emulator.totals.request_count == 1


def test_disks_do_not_disturb_each_other(workers: ThreadPoolExecutor) -> None:
    """Their events interleave, and equal cookies on two disks are two requests."""
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    second = EmulatedDisk(1, "disk2", constant(300), queue)
    script = [arrival(0, cookie=9), arrival(0, cookie=9, disk_index=1), arrival(500, disk_index=1)]
    ran = run(script, workers, second_disk=second)
    assert [(record.disk_index, record.completion_ns) for record in ran.completed] == [
        (1, 300),
        (1, 800),
        (0, 1000),
    ]


def test_a_broken_medium_ends_the_run_and_is_named(workers: ThreadPoolExecutor) -> None:
    with pytest.raises(
        RunError, match=r"medium failed: .*file:/broken: cannot read 4096 bytes at 0"
    ):
        run([arrival(0)], workers, medium=BrokenMedium(MIB))


def test_a_broken_medium_is_not_noticed_before_its_time(workers: ThreadPoolExecutor) -> None:
    """What the guest did before that is as if nothing had happened."""
    wire = FakeWire()
    clock = SimulatedClock([arrival(0), arrival(999, Operation.FLUSH)], wire)
    disk = EmulatedDisk(0, "disk1", constant(1000), MediumQueue(BrokenMedium(MIB), workers, 60.0))
    emulator = Emulator([disk], clock, wire)
    with pytest.raises(RunError):
        emulator.run()
    assert emulator.totals.now_ns == 1000
    assert wire.replies == []


def test_a_stuck_medium_ends_the_run_and_is_named(workers: ThreadPoolExecutor) -> None:
    with pytest.raises(RunError, match="memory has not finished a read of 4096 bytes at 0 within"):
        run([arrival(0)], workers, medium=SlowMedium(0.3), deadline_s=0.01)


def test_an_abandoned_transfer_is_not_taken_for_a_finished_one(
    workers: ThreadPoolExecutor,
) -> None:
    wire = FakeWire()
    queue = MediumQueue(SlowMedium(0.2), workers, 5.0)

    class AbandoningClock(SimulatedClock):
        def resume(self, verdict: Verdict) -> None:
            queue.abandon()
            super().resume(verdict)

    clock = AbandoningClock([arrival(0)], wire)
    emulator = Emulator([EmulatedDisk(0, "d", constant(1000), queue)], clock, wire)
    with pytest.raises(RunError, match="was abandoned"):
        emulator.run()
    assert wire.replies == []


def test_stopping_and_the_new_rate_are_told_once(workers: ThreadPoolExecutor) -> None:
    wire = FakeWire()
    clock = SimulatedClock([arrival(0), arrival(10)], wire)
    disk = EmulatedDisk(0, "disk1", constant(1000), MediumQueue(MemoryMedium(MIB), workers, 60.0))
    emulator = Emulator([disk], clock, wire)
    Script([Steering(stop_machine=True, rate_hz=2_000_000_000)], emulator)
    emulator.run()
    told = [(verdict.stop_machine, verdict.rate_hz) for verdict in clock.verdicts]
    assert told[0] == (True, 2_000_000_000)
    assert set(told[1:]) == {(False, None)}


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
        self._wire.undelivered.clear()
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
    assert not clock.verdicts[1].reply_disks


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
    Script([Steering(alarm_ns=2000), Steering(replace_disk=after)], emulator)
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
    assert sum(len(verdict.reply_disks) for verdict in clock.verdicts) == 3
