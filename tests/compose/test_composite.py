# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices made of devices: where requests go, and when they complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.device.base import Device
from freezingtime.device.compose.composite import Concatenation, Mirror, Stripe
from freezingtime.device.compose.perturb import Perturb, PerturbParams
from freezingtime.device.compose.raid import ParityRaid
from freezingtime.device.compose.tier import CacheTier
from freezingtime.device.constant import ConstantDevice
from freezingtime.request import Operation, Request

KIB = 1024
READ, WRITE, FLUSH = Operation.READ, Operation.WRITE, Operation.FLUSH


class Logged(ConstantDevice):
    """A member that remembers what it was asked."""

    def __init__(self, read_ns: int = 100, write_ns: int = 1000) -> None:
        super().__init__(read_ns=read_ns, write_ns=write_ns, flush_ns=50, discard_ns=10)
        self.asked: list[tuple[Operation, int, int]] = []

    def submit(self, request: Request, now_ns: int) -> None:
        self.asked.append((request.operation, request.offset_bytes, request.length_bytes))
        super().submit(request, now_ns)


def completions_ns(device: Device, requests: list[tuple[int, Request]]) -> dict[Request, int]:
    """Drive a device through timed submissions; when each request completed."""
    done: dict[Request, int] = {}

    def advance_until(limit_ns: float) -> None:
        while (event_ns := device.next_event_ns()) is not None and event_ns <= limit_ns:
            for request in device.advance(event_ns):
                assert request not in done
                done[request] = event_ns

    for now_ns, request in requests:
        advance_until(now_ns)
        device.submit(request, now_ns)
    advance_until(float("inf"))
    return done


def one_ns(device: Device, operation: Operation, offset: int = 0, length: int = 0) -> int:
    request = Request(operation, offset, length)
    return completions_ns(device, [(0, request)])[request]


def test_stripe_asks_each_member_once() -> None:
    members = [Logged(), Logged(), Logged()]
    stripe = Stripe(members, 64 * KIB)
    assert one_ns(stripe, READ, 32 * KIB, 256 * KIB) == 100
    assert members[0].asked == [(READ, 32 * KIB, 96 * KIB)]
    assert members[1].asked == [(READ, 0, 96 * KIB)]
    assert members[2].asked == [(READ, 0, 64 * KIB)]


def test_flush_goes_to_all_members() -> None:
    members = [Logged(), Logged()]
    assert one_ns(Stripe(members, 4 * KIB), FLUSH) == 50
    assert [member.asked for member in members] == [[(FLUSH, 0, 0)]] * 2


def test_concatenation_splits_at_the_seam() -> None:
    members = [Logged(), Logged()]
    whole = Concatenation(members, [8 * KIB, 8 * KIB])
    one_ns(whole, WRITE, 4 * KIB, 8 * KIB)
    assert members[0].asked == [(WRITE, 4 * KIB, 4 * KIB)]
    assert members[1].asked == [(WRITE, 0, 4 * KIB)]


def test_mirror_writes_to_all_and_spreads_reads() -> None:
    members = [Logged(write_ns=1000), Logged(write_ns=3000)]
    mirror = Mirror(members)
    assert one_ns(mirror, WRITE, 0, 4 * KIB) == 3000
    reads = [(10_000, Request(READ, n * 4 * KIB, 4 * KIB)) for n in range(4)]
    completions_ns(mirror, reads)
    assert [len(member.asked) for member in members] == [3, 3]


def test_raid5_small_write_reads_then_writes() -> None:
    """Chen et al. 1994: a small write costs two reads and two writes."""
    members = [Logged() for _ in range(5)]
    assert one_ns(ParityRaid(members, 64 * KIB, 1), WRITE, 0, 4 * KIB) == 1100
    asked = [operation for member in members for operation, _, _ in member.asked]
    assert sorted(asked) == [READ, READ, WRITE, WRITE]


def test_raid6_small_write_costs_three_and_three() -> None:
    members = [Logged() for _ in range(8)]
    assert one_ns(ParityRaid(members, 64 * KIB, 2), WRITE, 0, 4 * KIB) == 1100
    asked = [operation for member in members for operation, _, _ in member.asked]
    assert sorted(asked) == [READ] * 3 + [WRITE] * 3


def test_raid5_full_row_writes_without_reading() -> None:
    members = [Logged() for _ in range(4)]
    assert one_ns(ParityRaid(members, 16 * KIB, 1), WRITE, 48 * KIB, 48 * KIB) == 1000
    assert all([op for op, _, _ in member.asked] == [WRITE] for member in members)


def test_raid5_nearly_full_row_reconstructs() -> None:
    """Two of three data chunks new: reading the third beats reading old data and parity."""
    members = [Logged() for _ in range(4)]
    one_ns(ParityRaid(members, 16 * KIB, 1), WRITE, 0, 32 * KIB)
    asked = [operation for member in members for operation, _, _ in member.asked]
    assert sorted(asked) == [READ, WRITE, WRITE, WRITE]


@given(
    st.integers(3, 7),
    st.sampled_from([1, 2]),
    st.integers(0, 200),
    st.integers(1, 100),
)
def test_raid_reads_each_byte_once(width: int, parity: int, offset: int, length: int) -> None:
    members = [Logged() for _ in range(width + parity)]
    one_ns(ParityRaid(members, 4 * KIB, parity), READ, offset * 512, length * 512)
    assert sum(size for member in members for _, _, size in member.asked) == length * 512


def test_raid_parity_rotates() -> None:
    members = [Logged() for _ in range(4)]
    raid = ParityRaid(members, 4 * KIB, 1)
    requests = [(0, Request(READ, row * 12 * KIB, 12 * KIB)) for row in range(4)]
    completions_ns(raid, requests)
    assert [len(member.asked) for member in members] == [3, 3, 3, 3]


def make_tier(write_back: bool, blocks: int = 2) -> tuple[CacheTier, Logged, Logged]:
    fast, slow = Logged(read_ns=1, write_ns=2), Logged(read_ns=100, write_ns=1000)
    tier = CacheTier(
        fast, slow, cache_bytes=blocks * 4 * KIB, block_bytes=4 * KIB, write_back=write_back
    )
    return tier, fast, slow


def test_tier_reads_slowly_once() -> None:
    tier, _, slow = make_tier(write_back=True)
    first, second = Request(READ, 0, 4 * KIB), Request(READ, 0, 4 * KIB)
    done = completions_ns(tier, [(0, first), (1000, second)])
    assert (done[first], done[second]) == (100, 1001)
    assert len(slow.asked) == 1
    assert tier.statistics()["cache_hits"] == 1


def test_tier_evicts_the_least_recently_used_and_writes_it_out() -> None:
    tier, _, slow = make_tier(write_back=True)
    requests = [(n * 10_000, Request(WRITE, n * 4 * KIB, 4 * KIB)) for n in range(3)]
    done = list(completions_ns(tier, requests).values())
    assert done == [2, 10_002, 21_002]
    assert slow.asked == [(WRITE, 0, 4 * KIB)]


def test_tier_flush_writes_all_dirty_blocks() -> None:
    tier, _, slow = make_tier(write_back=True)
    flush = Request(FLUSH, 0, 0)
    done = completions_ns(tier, [(0, Request(WRITE, 0, 8 * KIB)), (100, flush)])
    assert done[flush] == 100 + 1000 + 50
    assert [op for op, _, _ in slow.asked] == [WRITE, WRITE, FLUSH]


def test_write_through_tier_is_as_slow_as_the_slow_device() -> None:
    tier, fast, slow = make_tier(write_back=False)
    assert one_ns(tier, WRITE, 0, 4 * KIB) == 1000
    assert fast.asked == slow.asked == [(WRITE, 0, 4 * KIB)]


def test_request_larger_than_the_cache_goes_past_it() -> None:
    tier, fast, _ = make_tier(write_back=True)
    assert one_ns(tier, WRITE, 0, 64 * KIB) == 1000
    assert fast.asked == []


def test_pauses_hold_completions_back() -> None:
    params = PerturbParams(pause_every_ns=10_000, pause_ns=2_000)
    device = Perturb(Logged(), params, seed=1)
    requests = [(now, Request(READ, 0, 512)) for now in (0, 3_000, 9_950)]
    assert list(completions_ns(device, requests).values()) == [2_000, 3_100, 12_000]


def test_fail_slow_multiplies_the_time() -> None:
    params = PerturbParams(slow_factor=5.0, slow_from_ns=1_000, slow_until_ns=2_000)
    device = Perturb(Logged(), params, seed=1)
    requests = [(now, Request(READ, 0, 512)) for now in (0, 1_500, 2_500)]
    assert sorted(completions_ns(device, requests).values()) == [100, 2_000, 2_600]


def test_hiccups_have_their_probability_and_repeat() -> None:
    def slow_count(seed: int) -> int:
        params = PerturbParams(hiccup_probability=0.1, hiccup_ns=1_000_000)
        device = Perturb(Logged(), params, seed)
        done = completions_ns(device, [(n * 200, Request(READ, 0, 512)) for n in range(4000)])
        return sum(time_ns > 4000 * 200 + 100 for time_ns in done.values())

    assert slow_count(3) == slow_count(3)
    assert slow_count(3) == pytest.approx(400, rel=0.2)


def test_compositions_nest() -> None:
    members = [Mirror([Logged(), Logged()]) for _ in range(2)]
    assert one_ns(Perturb(Stripe(members, 4 * KIB), PerturbParams(), 0), WRITE, 0, 8 * KIB) == 1000
