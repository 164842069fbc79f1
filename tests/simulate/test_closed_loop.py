# SPDX-License-Identifier: GPL-2.0-or-later
"""Models that work off a closed loop at once, against the same request by request."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.device.base import Device
from freezingtime.device.registry import from_content
from freezingtime.device.trace_device import TraceDevice
from freezingtime.request import Operation, Request
from freezingtime.simulate.simulate import Simulation, simulate_closed_loop
from freezingtime.trace.readers.columns import Trace
from tests.support.modellib import assert_flushes_follow_writes

LATENCY = """
servers = 3
iops_limit = 300_000
read_iops_limit = 170_003
write_bandwidth_limit = "1GB/s"
read = {fixed = {kind = "lognormal", mean = "20us", p99 = "90us"}, bandwidth = "2GB/s"}
write = {fixed = {kind = "gamma", mean = "5us", shape = 2}, bandwidth = "1.3GB/s"}
flush.fixed = {kind = "exponential", mean = "50us"}
"""

# Many requests complete at the same time, and some take none.
EVEN = """
read.fixed = "10us"
write.fixed = "20us"
"""

VOLUME = """
servers = 4
io_size = "16KiB"
merge_sequential = true
read = {fixed = {kind = "lognormal", mean = "500us", p99 = "900us"}, bandwidth = "2GB/s"}
write.fixed = {kind = "gamma", mean = "700us", shape = 3}
[iops]
baseline = 1_000
burst = 7_000
credits = 30
"""

EMPIRICAL = """
correlation = 0.5
[[table]]
operation = "read"
size = "4KiB"
depth = 1
quantiles = [[0.0, "60us"], [0.99, "232us"], [1.0, "1ms"]]
[[table]]
operation = "read"
size = "4KiB"
depth = 8
quantiles = [[0.0, "90us"], [0.99, "900us"], [1.0, "3ms"]]
[[table]]
operation = "write"
size = "4KiB"
quantiles = [[0.0, "10us"], [1.0, "20us"]]
"""

MODELS = {
    "latency": ("latency", LATENCY),
    "latency, even": ("latency", EVEN),
    "volume": ("volume", VOLUME),
    "empirical": ("empirical", EMPIRICAL),
}

Build = Callable[[int], Device]


@pytest.fixture(params=MODELS, scope="module")
def build(request: pytest.FixtureRequest) -> Build:
    model, text = MODELS[request.param]
    content: dict[str, Any] = {"model": model, "parameters": tomllib.loads(text)}
    return lambda seed: from_content(content, "own.toml", "own").build(seed, 1 << 30)


class OneByOne(Device):
    """A device of which only the device interface is to be seen."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def submit(self, request: Request, now_ns: int) -> None:
        self._device.submit(request, now_ns)

    def next_event_ns(self) -> int | None:
        return self._device.next_event_ns()

    def advance(self, now_ns: int) -> list[Request]:
        return self._device.advance(now_ns)


def trace_of(rows: list[tuple[Operation, int, int]]) -> Trace:
    count = len(rows)
    flushes = [operation is Operation.FLUSH for operation, _, _ in rows]
    lengths = [0 if flush else 4096 * row[2] for flush, row in zip(flushes, rows, strict=True)]
    return Trace(
        arrival_ns=np.zeros(count, np.int64),
        operation=np.array([row[0] for row in rows], np.uint8),
        offset_bytes=np.array([4096 * row[1] for row in rows], np.int64),
        length_bytes=np.array(lengths, np.int64),
        fua=np.zeros(count, np.bool_),
    )


def run(device: Device, trace: Trace, depth: int) -> Simulation:
    return simulate_closed_loop(device, [trace], depth, count=len(trace))


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(list(Operation)), st.integers(0, 3), st.integers(1, 6)),
        min_size=1,
        max_size=80,
    ),
    depth=st.integers(1, 20),
    seed=st.integers(0, 2**32),
)
def test_at_once_gives_the_same_as_one_by_one(
    build: Build, rows: list[tuple[Operation, int, int]], depth: int, seed: int
) -> None:
    trace = trace_of(rows)
    quick, slow = run(build(seed), trace, depth), run(OneByOne(build(seed)), trace, depth)
    assert quick.trace.arrival_ns.tolist() == slow.trace.arrival_ns.tolist()
    assert quick.completion_ns.tolist() == slow.completion_ns.tolist()
    completions_ns = quick.completion_ns.tolist()
    operations = [operation for operation, _, _ in rows]
    assert_flushes_follow_writes(zip(operations, completions_ns, strict=True))


def test_a_loop_starts_when_it_is_told_and_needs_a_place(build: Build) -> None:
    device = build(1)
    assert isinstance(device, TraceDevice)
    reads = np.full(10, int(Operation.READ)), np.zeros(10), np.full(10, 4096)
    arrivals_ns, completions_ns = device.complete_closed(4, *reads, start_ns=10**9)
    assert arrivals_ns[:5].tolist() == [10**9] * 4 + [int(completions_ns[:4].min())]
    with pytest.raises(ValueError, match="queue depth is 0; must be 1 or more"):
        device.complete_closed(0, *reads)


def test_a_loop_deeper_than_it_has_requests_is_an_open_one(build: Build) -> None:
    count = 50
    reads = np.full(count, int(Operation.READ)), np.zeros(count), np.full(count, 4096)
    device, other = build(1), build(1)
    assert isinstance(device, TraceDevice)
    assert isinstance(other, TraceDevice)
    arrivals_ns, completions_ns = device.complete_closed(2**40, *reads)
    assert not arrivals_ns.any()
    assert completions_ns.tolist() == other.complete_all(np.zeros(count), *reads).tolist()
