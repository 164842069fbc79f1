# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache tier against a reference model that is as simple as can be: sets of sectors."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.device.compose.tier import SECTOR_BYTES, CacheTier
from freezingtime.device.constant import ConstantDevice
from freezingtime.request import Operation, Request
from tests.compose.test_composite import Logged, completions_ns, one_ns

READ, WRITE, DISCARD, FLUSH = Operation.READ, Operation.WRITE, Operation.DISCARD, Operation.FLUSH
KIB = 1024
BLOCK_SECTORS = 8
CAPACITY_BLOCKS = 3
DISK_SECTORS = 12 * BLOCK_SECTORS


@dataclass(frozen=True)
class Step:
    operation: Operation
    first: int = 0
    count: int = 0
    fua: bool = False

    @property
    def sectors(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass
class Asked:
    """What a step asks of the members, by the sector; of the fast one only how many."""

    fast_read: int = 0
    fast_written: int = 0
    slow: list[tuple[Operation, int]] = field(default_factory=list)


class Reference:
    """What a cache knows, as sets of sectors; the blocks' order is that of their last use."""

    def __init__(self, write_back: bool) -> None:
        self.write_back = write_back
        self.present: set[int] = set()
        self.dirty: set[int] = set()
        self.blocks: list[int] = []

    def step(self, step: Step) -> Asked:
        asked = Asked()
        sectors = set(step.sectors)
        blocks = sorted({sector // BLOCK_SECTORS for sector in sectors})
        past = len(blocks) > CAPACITY_BLOCKS
        if step.operation is FLUSH:
            self.write_out(asked, self.dirty)
            asked.slow.append((FLUSH, 0))
            return asked
        if step.operation is DISCARD or (past and step.operation is WRITE):
            self.present -= sectors
            self.dirty -= sectors
            whole = {b for b in blocks if set(self.sectors_of(b)) <= sectors}
            self.blocks = [block for block in self.blocks if block not in whole]
            asked.slow += [(step.operation, sector) for sector in sectors]
        elif past:
            covered = {s for b in blocks for s in self.sectors_of(b)}
            self.write_out(asked, self.dirty & covered)
            asked.slow += [(READ, sector) for sector in sectors]
        elif step.operation is READ:
            missing = sectors - self.present
            asked.fast_read = len(sectors) - len(missing)
            asked.slow += [(READ, sector) for sector in missing]
            self.use(asked, blocks, {sector // BLOCK_SECTORS for sector in missing})
            asked.fast_written = len(missing)
            self.present |= missing
        else:
            self.use(asked, blocks, set(blocks))
            asked.fast_written = len(sectors)
            self.present |= sectors
            if self.write_back and not step.fua:
                self.dirty |= sectors
            else:
                self.dirty -= sectors
                asked.slow += [(WRITE, sector) for sector in sectors]
        return asked

    def use(self, asked: Asked, blocks: list[int], needed: set[int]) -> None:
        known = [block for block in blocks if block in self.blocks]
        self.blocks = [block for block in self.blocks if block not in known] + known
        for block in sorted(needed - set(known)):
            if len(self.blocks) == CAPACITY_BLOCKS:
                victim = set(self.sectors_of(self.blocks.pop(0)))
                self.write_out(asked, self.dirty & victim)
                self.present -= victim
            self.blocks.append(block)

    def write_out(self, asked: Asked, sectors: set[int]) -> None:
        asked.slow += [(WRITE, sector) for sector in sectors]
        self.dirty = self.dirty - sectors

    @staticmethod
    def sectors_of(block: int) -> range:
        return range(block * BLOCK_SECTORS, (block + 1) * BLOCK_SECTORS)


def new_tier(write_back: bool) -> tuple[CacheTier, Logged, Logged]:
    fast, slow = Logged(read_ns=1, write_ns=2), Logged(read_ns=5000, write_ns=10_000)
    block_bytes = BLOCK_SECTORS * SECTOR_BYTES
    tier = CacheTier(
        fast,
        slow,
        cache_bytes=CAPACITY_BLOCKS * block_bytes,
        block_bytes=block_bytes,
        write_back=write_back,
    )
    return tier, fast, slow


def sectors_of(log: Logged) -> list[tuple[Operation, int]]:
    """What a member was asked since the last look, by the sector."""
    asked = []
    for operation, offset_bytes, length_bytes in log.asked:
        first, rest = divmod(offset_bytes, SECTOR_BYTES)
        assert rest == length_bytes % SECTOR_BYTES == 0
        asked += [(operation, first + n) for n in range(length_bytes // SECTOR_BYTES)]
        if operation is FLUSH:
            asked.append((FLUSH, 0))
    log.asked.clear()
    return asked


@st.composite
def steps(draw: st.DrawFn) -> Step:
    operation = draw(st.sampled_from([READ, READ, WRITE, WRITE, DISCARD, FLUSH]))
    if operation is FLUSH:
        return Step(FLUSH)
    first = draw(st.integers(0, DISK_SECTORS - 1))
    count = draw(st.integers(1, min(5 * BLOCK_SECTORS, DISK_SECTORS - first)))
    fua = operation is WRITE and draw(st.sampled_from([False, False, True]))
    return Step(operation, first, count, fua)


@given(st.booleans(), st.lists(steps(), max_size=40))
def test_a_tier_does_what_sets_of_sectors_do(write_back: bool, workload: list[Step]) -> None:
    tier, fast, slow = new_tier(write_back)
    reference = Reference(write_back)
    now_ns = 0
    for step in workload:
        request = Request(
            step.operation,
            step.first * SECTOR_BYTES,
            step.count * SECTOR_BYTES,
            fua=step.fua,
        )
        done_ns = completions_ns(tier, [(now_ns, request)])[request]
        expected = reference.step(step)
        of_fast, of_slow = sectors_of(fast), sectors_of(slow)
        assert sorted(of_slow) == sorted(expected.slow)
        assert sum(operation is READ for operation, _ in of_fast) == expected.fast_read
        assert sum(operation is WRITE for operation, _ in of_fast) == expected.fast_written
        assert all(0 <= n < CAPACITY_BLOCKS * BLOCK_SECTORS for _, n in of_fast)
        if step.operation is READ:
            # A sector that is not there takes the slow device's time, whatever is beside it.
            assert (done_ns - now_ns >= 5000) == bool({READ} & {o for o, _ in expected.slow})
        dirty_blocks = {sector // BLOCK_SECTORS for sector in reference.dirty}
        assert tier.statistics()["dirty_blocks"] == len(dirty_blocks)
        now_ns = done_ns + 100_000


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 3000), steps()), max_size=40),
)
def test_requests_at_once_complete_once_each(
    write_back: bool, workload: list[tuple[int, Step]]
) -> None:
    tier, _, _ = new_tier(write_back)
    requests = []
    now_ns = 0
    for gap_ns, step in workload:
        now_ns += gap_ns
        request = Request(step.operation, step.first * 512, step.count * 512, fua=step.fua)
        requests.append((now_ns, request))
    done = completions_ns(tier, requests)
    assert all(done[request] >= arrived_ns for arrived_ns, request in requests)
    assert len(done) == len(requests)


def test_a_write_over_the_oldest_block_and_a_new_one_keeps_both() -> None:
    tier, _, slow = new_tier(write_back=True)
    block = BLOCK_SECTORS * SECTOR_BYTES
    writes = [(n * 100_000, Request(WRITE, n * block, block)) for n in (2, 3, 4)]
    both = Request(WRITE, block, 2 * block)
    assert completions_ns(tier, [*writes, (900_000, both)])[both] == 900_000 + 10_000 + 2
    assert slow.asked == [(WRITE, 3 * block, block)]


def test_a_small_write_does_not_fill_its_block() -> None:
    """What a 4 KiB write does not bring is the slow device's to read."""
    fast = ConstantDevice(read_ns=10_000, write_ns=10_000, flush_ns=0, discard_ns=0)
    slow = ConstantDevice(read_ns=5_000_000, write_ns=5_000_000, flush_ns=0, discard_ns=0)
    tier = CacheTier(fast, slow, cache_bytes=1 << 20, block_bytes=64 * KIB, write_back=True)
    assert one_ns(tier, WRITE, 0, 4 * KIB) == 10_000
    rest, written = Request(READ, 4 * KIB, 4 * KIB), Request(READ, 0, 4 * KIB)
    done = completions_ns(tier, [(20_000, rest), (10_000_000, written)])
    assert (done[rest], done[written]) == (20_000 + 5_000_000, 10_000_000 + 10_000)


def test_a_small_discard_leaves_the_rest_of_its_block_dirty() -> None:
    tier, _, slow = new_tier(write_back=True)
    block = BLOCK_SECTORS * SECTOR_BYTES
    requests = [
        (0, Request(WRITE, 0, block)),
        (100, Request(DISCARD, SECTOR_BYTES, SECTOR_BYTES)),
        (200, Request(FLUSH, 0, 0)),
    ]
    completions_ns(tier, requests)
    assert slow.asked == [
        (DISCARD, SECTOR_BYTES, SECTOR_BYTES),
        (WRITE, 0, SECTOR_BYTES),
        (WRITE, 2 * SECTOR_BYTES, block - 2 * SECTOR_BYTES),
        (FLUSH, 0, 0),
    ]


def test_what_is_still_coming_is_not_there_yet() -> None:
    """A second read while the first one waits for the slow device waits for it as well."""
    tier, _, _ = new_tier(write_back=True)
    first, second, third = (Request(READ, 0, 4 * KIB) for _ in range(3))
    done = completions_ns(tier, [(0, first), (1000, second), (20_000, third)])
    assert [done[first], done[second], done[third]] == [5000, 6000, 20_001]


def test_a_block_of_broken_sectors_is_refused() -> None:
    member = ConstantDevice(read_ns=1, write_ns=1, flush_ns=1, discard_ns=1)
    with pytest.raises(ValueError, match=r"a block must be a multiple of 512"):
        CacheTier(member, member, cache_bytes=4096, block_bytes=1000, write_back=True)
