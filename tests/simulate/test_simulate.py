# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices driven without a guest: theory, agreement of the paths, broken promises."""

from __future__ import annotations

import heapq
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.annotations.columns import Annotations, new_annotations
from freezingtime.device.base import Device, TimedDevice
from freezingtime.device.constant import ConstantDevice
from freezingtime.errors import RunError
from freezingtime.request import Operation, Request
from freezingtime.results.latency_summary import LatencySummary, summarize
from freezingtime.simulate.generator import RequestGenerator
from freezingtime.simulate.simulate import (
    ClosedLoopHost,
    Simulation,
    simulate_closed_loop,
    simulate_open_loop,
)
from freezingtime.simulate.workload import parse_workload
from freezingtime.trace.readers.columns import IntColumn, Trace

R, W, F = Operation.READ, Operation.WRITE, Operation.FLUSH
US = 1000
SERVICE_NS = 100 * US


def constant(read_ns: int = SERVICE_NS, write_ns: int = 200 * US) -> ConstantDevice:
    return ConstantDevice(read_ns=read_ns, write_ns=write_ns, flush_ns=5, discard_ns=7)


class Servers(TimedDevice):
    """A queue before ``count`` servers that each take the same time: G/D/k."""

    def __init__(self, count: int, service_ns: int = SERVICE_NS) -> None:
        super().__init__()
        self._free_ns = [0] * count
        self._service_ns = service_ns
        self.advanced_ns: list[int] = []

    def completion_ns(self, request: Request, now_ns: int) -> int:
        start_ns = max(now_ns, self._free_ns[0])
        heapq.heapreplace(self._free_ns, start_ns + self._service_ns)
        return start_ns + self._service_ns

    def advance(self, now_ns: int) -> list[Request]:
        self.advanced_ns.append(now_ns)
        return super().advance(now_ns)


class FastServer(Servers):
    """One server that can work off a trace at once."""

    def __init__(self) -> None:
        super().__init__(1)
        self.traces: list[tuple[IntColumn, ...]] = []

    def complete_all(
        self,
        arrivals_ns: IntColumn,
        operations: IntColumn,
        offsets: IntColumn,
        lengths: IntColumn,
        annotations: Annotations | None = None,
    ) -> IntColumn:
        self.traces.append((arrivals_ns, operations, offsets, lengths))
        free_ns = 0
        completions = []
        for arrival_ns in arrivals_ns.tolist():
            free_ns = max(arrival_ns, free_ns) + self._service_ns
            completions.append(free_ns)
        return np.array(completions, dtype=np.int64)


def trace_of(*rows: tuple[int, Operation], fua: bool = False) -> Trace:
    count = len(rows)
    return Trace(
        np.array([arrival_ns for arrival_ns, _ in rows], dtype=np.int64),
        np.array([operation for _, operation in rows], dtype=np.uint8),
        np.arange(count, dtype=np.int64) * 4096,
        np.full(count, 4096, dtype=np.int64),
        np.full(count, fua),
    )


def generator(text: str) -> RequestGenerator:
    return RequestGenerator(parse_workload(text), seed=1, disk_bytes=1 << 30)


def closed_loop(device: Device, text: str) -> Simulation:
    workload = parse_workload(text)
    return simulate_closed_loop(
        device,
        generator(text).batches(),
        workload.queue_depth or 0,
        count=workload.count,
        end_ns=workload.time_ns,
    )


def test_qd_1_on_100_us_is_exactly_10_000_iops() -> None:
    [figures] = summarize(closed_loop(constant(), "randread,count=20k"))
    assert figures.iops == 10_000
    assert figures.bandwidth_bytes_per_s == 40_960_000
    assert figures.mean_ns == figures.p50_ns == figures.max_ns == SERVICE_NS


@pytest.mark.parametrize("queue_depth", [1, 2, 7, 32])
def test_closed_loop_on_servers_obeys_littles_law(queue_depth: int) -> None:
    """With k servers: latency = max(1, QD / k) services, rate = min(QD, k) per service."""
    servers = 4
    rounds = 1000
    text = f"read,qd={queue_depth},count={rounds * queue_depth}"
    simulation = closed_loop(Servers(servers), text)
    [figures] = summarize(simulation)
    assert figures.iops == pytest.approx(min(queue_depth, servers) * 10_000, rel=0.01)
    steady_ns = simulation.latency_ns[queue_depth:]
    mean_ns = SERVICE_NS * max(1, queue_depth / servers)
    assert steady_ns.mean() == pytest.approx(mean_ns, rel=0.01)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_open_loop_on_one_server_is_m_d_1(load: float) -> None:
    """Mean wait of M/D/1 (Pollaczek and Khinchine): load / (2 (1 - load)) services."""
    text = f"randread,rate={load * 10_000:.0f},count=400k"
    simulation = simulate_open_loop(Servers(1), generator(text).trace())
    waits_ns = simulation.latency_ns - SERVICE_NS
    expected_ns = SERVICE_NS * load / (2 * (1 - load))
    assert waits_ns.mean() == pytest.approx(expected_ns, rel=0.05)


def test_open_loop_keeps_the_arrival_times() -> None:
    simulation = simulate_open_loop(constant(), trace_of((0, R), (10, W), (10, F), (999_999, R)))
    assert simulation.trace.arrival_ns.tolist() == [0, 10, 10, 999_999]
    assert simulation.latency_ns.tolist() == [100_000, 200_000, 5, 100_000]
    assert simulation.duration_ns == 1_099_999


def test_speed_up_divides_the_arrival_times() -> None:
    trace = trace_of((0, R), (10, R), (2**62, R))
    assert trace.sped_up(Fraction(3)).arrival_ns.tolist() == [0, 3, 2**62 // 3]
    assert trace.sped_up(Fraction("2.5")).arrival_ns.tolist() == [0, 4, 2**62 * 2 // 5]
    assert trace.rows(0, 2).sped_up(Fraction("0.000001")).arrival_ns.tolist() == [0, 10**7]


def test_closed_loop_issues_in_order_and_refills_at_completion() -> None:
    """QD 2, reads of 100 us and writes of 200 us, as a timetable."""
    trace = trace_of((0, R), (0, W), (0, R), (0, R), (0, R))
    simulation = simulate_closed_loop(constant(), [trace], 2, count=5)
    assert (simulation.trace.arrival_ns // US).tolist() == [0, 0, 100, 200, 200]
    assert (simulation.completion_ns // US).tolist() == [100, 200, 200, 300, 300]
    assert simulation.trace.operation.tolist() == trace.operation.tolist()


def test_closed_loop_ends_by_time() -> None:
    simulation = closed_loop(constant(), "randread,qd=4,time=10ms")
    assert len(simulation.trace) == 4 * 100
    assert simulation.trace.arrival_ns.max() == 9_900_000
    assert simulation.duration_ns == 10_000_000


def test_fewer_requests_than_the_queue_holds() -> None:
    assert len(closed_loop(constant(), "read,qd=64,count=3").trace) == 3


def test_device_that_takes_no_time() -> None:
    simulation = closed_loop(constant(0, 0), "read,qd=8,count=1000")
    [figures] = summarize(simulation)
    assert figures.iops is None
    assert figures.max_ns == 0
    with pytest.raises(RunError, match="takes no time, so time= never ends the loop; use count="):
        closed_loop(constant(0, 0), "read,qd=8,time=1s")


def test_fast_path_gets_64_bit_columns_and_gives_the_same() -> None:
    trace = generator("randrw,rate=9k,count=5000").trace()
    fast = FastServer()
    simulation = simulate_open_loop(fast, trace)
    [columns] = fast.traces
    assert {column.dtype for column in columns} == {np.dtype(np.int64)}
    assert columns[1].tolist() == trace.operation.tolist()
    slow = simulate_open_loop(Servers(1), trace)
    assert np.array_equal(simulation.completion_ns, slow.completion_ns)


def test_fast_path_does_not_know_fua() -> None:
    fast = FastServer()
    simulate_open_loop(fast, trace_of((0, W), fua=True))
    assert fast.traces == []


def test_closed_fast_path_is_taken_where_it_gives_the_same() -> None:
    class Fast(ConstantDevice):
        calls = 0

        def complete_closed(
            self,
            depth: int,
            operations: IntColumn,
            offsets: IntColumn,
            lengths: IntColumn,
            annotations: Annotations | None = None,
        ) -> tuple[IntColumn, IntColumn]:
            self.calls += 1
            assert {operations.dtype, offsets.dtype, lengths.dtype} == {np.dtype(np.int64)}
            arrival_ns = np.arange(len(operations)) // depth * SERVICE_NS
            return arrival_ns, arrival_ns + SERVICE_NS

    def fast() -> Fast:
        return Fast(read_ns=SERVICE_NS, write_ns=0, flush_ns=0, discard_ns=0)

    device = fast()
    quick = closed_loop(device, "read,qd=4,count=1000")
    assert device.calls == 1
    slow = closed_loop(constant(), "read,qd=4,count=1000")
    assert np.array_equal(quick.completion_ns, slow.completion_ns)
    assert np.array_equal(quick.trace.arrival_ns, slow.trace.arrival_ns)
    device = fast()
    closed_loop(device, "read,qd=4,time=1ms")
    simulate_closed_loop(device, [trace_of((0, R), fua=True)], 4, count=1)
    simulate_closed_loop(device, [trace_of((0, R))], ClosedLoopHost(4, device_depth=3), count=1)
    assert device.calls == 0


def test_requests_that_arrive_with_an_event_arrive_behind_it_together() -> None:
    """As under a guest, where an event may cause an arrival at that very time."""
    log: list[str] = []

    class Logging(Servers):
        def submit(self, request: Request, now_ns: int) -> None:
            log.append(f"submit {now_ns}")
            super().submit(request, now_ns)

        def advance(self, now_ns: int) -> list[Request]:
            log.append(f"advance {now_ns}")
            return super().advance(now_ns)

    simulate_open_loop(Logging(1, service_ns=10), trace_of((0, R), (10, R), (10, R), (35, R)))
    assert log == [
        *("submit 0", "advance 10", "submit 10", "submit 10", "advance 20", "advance 30"),
        *("submit 35", "advance 45"),
    ]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3 * SERVICE_NS), st.sampled_from([R, W, F])), max_size=60),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_invariants(gaps: list[tuple[int, Operation]], servers: int, queue_depth: int) -> None:
    arrival_ns = np.cumsum([gap for gap, _ in gaps]).astype(int).tolist()
    trace = trace_of(*zip(arrival_ns, [operation for _, operation in gaps], strict=True))
    device = Servers(servers)
    opened = simulate_open_loop(device, trace)
    assert device.advanced_ns == sorted(device.advanced_ns)
    assert np.all(opened.latency_ns >= SERVICE_NS)
    device = Servers(servers)
    closed = simulate_closed_loop(device, [trace], queue_depth, count=len(trace))
    assert device.advanced_ns == sorted(device.advanced_ns)
    assert len(closed.trace) == len(trace)
    for now_ns in closed.trace.arrival_ns.tolist():
        in_flight = (closed.trace.arrival_ns <= now_ns) & (closed.completion_ns > now_ns)
        assert np.count_nonzero(in_flight) <= queue_depth
    again = simulate_closed_loop(Servers(servers), [trace], queue_depth, count=len(trace))
    assert np.array_equal(closed.completion_ns, again.completion_ns)


def test_a_device_is_given_no_more_than_the_host_lets_through() -> None:
    """One server of 100 ns, of four requests two at the device: the others wait their turn."""
    device = Servers(1, service_ns=100)
    trace = trace_of(*[(0, R)] * 6)
    host = ClosedLoopHost(4, device_depth=2)
    simulation = simulate_closed_loop(device, [trace], host, count=6)
    assert simulation.trace.arrival_ns.tolist() == [0, 0, 100, 200, 300, 400]
    assert simulation.service_ns.tolist() == [100, 200, 200, 200, 200, 200]
    # Issued at 0, 0, 0, 0, 100 and 200.
    assert simulation.latency_ns.tolist() == [100, 200, 300, 400, 400, 400]
    assert summarize(simulation)[0].mean_host_ns == (0 + 0 + 100 + 200 + 200 + 200) / 6


def test_the_hosts_cpu_sees_completions_one_after_another() -> None:
    """Two come at 10 ns; the CPU takes 30 ns for each, and only then the next is issued."""
    trace = trace_of(*[(0, R)] * 4)
    host = ClosedLoopHost(2, think_ns=30)
    simulation = simulate_closed_loop(Servers(2, service_ns=10), [trace], host, count=4)
    assert simulation.trace.arrival_ns.tolist() == [0, 0, 40, 70]
    assert simulation.completion_ns.tolist() == [10, 10, 50, 80]
    assert simulation.latency_ns.tolist() == [40, 70, 60, 60]


def test_a_thinking_host_issues_nothing_after_the_end() -> None:
    batches = generator("read,qd=2,time=1ms").batches()
    host = ClosedLoopHost(2, device_depth=1, think_ns=300)
    simulation = simulate_closed_loop(Servers(2, service_ns=700), batches, host, end_ns=10_000)
    assert int(simulation.trace.arrival_ns.max()) < 10_000 + 700
    assert len(simulation.trace) == 15
    assert simulation.host_ns is not None
    assert int(simulation.host_ns.min()) >= 300


def test_lost_request_is_found() -> None:
    class Forgetful(ConstantDevice):
        def advance(self, now_ns: int) -> list[Request]:
            super().advance(now_ns)
            return []

    device = Forgetful(read_ns=10, write_ns=10, flush_ns=10, discard_ns=10)
    with pytest.raises(
        RunError,
        match="Forgetful has no next event, and yet 1 of its requests is not completed, "
        "the oldest the read of 4096 bytes at 0, which arrived at 0 ns",
    ):
        simulate_open_loop(device, trace_of((0, R)))


def test_request_completed_twice_is_found() -> None:
    class Stuttering(ConstantDevice):
        def advance(self, now_ns: int) -> list[Request]:
            return super().advance(now_ns) * 2

    device = Stuttering(read_ns=10, write_ns=10, flush_ns=10, discard_ns=10)
    with pytest.raises(
        RunError, match="Stuttering completed the read of 4096 bytes at 0, which it does not have"
    ):
        simulate_open_loop(device, trace_of((0, R)))


def test_device_that_stands_still_is_found() -> None:
    class Stuck(ConstantDevice):
        def advance(self, now_ns: int) -> list[Request]:
            return []

    device = Stuck(read_ns=10, write_ns=10, flush_ns=10, discard_ns=10)
    with pytest.raises(RunError, match=r"Stuck had 100000 events at one instant.*time is 10 ns"):
        simulate_open_loop(device, trace_of((0, R)))


def test_fast_path_that_is_early_is_found() -> None:
    class Early(FastServer):
        def complete_all(
            self,
            arrivals_ns: IntColumn,
            operations: IntColumn,
            offsets: IntColumn,
            lengths: IntColumn,
            annotations: Annotations | None = None,
        ) -> IntColumn:
            late_ns = super().complete_all(arrivals_ns, operations, offsets, lengths)
            return late_ns - 2 * SERVICE_NS

    with pytest.raises(
        RunError,
        match="Early completed the read of 4096 bytes at 0, which arrived at 0 ns, at -100000 ",
    ):
        simulate_open_loop(Early(), trace_of((0, R)))


def _figures(trace: Trace, completion_ns: IntColumn) -> LatencySummary:
    return summarize(Simulation(trace, completion_ns, new_annotations(len(trace))))[0]


def test_percentiles_are_nearest_rank_and_exact() -> None:
    count = 100_000
    trace = trace_of(*[(0, R)] * count)
    figures = _figures(trace, np.random.default_rng(1).permutation(count) + 1)
    assert (figures.p50_ns, figures.p90_ns, figures.p99_ns) == (50_000, 90_000, 99_000)
    assert (figures.p99_9_ns, figures.p99_99_ns, figures.max_ns) == (99_900, 99_990, 100_000)
    assert figures.mean_ns == 50_000.5
    few = _figures(trace_of((0, R), (0, R)), np.array([5, 9]))
    assert (few.p50_ns, few.p90_ns, few.p99_99_ns) == (5, 9, 9)


def test_each_operation_has_its_figures() -> None:
    simulation = simulate_open_loop(constant(), trace_of((0, R), (0, W), (0, W), (0, F)))
    figures = {summary.operation: summary for summary in summarize(simulation)}
    assert list(figures) == ["all", "read", "write", "flush"]
    assert [summary.count for summary in figures.values()] == [4, 1, 2, 1]
    assert figures["write"].iops == 10_000
    assert figures["all"].bandwidth_bytes_per_s == 3 * 4096 * 5000
    assert figures["flush"].bandwidth_bytes_per_s == 0
    assert figures["read"].max_ns == SERVICE_NS


def test_nothing_gives_no_figures() -> None:
    assert summarize(simulate_open_loop(constant(), trace_of())) == []


def test_progress_reaches_the_end() -> None:
    told: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        told.append((done, total))

    simulate_open_loop(constant(), generator("read,rate=1M,count=40k").trace(), note)
    assert told[0] == (0, 40_000)
    assert told[-1] == (40_000, 40_000)
    assert len(told) >= 4
    told.clear()
    simulate_closed_loop(
        constant(), generator("read,count=40k").batches(), 3, count=40_000, progress=note
    )
    assert told
    assert told == sorted(told)
    assert all(done <= total == 40_000 for done, total in told)


def test_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how fast the loops are on a trivial device; asserts nothing of it."""
    count = 200_000
    trace = generator(f"randread,rate=1M,count={count}").trace()
    start_s = time.perf_counter()
    opened = simulate_open_loop(constant(), trace)
    middle_s = time.perf_counter()
    closed = closed_loop(constant(), f"randread,qd=32,count={count}")
    end_s = time.perf_counter()
    with capsys.disabled():
        print(
            f"\nopen loop {count / (middle_s - start_s):,.0f} requests/s, "
            f"closed loop {count / (end_s - middle_s):,.0f} requests/s"
        )
    assert len(opened.trace) == len(closed.trace) == count
