# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that fails by rules, without a guest: which requests it hits, how, and when they end."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.annotation import HeldBy
from freezingtime.device.compose.perturb import Perturb, PerturbParams
from freezingtime.device.constant import ConstantDevice
from freezingtime.device.faults.faulty_device import FaultyDevice
from freezingtime.disk.disk import Disk
from freezingtime.disk.spec import check_disk
from freezingtime.emulator.medium_queue import MediumQueue, new_workers
from freezingtime.medium.base import SectorError
from freezingtime.medium.memory import MemoryMedium
from freezingtime.nbd.protocol import NBD_EIO, NBD_ENOSPC, SYSTEM_ERROR, wire_error
from freezingtime.request import Fault, FaultKind, Operation, Request

READ, WRITE, FLUSH = Operation.READ, Operation.WRITE, Operation.FLUSH
KIB, SECTOR = 1024, 512
EIO = Fault(FaultKind.ERROR, errno.EIO)
UNREADABLE = Fault(FaultKind.UNREADABLE, errno.ENODATA)
SLOW, HANG = Fault(FaultKind.SLOW), Fault(FaultKind.HANG)


def device_with(*rules: str, seed: int = 0) -> FaultyDevice:
    """A device that takes 100 ns for everything, and fails."""
    device = check_disk(Disk("constant:100ns", faults=rules)).device.build(seed, 2**20)
    assert isinstance(device, FaultyDevice)
    return device


def asked(operation: Operation, sector: int = 0, count: int = 8) -> Request:
    if operation is FLUSH:
        return Request(FLUSH, 0, 0)
    return Request(operation, sector * SECTOR, count * SECTOR)


def serve(device: FaultyDevice, requests: Sequence[tuple[int, Request]]) -> list[int]:
    """Serve requests, with their times of arrival; return when each completed."""
    done: dict[Request, int] = {}

    def advance(until_ns: int | None) -> None:
        while (event_ns := device.next_event_ns()) is not None and (
            until_ns is None or event_ns <= until_ns
        ):
            done.update(dict.fromkeys(device.advance(event_ns), event_ns))

    for arrival_ns, request in requests:
        advance(arrival_ns)
        device.submit(request, arrival_ns)
    advance(None)
    return [done[request] for _, request in requests]


def hits(device: FaultyDevice, requests: Sequence[tuple[int, Request]]) -> list[int]:
    """The numbers of the requests that were hit."""
    serve(device, requests)
    numbers = [number for number, (_, request) in enumerate(requests) if request.fault]
    assert sum(count for _, count in device.hit_counts()) == len(numbers)
    return numbers


def reads(count: int, every_ns: int = 1000) -> list[tuple[int, Request]]:
    return [(number * every_ns, asked(READ)) for number in range(count)]


def test_an_error_takes_as_long_as_the_request_and_hits_what_it_fits() -> None:
    device = device_with("error=EIO,operation=read+write,sectors=15..16,size=4KiB..8KiB")
    requests = [
        (0, asked(READ, 8)),  # its last sector is 15
        (1000, asked(READ, 0)),
        (2000, asked(WRITE, 16, 16)),
        (3000, asked(READ, 16, 17)),  # too large
        (4000, asked(READ, 16, 1)),  # too small
        (5000, asked(Operation.DISCARD, 16)),
        (6000, asked(FLUSH)),
    ]
    assert serve(device, requests) == [time_ns + 100 for time_ns, _ in requests]
    assert [request.fault for _, request in requests] == [EIO, None, EIO, *[None] * 4]
    assert device.hit_counts() == [
        ("error=EIO,operation=read+write,sectors=15..16,size=4KiB..8KiB", 2)
    ]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("nth=3", [2]),
        ("nth=3,for=2us", [2, 3]),
        ("nth=3,for=1s,count=3", [2, 3, 4]),
        ("nth=2,from=3us", [4]),
        ("count=2", [0, 1]),
        ("from=3us,until=5us", [3, 4]),
        ("from=3us,for=1500ns", [3, 4]),
        ("for=1001ns,every=4us", [0, 1, 4, 5, 8, 9]),
        ("from=1us,for=1us,every=4us,until=9us", [1, 5]),
        ("probability=0", []),
        ("probability=1", list(range(10))),
    ],
)
def test_a_rule_hits_when_it_says(when: str, expected: list[int]) -> None:
    assert hits(device_with(f"error=EIO,{when}"), reads(10)) == expected


def test_after_so_many_flushes_have_completed() -> None:
    requests = [
        (number * 1000, asked(FLUSH if number in (2, 4, 6) else READ)) for number in range(9)
    ]
    rule = "error=EIO,operation=read,after_flush=2"
    assert hits(device_with(rule), requests) == [5, 7, 8]
    # One that is still under way does not count yet.
    overlapping = [(0, asked(FLUSH)), (0, asked(FLUSH)), (99, asked(READ)), (100, asked(READ))]
    assert hits(device_with(rule), overlapping) == [3]
    assert hits(device_with(f"{rule},from=6us"), reads(8)) == []


def test_chance_is_of_the_seed_and_each_rule_has_its_own() -> None:
    rule = "error=EIO,probability=0.3"
    found = hits(device_with(rule, seed=1), reads(400))
    assert len(found) == pytest.approx(120, abs=30)
    assert found == hits(device_with(rule, seed=1), reads(400))
    assert found != hits(device_with(rule, seed=2), reads(400))
    # Another rule behind it changes nothing.
    both = reads(400)
    serve(device_with(rule, "slow=2,probability=0.5", seed=1), both)
    assert [number for number, (_, request) in enumerate(both) if request.fault == EIO] == found


def test_nothing_is_hit_before_the_start_and_times_count_from_it() -> None:
    device = device_with("error=EIO,nth=2,for=2us")
    device.await_start()
    before = reads(3)
    serve(device, before)
    device.start(5_000_000)
    after = [(5_000_000 + number * 1000, asked(READ)) for number in range(6)]
    serve(device, after)
    assert [bool(request.fault) for _, request in before + after] == [
        *[False] * 3,
        *[False, True, True, False, False, False],
    ]


def test_a_slow_device_takes_longer_and_says_so() -> None:
    requests = reads(1)
    assert serve(device_with("slow=2.5"), requests) == [250]
    assert requests[0][1].fault == SLOW
    annotation = requests[0][1].annotation
    assert annotation is not None
    assert (annotation.held_by, annotation.held_ns) == (HeldBy.PERTURBATION, 150)
    assert serve(device_with("slow_by=1ms"), reads(1)) == [1_000_100]
    assert serve(device_with("slow=2", "slow_by=1us", "error=EIO"), reads(1)) == [1200]
    drawn = [done - 100 for done in serve(device_with("slow_by=1ms..2ms"), reads(50, 10**7))]
    late_ns = [done % 10**7 for done in drawn]
    assert all(10**6 <= ns <= 2 * 10**6 for ns in late_ns)
    assert len(set(late_ns)) > 40
    table = {"slow_distribution": {"kind": "exponential", "mean": "1ms"}}
    device = check_disk(Disk("constant:100ns", faults=[table])).device.build(3, None)
    assert isinstance(device, FaultyDevice)
    mean_ns = sum(done % 10**8 for done in serve(device, reads(300, 10**8))) / 300
    assert mean_ns == pytest.approx(1_000_100, rel=0.2)


def test_nothing_completes_while_a_device_hangs() -> None:
    requests = [(time_ns, asked(READ)) for time_ns in (0, 4_899, 4_900, 6_000, 6_950, 7_000)]
    device = device_with("hang,from=5us,for=2us")
    assert serve(device, requests) == [100, 4_999, 7_000, 7_000, 7_050, 7_100]
    assert [request.fault for _, request in requests] == [None, None, HANG, HANG, None, None]
    # Spans that follow each other; and one that only writes have to wait for.
    assert serve(device_with("hang,for=1us", "hang,from=1us,until=3us"), reads(1)) == [3_000]
    mixed = [(0, asked(READ)), (0, asked(WRITE))]
    assert serve(device_with("hang,operation=write,for=2us,every=5us"), mixed) == [100, 2000]
    assert serve(device_with("hang,nth=2,for=5us"), reads(3)) == [100, 6000, 6000]


def test_spans_without_end_end() -> None:
    device = device_with("hang,for=1ns,every=2ns", "hang,from=1ns,for=1ns,every=2ns")
    assert serve(device, reads(1)) == [100 + 1000 * 2]


def test_no_answer_is_an_error_in_the_end() -> None:
    requests = reads(1)
    assert serve(device_with("error=timeout"), requests) == [90 * 10**9 + 100]
    assert requests[0][1].fault == Fault(FaultKind.ERROR, errno.ETIMEDOUT)


def test_a_write_heals_unreadable_sectors_unless_it_does_not() -> None:
    def faults_of(rule: str) -> list[Fault | None]:
        requests = [
            (0, asked(READ, 8)),
            (1000, asked(READ, 0)),
            (2000, asked(WRITE, 8, 4)),
            (3000, asked(READ, 8, 4)),
            (4000, asked(READ, 8)),
            (5000, asked(Operation.DISCARD, 12, 4)),
            (6000, asked(READ, 0, 100)),
        ]
        serve(device_with(rule), requests)
        return [request.fault for _, request in requests]

    bad = UNREADABLE
    assert faults_of("unreadable,sectors=8..15") == [bad, None, None, None, bad, None, None]
    assert faults_of("unreadable,sectors=8..15,heals=false") == [
        *(bad, None, None, bad, bad, None, bad)
    ]


def test_an_unreadable_sector_stays_so_when_its_rule_hits_nothing_any_more() -> None:
    requests = [
        *[(0, asked(READ, 8)), (1000, asked(READ, 12)), (2000, asked(READ, 16))],
        *[(3000, asked(WRITE, 12, 4)), (4000, asked(READ, 12)), (5000, asked(READ, 8))],
    ]
    assert hits(device_with("unreadable,nth=1"), requests) == [0, 1, 5]


def test_a_write_that_fails_heals_nothing() -> None:
    device = device_with("error=EIO,operation=write", "unreadable,sectors=8")
    requests = [(0, asked(WRITE, 8)), (1000, asked(READ, 8))]
    serve(device, requests)
    assert [request.fault for _, request in requests] == [EIO, UNREADABLE]


def test_a_sector_that_chance_made_unreadable_stays_so() -> None:
    requests = [(number * 1000, asked(READ, 8 * (number % 50))) for number in range(200)]
    device = device_with("unreadable,probability=0.2")
    serve(device, requests)
    bad = [
        {number for number in range(turn * 50, turn * 50 + 50) if requests[number][1].fault}
        for turn in range(4)
    ]
    as_sectors = [{number % 50 for number in turn} for turn in bad]
    assert as_sectors[0] < as_sectors[1] < as_sectors[2] < as_sectors[3]


RULES = [
    *("error=EIO,probability=0.5", "slow=3,from=2us,until=9us", "slow_by=1us..3us,nth=2,for=5us"),
    *(
        "hang,for=1us,every=3us",
        "unreadable,sectors=0..3/16",
        "error=timeout,after_flush=1,count=1",
    ),
]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(RULES), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(Operation), st.integers(0, 99)), max_size=30
    ),
)
def test_every_request_completes_and_none_early(
    rules: list[str], steps: list[tuple[int, Operation, int]]
) -> None:
    now_ns, requests = 0, []
    for gap_ns, operation, sector in steps:
        now_ns += gap_ns
        requests.append((now_ns, asked(operation, sector)))
    again = [
        (time_ns, asked(request.operation, request.offset_bytes // SECTOR))
        for time_ns, request in requests
    ]
    done_ns = serve(device_with(*rules), requests)
    for (arrival_ns, request), completion_ns in zip(requests, done_ns, strict=True):
        late_ns = completion_ns - arrival_ns - 100
        assert late_ns >= 0
        assert request.fault or not late_ns
    assert serve(device_with(*rules), again) == done_ns
    assert [request.fault for _, request in again] == [request.fault for _, request in requests]


@settings(max_examples=40, deadline=None)
@given(
    slow=st.tuples(st.sampled_from([1.0, 1.5, 7.0]), st.integers(0, 3000), st.integers(0, 6000)),
    hiccup=st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 2000)),
    pause=st.sampled_from([(0, 0), (0, 50), (500, 0), (500, 80), (900, 899)]),
    arrivals_ns=st.lists(st.integers(0, 8000), max_size=12).map(sorted),
)
def test_a_perturbation_is_rules_of_faults(
    slow: tuple[float, int, int],
    hiccup: tuple[float, int],
    pause: tuple[int, int],
    arrivals_ns: list[int],
) -> None:
    factor, from_ns, until_ns = slow
    params = PerturbParams(
        **{"slow_factor": factor, "slow_from_ns": from_ns, "slow_until_ns": until_ns},
        **{"hiccup_probability": hiccup[0], "hiccup_ns": hiccup[1]},
        **{"pause_every_ns": pause[0], "pause_ns": pause[1]},
    )
    inner = ConstantDevice(read_ns=100, write_ns=0, flush_ns=0, discard_ns=0)
    done_ns = serve(Perturb(inner, params, 0), [(ns, asked(READ)) for ns in arrivals_ns])
    for arrival_ns, found_ns in zip(arrivals_ns, done_ns, strict=True):
        expected_ns = arrival_ns + 100
        if from_ns <= arrival_ns and (not until_ns or arrival_ns < until_ns):
            expected_ns += round(100 * (factor - 1.0))
        expected_ns += hiccup[1] if hiccup[0] else 0
        if pause[0]:
            expected_ns += max(0, pause[1] - expected_ns % pause[0])
        assert found_ns == expected_ns


def test_a_request_that_fails_moves_no_byte() -> None:
    medium = MemoryMedium(64 * KIB)
    medium.write(0, b"x" * 4 * KIB)
    with new_workers() as workers:
        queue = MediumQueue(medium, workers, deadline_s=10.0)
        for request in (asked(WRITE), asked(Operation.DISCARD), asked(Operation.WRITE_ZEROES)):
            request.data, request.fault = b"y" * 4 * KIB, EIO
            transfer = queue.start(request)
            assert isinstance(transfer.error, SectorError)
            assert transfer.error.errno == errno.EIO
        slow = asked(READ)
        slow.fault = SLOW
        assert bytes(queue.start(slow).data) == b"x" * 4 * KIB


def on_medium(*rules: str, requests: Sequence[Request], size_bytes: int = 64 * KIB) -> list[bytes]:
    """What the requests read from a medium on which each sector is its number; then all of it."""
    medium = MemoryMedium(size_bytes)
    for sector in range(size_bytes // SECTOR):
        medium.write(sector * SECTOR, bytes([sector]) * SECTOR)
    device = check_disk(Disk("constant:100ns", faults=rules)).device.build(0, size_bytes)
    read = []
    with new_workers() as workers:
        queue = MediumQueue(medium, workers, deadline_s=10.0)
        for number, request in enumerate(requests):
            device.submit(request, number * 1000)
            read.append(bytes(queue.start(request).data))
    return [*read, bytes(medium.read(0, size_bytes))]


def sectors_of(data: bytes) -> list[int]:
    """The sectors, each of which has one value."""
    parts = [data[place : place + SECTOR] for place in range(0, len(data), SECTOR)]
    assert all(part == part[:1] * SECTOR for part in parts)
    return [part[0] for part in parts]


def written(sector: int, count: int) -> Request:
    request = asked(WRITE, sector, count)
    request.data = b"\xff" * count * SECTOR
    return request


def test_a_lost_write_changes_nothing() -> None:
    requests = [written(8, 8), asked(Operation.DISCARD, 16), asked(READ, 8)]
    *_, read, after = on_medium("lose,sectors=8..23", requests=requests)
    assert sectors_of(read) == list(range(8, 16))
    assert sectors_of(after) == list(range(128))


def test_of_a_torn_write_the_first_sectors_are_there() -> None:
    cuts = []
    for number in range(8, 72, 8):
        before = [asked(READ) for _ in range(3)]
        *_, after = on_medium("torn", requests=[*before, written(number, 8)])
        values = sectors_of(after)[number : number + 8]
        cut = values.index(number + values.count(255))
        assert values == [255] * cut + list(range(number + cut, number + 8))
        cuts.append(cut)
    assert all(1 <= cut <= 7 for cut in cuts)
    *_, after = on_medium("torn", requests=[written(8, 1)])
    assert sectors_of(after)[8] == 255


def test_a_misdirected_request_goes_elsewhere() -> None:
    requests = [written(8, 8), asked(READ, 0), written(120, 8)]
    _, read, _, after = on_medium("misdirect=16", requests=requests)
    assert sectors_of(read) == list(range(16, 24))
    values = list(range(128))
    values[24:32] = values[15:23] = [255] * 8  # behind the last place for 8 sectors comes the first
    assert sectors_of(after) == values
    moved, plain = asked(WRITE, 8), asked(READ, 24)
    moved.fault = Fault(FaultKind.MISDIRECT, moved_bytes=16 * SECTOR)
    assert moved.conflicts_with(plain)
    assert plain.conflicts_with(moved)
    assert not moved.conflicts_with(asked(READ, 8))


def test_flipped_bits_are_in_what_is_read_alone() -> None:
    *read, after = on_medium("flip=3,nth=2", requests=[asked(READ, 8) for _ in range(3)])
    whole = bytes(value for sector in range(8, 16) for value in [sector] * SECTOR)
    assert read[0] == read[2] == whole
    flipped = int.from_bytes(read[1], "little") ^ int.from_bytes(whole, "little")
    assert flipped.bit_count() == 3
    assert sectors_of(after) == list(range(128))


def test_a_disk_that_is_read_only_can_be_read_and_flushed() -> None:
    requests = [asked(operation) for operation in Operation]
    device = device_with("read_only")
    serve(device, [(0, request) for request in requests])
    failed = Fault(FaultKind.ERROR, errno.EREMOTEIO)
    assert [request.fault for request in requests] == [None, failed, None, failed, failed]


def test_what_did_not_reach_its_sectors_heals_none() -> None:
    for rule in ("lose,operation=write", "torn,operation=write", "misdirect=8,operation=write"):
        device = device_with(rule, "unreadable,sectors=8")
        requests = [(0, asked(WRITE, 8)), (1000, asked(READ, 8))]
        serve(device, requests)
        assert requests[1][1].fault == UNREADABLE


def test_only_our_agent_is_sent_linux_s_own_errors() -> None:
    medium_error, no_space = OSError(errno.ENODATA, ""), OSError(errno.ENOSPC, "")
    assert wire_error(medium_error) == NBD_EIO
    assert wire_error(medium_error, to_agent=True) == SYSTEM_ERROR + errno.ENODATA
    for to_agent in (False, True):
        assert wire_error(no_space, to_agent=to_agent) == NBD_ENOSPC
        assert wire_error(OSError(errno.EIO, ""), to_agent=to_agent) == NBD_EIO
        assert wire_error(OSError("?"), to_agent=to_agent) == NBD_EIO
