# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device foresees is delivered without a turn: nobody may see a difference but in speed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.base import Device, Foresight
from freezingtime.device.constant import ConstantDevice
from freezingtime.emulator.loop import CompletedRequest, EmulatedDisk
from freezingtime.emulator.medium_queue import MediumQueue
from freezingtime.errors import RunError
from freezingtime.medium.memory import MemoryMedium
from freezingtime.request import Operation, Request
from tests.medium.emulatorlib import MIB, Run, SlowMedium, arrival, run
from tests.medium.test_emulator import LoggingDevice

WORKERS = ThreadPoolExecutor(4)
FAR_NS = 10**8


def mixed() -> Device:
    """Later requests may complete first, or at the same time."""
    return ConstantDevice(read_ns=700, write_ns=300, flush_ns=0, discard_ns=50)


def uneven() -> Device:
    return ConstantDevice(read_ns=500, write_ns=500, flush_ns=900, discard_ns=0)


def guest_view(ran: Run) -> list[CompletedRequest]:
    """All but host time."""
    return [record._replace(frozen_host_ns=0, medium_host_ns=0) for record in ran.completed]


OPERATIONS = [Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD]
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda step: step * 50),
        st.sampled_from(OPERATIONS),
        st.integers(0, 1),
    ),
    max_size=24,
)


@given(
    REQUESTS,
    st.sampled_from([mixed, uneven, LoggingDevice]),
    st.sampled_from([0, 100, 450, FAR_NS]),
    st.none() | st.integers(0, 40).map(lambda step: step * 50),
)
@settings(deadline=None)
def test_every_record_is_the_same(
    requests: list[tuple[int, Operation, int]],
    second: Callable[[], Device],
    gap_ns: int,
    drains_at_ns: int | None,
) -> None:
    def once(schedule_gap_ns: int) -> Run:
        queue = MediumQueue(MemoryMedium(MIB), WORKERS, 60.0)
        arrivals = [
            arrival(
                time_ns,
                operation,
                cookie=cookie,
                disk_index=disk_index,
                data=b"x" * 512 if operation is Operation.WRITE else None,
            )
            for cookie, (time_ns, operation, disk_index) in enumerate(requests)
        ]
        return run(
            arrivals,
            WORKERS,
            device=mixed(),
            second_disk=EmulatedDisk(1, "disk2", second(), queue),
            drains_at_ns=drains_at_ns,
            schedule_gap_ns=schedule_gap_ns,
        )

    turns, scheduled = once(-1), once(gap_ns)
    assert guest_view(scheduled) == guest_view(turns)
    assert len(scheduled.wire.replies) == len(requests)
    assert scheduled.emulator.totals.late_count == turns.emulator.totals.late_count


def test_one_turn_per_request() -> None:
    arrivals = [arrival(5000 * number, cookie=number) for number in range(100)]
    turns = run(arrivals, WORKERS)
    scheduled = run(arrivals, WORKERS, schedule_gap_ns=FAR_NS)
    assert len(turns.clock.verdicts) == 200 + 1
    assert len(scheduled.clock.verdicts) == 100 + 1
    assert guest_view(scheduled) == guest_view(turns)


def test_what_the_medium_has_not_done_is_not_scheduled() -> None:
    medium = SlowMedium(0.02)
    ran = run([arrival(0)], WORKERS, medium=medium, schedule_gap_ns=FAR_NS)
    assert [len(verdict.scheduled) for verdict in ran.clock.verdicts] == [0, 0, 0]
    assert ran.completed[0].frozen_host_ns > 0


class Liar(ConstantDevice):
    """Foresees the first of its requests, whichever completes next."""

    def __init__(self) -> None:
        super().__init__(read_ns=100, write_ns=50, flush_ns=0, discard_ns=0)
        self._first: Request | None = None

    def completion_ns(self, request: Request, now_ns: int) -> int:
        self._first = self._first or request
        return super().completion_ns(request, now_ns)

    def foresee(self) -> Foresight:
        next_ns = self.next_event_ns()
        if next_ns is None or self._first is None:
            return Foresight()
        return Foresight([(next_ns, [self._first])], next_ns + 1)


def test_a_device_is_held_to_what_it_foresaw() -> None:
    arrivals = [arrival(0, cookie=1), arrival(0, Operation.WRITE, cookie=2, data=b"x")]
    with pytest.raises(RunError, match=r"disk1 .*foresaw"):
        run(arrivals, WORKERS, device=Liar(), schedule_gap_ns=FAR_NS)
