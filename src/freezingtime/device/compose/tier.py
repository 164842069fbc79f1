# SPDX-License-Identifier: GPL-2.0-or-later
"""A fast device as a cache of a slow one: blocks in LRU order, write-back or -through.

Space is given out by the block. What is in a block is known by the sector, as in Linux's bcache
and in Open CAS: a write of 4 KiB neither fills the rest of its block nor makes it dirty.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from freezingtime.annotation import ServedFrom
from freezingtime.device.base import Device
from freezingtime.device.compose.composite import CompositeDevice, Part, Plan, part_of
from freezingtime.device.compose.members import Composition, MemberTable
from freezingtime.device.kept.state import State, entry, integer, items, one_of, require
from freezingtime.device.model_parameters import Making
from freezingtime.device.parameters import Table
from freezingtime.device.schema import SizeBytes, key
from freezingtime.request import Operation, Request

FAST, SLOW = 0, 1
SECTOR_BYTES = 512
#: What is in a block is known by the sector, in one integer.
_BLOCK_BYTES_MOST = 64 << 20


class CacheParams(Composition, frozen=True, kw_only=True):
    """A fast device in front of a slow one."""

    fast: Annotated[MemberTable, key("the device that holds the blocks")]
    slow: Annotated[MemberTable, key("the device behind it")]
    cache_bytes: Annotated[SizeBytes, key("size of the cache on the fast device", least=4096)]
    block_bytes: Annotated[
        SizeBytes, key("unit of allocation", least=SECTOR_BYTES, most=_BLOCK_BYTES_MOST)
    ] = 64 * 1024
    write_back: Annotated[
        bool, key("whether a write completes on the fast device, or only on both")
    ] = True

    @property
    def tables(self) -> Sequence[MemberTable]:
        return self.fast, self.slow

    def make(self, making: Making) -> Device:
        fast, slow = self.make_members(making, [self.cache_bytes, making.size_bytes])
        return CacheTier(
            fast,
            slow,
            cache_bytes=self.cache_bytes,
            block_bytes=self.block_bytes,
            write_back=self.write_back,
        )

    def check(self, table: Table) -> None:
        if self.block_bytes % SECTOR_BYTES:
            raise table.error("block", f"must be a multiple of {SECTOR_BYTES}B, up to 64MiB")
        if self.block_bytes > self.cache_bytes:
            raise table.error("block", "must not be larger than the cache")


@dataclass(slots=True, eq=False)
class _Block:
    """Cached sectors of one block: bit n of a mask is the block's sector n."""

    slot: int
    """Where on the fast device."""
    present: int = 0
    dirty: int = 0
    """Those of ``present`` that the slow device does not have yet."""


class CacheTier(CompositeDevice):
    """Caches sectors, in blocks of ``block_bytes``; the block least recently used gives way.

    What a read finds missing comes from the slow device, and is written to the fast one in the
    background; then it is there. With ``write_back``, a write is done when the fast device has
    it, and reaches the slow one when its block gives way, or at a flush; else both have it at
    once. A sector of which a request touches a part counts as touched; one of which a discard
    leaves a part stays.

    Raises ValueError for a block that is no whole number of sectors, or does not fit.
    """

    def __init__(
        self, fast: Device, slow: Device, *, cache_bytes: int, block_bytes: int, write_back: bool
    ) -> None:
        super().__init__([fast, slow])
        if block_bytes < SECTOR_BYTES or block_bytes % SECTOR_BYTES:
            raise ValueError(f"a block must be a multiple of {SECTOR_BYTES} bytes")
        self._block_bytes = block_bytes
        self._capacity_blocks = cache_bytes // block_bytes
        if self._capacity_blocks < 1:
            raise ValueError("the cache must hold at least one block")
        self._write_back = write_back
        self._blocks: OrderedDict[int, _Block] = OrderedDict()  # oldest first
        self._dirty: set[int] = set()  # the blocks that have dirty sectors
        self._free_slots: list[int] = []  # of blocks that were discarded
        self._fills: dict[Request, tuple[_Block, int]] = {}  # under way, with their sectors
        self._hit_count = 0
        self._miss_count = 0

    def statistics(self) -> dict[str, float]:
        return {
            "cache_hits": self._hit_count,
            "cache_misses": self._miss_count,
            "dirty_blocks": len(self._dirty),
            **super().statistics(),
        }

    def own_state(self, parts: Mapping[Request, int]) -> State:
        numbers = {id(block): number for number, block in self._blocks.items()}
        return {
            "blocks": [
                [number, block.slot, f"{block.present:x}", f"{block.dirty:x}"]
                for number, block in self._blocks.items()
            ],
            "free_slots": list(self._free_slots),
            # What is brought to a block that has given way is of no consequence.
            "fills": [
                [parts[fill], numbers[id(block)], f"{sectors:x}"]
                for fill, (block, sectors) in self._fills.items()
                if id(block) in numbers
            ],
        }

    def restore_own(self, state: State, parts: Sequence[Request]) -> None:
        last_slot = self._capacity_blocks - 1
        for number, slot, present, dirty in items(entry(state, "blocks"), "the blocks"):
            block = _Block(integer(slot, "a slot", most=last_slot))
            block.present, block.dirty = self._mask_of(present), self._mask_of(dirty)
            require(not block.dirty & ~block.present, "a block")
            self._blocks[integer(number, "a block")] = block
            if block.dirty:
                self._dirty.add(number)
        self._free_slots = [
            integer(slot, "a slot", most=last_slot)
            for slot in items(entry(state, "free_slots"), "it")
        ]
        slots = [block.slot for block in self._blocks.values()] + self._free_slots
        require(sorted(slots) == list(range(len(slots))), "the slots")
        for number, of_block, sectors in items(entry(state, "fills"), "what is brought"):
            require(of_block in self._blocks, "a block")
            fill = self._blocks[of_block], self._mask_of(sectors)
            self._fills[one_of(parts, number, "a part")] = fill

    def _mask_of(self, text: object) -> int:
        sectors = int(str(text), 16)
        require(0 <= sectors < 1 << (self._block_bytes // SECTOR_BYTES), "a block's sectors")
        return sectors

    def plan(self, request: Request) -> Plan:
        if request.operation is Operation.FLUSH:
            return Plan([self._write_out(sorted(self._dirty)), self.everywhere(request)])
        if request.operation is Operation.DISCARD:
            self._forget(request)
            return Plan([self._whole(SLOW, request)])
        numbers = range(
            request.offset_bytes // self._block_bytes,
            -(-request.end_bytes // self._block_bytes),
        )
        if len(numbers) > self._capacity_blocks:
            return self._bypass(request, numbers)
        if request.operation is Operation.READ:
            return self._plan_read(request, numbers)
        return self._plan_write(request, numbers)

    def _bypass(self, request: Request, numbers: range) -> Plan:
        """A request larger than the cache goes past it."""
        written_out: list[Part] = []
        if request.operation is Operation.READ:
            self._miss_count += 1
            written_out = self._write_out(sorted(self._dirty.intersection(numbers)))
        else:
            self._forget(request)
        phases = [written_out, self._whole(SLOW, request)]
        return Plan(phases, served_from=ServedFrom.MEDIA)

    def _plan_read(self, request: Request, numbers: range) -> Plan:
        self._use(numbers)
        parts: list[Part] = []
        missing: dict[int, int] = {}
        for number in numbers:
            wanted = self._touched(request, number)
            block = self._blocks.get(number)
            if block is not None:
                parts += self._parts(FAST, request, number, block.slot, wanted & block.present)
                wanted &= ~block.present
            if wanted:
                parts += self._parts(SLOW, request, number, number, wanted)
                missing[number] = wanted
        if not missing:
            self._hit_count += 1
            return Plan([parts], served_from=ServedFrom.CACHE)
        self._miss_count += 1
        evicted = self._admit(missing)
        fills = [
            part for number, sectors in missing.items() for part in self._fill(number, sectors)
        ]
        return Plan([parts], background=[evicted, fills], served_from=ServedFrom.MEDIA)

    def _plan_write(self, request: Request, numbers: range) -> Plan:
        self._use(numbers)
        evicted = self._admit(numbers)
        written_back = self._write_back and not request.fua
        fast: list[Part] = []
        for number in numbers:
            block, sectors = self._blocks[number], self._touched(request, number)
            fast += self._parts(FAST, request, number, block.slot, sectors)
            block.present |= sectors
            self._set_dirty(
                number, block.dirty | sectors if written_back else block.dirty & ~sectors
            )
        if written_back:
            return Plan([evicted, fast], served_from=ServedFrom.CACHE)
        phases = [evicted, [*fast, *self._whole(SLOW, request)]]
        return Plan(phases, served_from=ServedFrom.MEDIA)

    def _use(self, numbers: range) -> None:
        """Make those of the blocks that are there the youngest: none of them gives way now."""
        for number in numbers:
            if number in self._blocks:
                self._blocks.move_to_end(number)

    def _admit(self, numbers: Iterable[int]) -> list[Part]:
        """Give the blocks a slot each that have none; return what must be written out first."""
        written_out: list[Part] = []
        for number in numbers:
            if number in self._blocks:
                continue
            if self._free_slots:
                slot = self._free_slots.pop()
            elif len(self._blocks) < self._capacity_blocks:
                slot = len(self._blocks)
            else:
                victim = next(iter(self._blocks))
                written_out += self._write_out([victim])
                slot = self._blocks.pop(victim).slot
            self._blocks[number] = _Block(slot)
        return written_out

    def _fill(self, number: int, sectors: int) -> Iterator[Part]:
        """Write what a read has brought to the fast device."""
        block = self._blocks[number]
        for first, count in _runs(sectors):
            fill = Request(
                Operation.WRITE,
                block.slot * self._block_bytes + first * SECTOR_BYTES,
                count * SECTOR_BYTES,
            )
            self._fills[fill] = (block, _mask(first, first + count))
            yield FAST, fill

    def _part_done(self, part: Request, now_ns: int) -> None:
        fill = self._fills.pop(part, None)
        if fill is not None:
            block, sectors = fill
            block.present |= sectors  # of no consequence if the block has given way
        super()._part_done(part, now_ns)

    def _forget(self, request: Request) -> None:
        """Have nothing of what the request covers: it is no longer valid."""
        first = request.offset_bytes // self._block_bytes
        covered = range(first, -(-request.end_bytes // self._block_bytes))
        known = covered if len(covered) < len(self._blocks) else list(self._blocks)
        for number in known:
            if number not in covered or number not in self._blocks:
                continue
            gone = self._covered(request, number)
            block = self._blocks[number]
            block.present &= ~gone
            self._set_dirty(number, block.dirty & ~gone)
            for fill, (filled, sectors) in self._fills.items():
                if filled is block:
                    self._fills[fill] = (filled, sectors & ~gone)
            if not block.present and gone == _mask(0, self._block_bytes // SECTOR_BYTES):
                self._free_slots.append(self._blocks.pop(number).slot)

    def _set_dirty(self, number: int, sectors: int) -> None:
        self._blocks[number].dirty = sectors
        if sectors:
            self._dirty.add(number)
        else:
            self._dirty.discard(number)

    def _write_out(self, numbers: Iterable[int]) -> list[Part]:
        """Bring the blocks' dirty sectors to the slow device; they are then clean."""
        parts: list[Part] = []
        for number in numbers:
            start_bytes = number * self._block_bytes
            for first, count in _runs(self._blocks[number].dirty):
                offset_bytes = start_bytes + first * SECTOR_BYTES
                write = Request(Operation.WRITE, offset_bytes, count * SECTOR_BYTES)
                parts.append((SLOW, write))
            self._set_dirty(number, 0)
        return parts

    def _touched(self, request: Request, number: int) -> int:
        """The sectors of a block that a request touches."""
        low, high = self._inside(request, number)
        return _mask(low // SECTOR_BYTES, -(-high // SECTOR_BYTES))

    def _covered(self, request: Request, number: int) -> int:
        """The sectors of a block that a request covers whole."""
        low, high = self._inside(request, number)
        return _mask(-(-low // SECTOR_BYTES), high // SECTOR_BYTES)

    def _inside(self, request: Request, number: int) -> tuple[int, int]:
        """From where to where in a block a request goes, in bytes."""
        start_bytes = number * self._block_bytes
        low = max(request.offset_bytes - start_bytes, 0)
        high = min(request.end_bytes - start_bytes, self._block_bytes)
        return low, high

    def _parts(
        self, member: int, request: Request, number: int, place: int, sectors: int
    ) -> Iterator[Part]:
        """Return the request's parts in those sectors of a block, which is at ``place`` there."""
        low, high = self._inside(request, number)
        for first, count in _runs(sectors):
            start_bytes = max(low, first * SECTOR_BYTES)
            end_bytes = min(high, (first + count) * SECTOR_BYTES)
            offset_bytes = place * self._block_bytes + start_bytes
            yield member, part_of(request, offset_bytes, end_bytes - start_bytes)

    def _whole(self, member: int, request: Request) -> list[Part]:
        return [(member, part_of(request, request.offset_bytes, request.length_bytes))]


def _mask(first: int, end: int) -> int:
    """The sectors from ``first`` up to, but not including, ``end``."""
    return (1 << end) - (1 << first) if first < end else 0


def _runs(sectors: int) -> Iterator[tuple[int, int]]:
    """Neighbouring sectors of a mask: the first of each run and how many it has."""
    at = 0
    while sectors:
        skipped = (sectors & -sectors).bit_length() - 1
        sectors >>= skipped
        count = (~sectors & (sectors + 1)).bit_length() - 1
        yield at + skipped, count
        sectors >>= count
        at += skipped + count
