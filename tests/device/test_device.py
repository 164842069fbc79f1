# SPDX-License-Identifier: GPL-2.0-or-later
"""The device interface, and the constant device, on a trace: no guest, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.device.base import Device, TimedDevice
from freezingtime.device.constant import ConstantDevice
from freezingtime.request import Operation, Request

SERVICE_NS = {
    Operation.READ: 10,
    Operation.WRITE: 20,
    Operation.FLUSH: 0,
    Operation.DISCARD: 40,
    Operation.WRITE_ZEROES: 20,
}


def constant_device() -> ConstantDevice:
    return ConstantDevice(read_ns=10, write_ns=20, flush_ns=0, discard_ns=40)


def request(operation: Operation) -> Request:
    length_bytes = 0 if operation is Operation.FLUSH else 4096
    data = bytes(length_bytes) if operation is Operation.WRITE else None
    return Request(operation, 0, length_bytes, data)


def drain(device: Device) -> list[tuple[int, Request]]:
    """Run an otherwise idle device to its end: completion time and request, in order."""
    completions = []
    while (event_ns := device.next_event_ns()) is not None:
        completions += [(event_ns, request) for request in device.advance(event_ns)]
    return completions


@pytest.mark.parametrize("operation", list(Operation))
def test_service_time_depends_on_the_operation(operation: Operation) -> None:
    device = constant_device()
    submitted = request(operation)
    device.submit(submitted, now_ns=1000)
    assert device.next_event_ns() == 1000 + SERVICE_NS[operation]
    assert drain(device) == [(1000 + SERVICE_NS[operation], submitted)]


def test_nothing_completes_a_nanosecond_early() -> None:
    device = constant_device()
    device.submit(request(Operation.READ), now_ns=5)
    assert device.advance(14) == []
    assert len(device.advance(15)) == 1
    assert device.next_event_ns() is None


def test_ties_complete_in_order_of_arrival() -> None:
    device = constant_device()
    write, first_read, second_read = map(request, (Operation.WRITE, Operation.READ, Operation.READ))
    device.submit(write, now_ns=0)
    device.submit(first_read, now_ns=10)
    device.submit(second_read, now_ns=10)
    assert drain(device) == [(20, write), (20, first_read), (20, second_read)]


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^FLUSH takes -1 ns; must be 0 or more$"):
        ConstantDevice(read_ns=0, write_ns=0, flush_ns=-1, discard_ns=0)


def test_a_model_that_completes_before_arrival_is_caught() -> None:
    class TimeTraveller(TimedDevice):
        def completion_ns(self, request: Request, now_ns: int) -> int:
            return now_ns - 1

    with pytest.raises(ValueError, match=r"^TimeTraveller completed a request at 4 ns, before"):
        TimeTraveller().submit(request(Operation.READ), now_ns=5)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(list(Operation)))))
def test_every_request_completes_once_and_on_time(trace: list[tuple[int, Operation]]) -> None:
    device = constant_device()
    arrival_ns = 0
    due_ns: dict[int, int] = {}
    completed: list[tuple[int, int]] = []

    def advance_through(until_ns: int) -> None:
        while (event_ns := device.next_event_ns()) is not None and event_ns <= until_ns:
            completed.extend((r.cookie, event_ns) for r in device.advance(event_ns))

    for cookie, (gap_ns, operation) in enumerate(trace):
        arrival_ns += gap_ns
        advance_through(arrival_ns)
        submitted = request(operation)
        submitted.cookie = cookie
        due_ns[cookie] = arrival_ns + SERVICE_NS[operation]
        device.submit(submitted, arrival_ns)
    advance_through(arrival_ns + 1000)

    assert len(completed) == len(trace)
    assert dict(completed) == due_ns
    assert [time_ns for _, time_ns in completed] == sorted(due_ns.values())
