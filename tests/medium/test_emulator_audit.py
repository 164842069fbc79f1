# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's audit, its drains, and media that fail, on a simulated clock and wire."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from freezingtime.clock.base import KvmAccount, Moment, Verdict, Wire
from freezingtime.device.base import CompletionQueue, Device
from freezingtime.emulator.loop import CompletedRequest, EmulatedDisk, Emulator, Steering
from freezingtime.emulator.medium_queue import MediumQueue
from freezingtime.errors import RunError
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Fault, FaultKind, Operation, Request
from tests.medium.emulatorlib import (
    MIB,
    BrokenMedium,
    FakeWire,
    Script,
    SimulatedClock,
    SlowMedium,
    arrival,
    constant,
    run,
)


def test_the_audit_finds_a_late_delivery(workers: ThreadPoolExecutor) -> None:
    script = [arrival(0, cookie=1), arrival(0, cookie=2), arrival(0, cookie=3)]
    ran = run(script, workers, late_ns=lambda request: {1: 0, 2: 7, 3: 3}[request.cookie])
    assert [record.on_time for record in ran.completed] == [True, False, False]
    assert [record.delivery_ns for record in ran.completed] == [1000, 1007, 1003]
    assert ran.emulator.totals.late_count == 2
    assert ran.emulator.totals.worst_late_ns == 7


class KvmClock(SimulatedClock):
    """A clock under which the host has taken so much from the guest by certain times."""

    def __init__(
        self, *settings: Any, taken_ns: Mapping[int, tuple[int, int]], **more: Any
    ) -> None:
        super().__init__(*settings, **more)
        self._taken_ns = taken_ns

    def wait(self, wire: Wire) -> Moment | None:
        moment = super().wait(wire)
        if moment is not None:
            by_ns = max(time_ns for time_ns in self._taken_ns if time_ns <= moment.now_ns)
            moment.kvm = KvmAccount(1, *self._taken_ns[by_ns], 0, 0, 0, 0, 0, 1_000_000, 1)
        return moment


@pytest.mark.parametrize(
    ("schedule_gap_ns", "expected"),
    [
        # In a turn of its own: what is taken between two requests is neither's.
        (-1, [(4_000, 300, False), (0, 0, True)]),
        # Without one: the next turn tells, which is the arrival of the other.
        (10**9, [(9_000, 20_300, False), (0, 0, True)]),
    ],
)
def test_what_the_host_takes_is_of_the_requests_under_way(
    workers: ThreadPoolExecutor, schedule_gap_ns: int, expected: list[tuple[int, int, bool]]
) -> None:
    wire = FakeWire()
    taken_ns = {0: (50, 70), 1000: (4_050, 370), 5000: (9_050, 20_370)}
    script = [arrival(0), arrival(5000)]
    clock = KvmClock(script, wire, taken_ns=taken_ns, schedule_gap_ns=schedule_gap_ns)
    disk = EmulatedDisk(0, "disk1", constant(1000), MediumQueue(MemoryMedium(MIB), workers, 60.0))
    completed: list[CompletedRequest] = []
    emulator = Emulator([disk], clock, wire, completed.append, resolution_ns=300)
    emulator.run()
    assert [
        (request.taken_out_ns, request.left_in_ns, request.on_time) for request in completed
    ] == expected
    assert emulator.totals.late_count == 1
    assert emulator.totals.worst_late_ns == expected[0][1]
    assert emulator.totals.lateness == {0: 2}


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
    assert [reply.disk_index for reply in ran.clock.verdicts[2].replies] == [0, 0]
    assert sum(len(verdict.replies) for verdict in ran.clock.verdicts) == 2


class HangingDevice(Device):
    """Keeps one request back for a minute, and serves others in 1000 ns."""

    def __init__(self) -> None:
        self._queue = CompletionQueue()

    def submit(self, request: Request, now_ns: int) -> None:
        is_hit = request.cookie == 1
        if is_hit:
            request.fault = Fault(FaultKind.HANG)
        self._queue.put(request, now_ns + (60 * 10**9 if is_hit else 1000))

    def next_event_ns(self) -> int | None:
        return self._queue.next_ns()

    def advance(self, now_ns: int) -> list[Request]:
        return self._queue.take_until(now_ns)


@pytest.mark.parametrize("schedule_gap_ns", [-1, 10**9])
def test_a_reset_ends_what_its_disk_has_under_way_and_no_other(
    workers: ThreadPoolExecutor, schedule_gap_ns: int
) -> None:
    wire = FakeWire()
    script = [
        *(arrival(0, cookie=1), arrival(100, cookie=2)),
        *(arrival(100, cookie=3, disk_index=1), arrival(300, cookie=4)),
    ]
    clock = SimulatedClock(script, wire, drains_at_ns=200, schedule_gap_ns=schedule_gap_ns)
    queue = MediumQueue(MemoryMedium(MIB), workers, 60.0)
    disks = [
        EmulatedDisk(0, "reset", HangingDevice(), queue, may_fail=True),
        EmulatedDisk(1, "other", constant(1000), queue),
    ]
    completed: list[CompletedRequest] = []
    Emulator(disks, clock, wire, completed.append).run()
    assert [
        (request.disk_index, request.arrival_ns, request.delivery_ns, request.on_time)
        for request in completed
    ] == [(0, 0, 200, True), (0, 100, 200, True), (1, 100, 1100, True), (0, 300, 1300, True)]


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
    assert [reply.disk_index for reply in ran.clock.verdicts[0].replies] == [0]
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
