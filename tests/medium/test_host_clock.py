# SPDX-License-Identifier: GPL-2.0-or-later
"""The host clock: when it gives the emulator a turn. Times are asserted from below only."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from freezingtime.clock.base import DiskChannel, Verdict
from freezingtime.clock.host import HostClock
from freezingtime.host.poller import Poller
from freezingtime.request import Operation, Request

DEADLINE_S = 60.0


@dataclass(frozen=True)
class FakeChannel:
    disk_index: int = 0


@dataclass
class FakeWire:
    """Hands out what a test has put there."""

    received: list[tuple[Request, DiskChannel]] = field(default_factory=list)

    def take_request(self, disk_index: int) -> tuple[Request, DiskChannel] | None:
        raise AssertionError(f"the host clock takes what there is, not disk {disk_index}'s next")

    def take_requests(self) -> Sequence[tuple[Request, DiskChannel]]:
        taken, self.received = self.received, []
        return taken


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def clock(poller: Poller) -> Iterator[HostClock]:
    clock = HostClock(poller)
    yield clock
    clock.close()


@pytest.fixture
def later() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Calls something from another thread, a little later."""
    timers: list[threading.Timer] = []

    def call(action: Callable[[], object]) -> None:
        timers.append(threading.Timer(0.05, action))
        timers[-1].start()

    yield call
    for timer in timers:
        timer.join()


def request() -> Request:
    return Request(Operation.READ, 0, 512)


def test_requests_arrive_now(clock: HostClock) -> None:
    first, second = request(), request()
    wire = FakeWire([(first, FakeChannel()), (second, FakeChannel(1))])
    before_ns = time.monotonic_ns()
    moment = clock.wait(wire)
    after_ns = time.monotonic_ns()
    assert moment is not None
    assert [arrival.request for arrival in moment.arrivals] == [first, second]
    assert [arrival.channel.disk_index for arrival in moment.arrivals] == [0, 1]
    for arrival in moment.arrivals:
        assert before_ns <= arrival.time_ns == moment.now_ns <= after_ns
        assert not arrival.adrift
        assert not arrival.from_host


def test_a_request_on_a_socket_wakes_it(
    clock: HostClock, poller: Poller, later: Callable[[Callable[[], object]], None]
) -> None:
    wire = FakeWire()
    reader, writer = os.pipe()
    poller.register(
        reader, lambda: wire.received.append((request(), FakeChannel(int(os.read(reader, 1)))))
    )
    later(lambda: os.write(writer, b"3"))
    moment = clock.wait(wire)
    assert moment is not None
    assert [arrival.channel.disk_index for arrival in moment.arrivals] == [3]
    poller.unregister(reader)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("after_ns", [20_000_000, 300_000, 100_000, 0, -1_000_000_000])
def test_an_event_is_never_early(clock: HostClock, after_ns: int) -> None:
    event_ns = clock.now_ns() + after_ns
    clock.resume(Verdict(event_ns))
    moment = clock.wait(FakeWire())
    assert moment is not None
    assert moment.now_ns >= event_ns
    assert moment.arrivals == []


def test_a_request_does_not_wait_for_the_next_event(clock: HostClock) -> None:
    clock.resume(Verdict(clock.now_ns() + 3600 * 10**9))
    assert clock.wait(FakeWire([(request(), FakeChannel())])) is not None


def test_an_event_is_forgotten_when_there_is_none(
    clock: HostClock, later: Callable[[Callable[[], object]], None]
) -> None:
    clock.resume(Verdict(clock.now_ns()))
    assert clock.wait(FakeWire()) is not None
    clock.resume(Verdict(None))
    before_ns = clock.now_ns()
    later(clock.nudge)
    moment = clock.wait(FakeWire())
    assert moment is not None
    assert moment.now_ns - before_ns >= 40_000_000


def test_a_nudge_gives_one_turn(
    clock: HostClock, later: Callable[[Callable[[], object]], None]
) -> None:
    """However many there were; the next turn waits for the next reason."""
    for _ in range(3):
        clock.nudge()
    moment = clock.wait(FakeWire())
    assert moment is not None
    assert moment.arrivals == []
    later(clock.end)
    assert clock.wait(FakeWire()) is None


def test_its_end_is_for_good(
    clock: HostClock, later: Callable[[Callable[[], object]], None]
) -> None:
    later(clock.end)
    assert clock.wait(FakeWire()) is None
    assert clock.wait(FakeWire([(request(), FakeChannel())])) is None


def test_a_closed_clock_has_let_go_of_the_poller() -> None:
    poller = Poller()
    clock = HostClock(poller)
    clock.nudge()
    clock.close()
    assert not poller.poll(0.0)
    poller.close()


def test_the_poller_sleeps_shorter_than_a_millisecond(poller: Poller) -> None:
    """epoll's own unit is a millisecond; nothing may be rounded down to no wait at all."""
    start_ns = time.monotonic_ns()
    for _ in range(10):
        assert not poller.poll(0.0003)
    assert time.monotonic_ns() - start_ns >= 10 * 300_000


def test_the_poller_forgets_who_left_in_the_same_round(poller: Poller) -> None:
    """Of two that are ready, the first called back takes the other's registration away."""
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []

    def leave(own: int, other: int) -> None:
        called.append(own)
        poller.unregister(other)

    readers = [reader for reader, _ in pipes]
    poller.register(readers[0], lambda: leave(*readers))
    poller.register(readers[1], lambda: leave(*reversed(readers)))
    for _, writer in pipes:
        os.write(writer, b"x")
    assert poller.poll(DEADLINE_S)
    assert len(called) == 1
    for ends in pipes:
        for end in ends:
            os.close(end)


def test_the_poller_watches_for_what_it_was_told_last(poller: Poller) -> None:
    reader, writer = os.pipe()
    called: list[str] = []
    poller.register(writer, lambda: called.append("writable"), readable=False, writable=True)
    assert poller.poll(DEADLINE_S)
    poller.register(writer, lambda: called.append("readable"))
    assert not poller.poll(0.0)
    assert called == ["writable"]
    poller.unregister(writer)
    os.close(reader)
    os.close(writer)
