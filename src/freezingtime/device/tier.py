"""A fast device as a cache of a slow one: set of blocks in LRU order, write-back or -through."""

from __future__ import annotations

from collections import OrderedDict

from freezingtime.annotation import ServedFrom
from freezingtime.device.base import Device
from freezingtime.device.composite import CompositeDevice, Part, Phase, Plan, part_of
from freezingtime.request import Operation, Request

FAST, SLOW = 0, 1


class CacheTier(CompositeDevice):
    """Caches whole blocks of ``block_bytes``; the least recently used one gives way.

    A read that misses is answered by the slow device, and the blocks are filled in the
    background. With ``write_back``, a write is done when the fast device has it, and a block
    is written to the slow one when it gives way, or at a flush; else both have it at once.
    """

    def __init__(
        self, fast: Device, slow: Device, *, cache_bytes: int, block_bytes: int, write_back: bool
    ) -> None:
        super().__init__([fast, slow])
        self._block_bytes = block_bytes
        self._capacity_blocks = cache_bytes // block_bytes
        if self._capacity_blocks < 1:
            raise ValueError("the cache must hold at least one block")
        self._write_back = write_back
        self._slots: OrderedDict[int, int] = OrderedDict()  # block -> slot, oldest first
        self._dirty: set[int] = set()
        self._hit_count = 0
        self._miss_count = 0

    def statistics(self) -> dict[str, float]:
        return {
            "cache_hits": self._hit_count,
            "cache_misses": self._miss_count,
            "dirty_blocks": len(self._dirty),
            **super().statistics(),
        }

    def plan(self, request: Request) -> Plan:
        if request.operation is Operation.FLUSH:
            return Plan([self._write_out(sorted(self._dirty)), self.everywhere(request)])
        blocks = range(
            request.offset_bytes // self._block_bytes,
            (request.end_bytes - 1) // self._block_bytes + 1,
        )
        if len(blocks) > self._capacity_blocks:
            return self._bypass(request, blocks)
        if request.operation is Operation.READ:
            return self._plan_read(request, blocks)
        if request.operation is Operation.DISCARD:
            for block in blocks:
                self._dirty.discard(block)
            return Plan([self._whole(SLOW, request)])
        return self._plan_write(request, blocks)

    def _bypass(self, request: Request, blocks: range) -> Plan:
        """A request larger than the cache goes past it; what it covers is written out first."""
        self._miss_count += request.operation is Operation.READ
        covered_dirty = sorted(self._dirty.intersection(blocks))
        phases = [self._write_out(covered_dirty), self._whole(SLOW, request)]
        return Plan(phases, served_from=ServedFrom.MEDIA)

    def _plan_read(self, request: Request, blocks: range) -> Plan:
        if all(block in self._slots for block in blocks):
            self._hit_count += 1
            return Plan([self._touch(request, blocks)], served_from=ServedFrom.CACHE)
        self._miss_count += 1
        # Dirty blocks must come from the cache; for simplicity all cached ones do.
        cached = [block for block in blocks if block in self._slots]
        missing = [block for block in blocks if block not in self._slots]
        parts = list(self._touch(request, cached))
        parts += [(SLOW, self._clip(request, block, block)) for block in missing]
        evicted, fills = self._admit(missing)
        return Plan([parts], background=[evicted, fills], served_from=ServedFrom.MEDIA)

    def _plan_write(self, request: Request, blocks: range) -> Plan:
        new = [block for block in blocks if block not in self._slots]
        evicted, _ = self._admit(new)
        fast = [(FAST, self._clip(request, block, self._slots[block])) for block in blocks]
        for block in blocks:
            self._slots.move_to_end(block)
        if self._write_back and not request.fua:
            self._dirty.update(blocks)
            return Plan([evicted, fast], served_from=ServedFrom.CACHE)
        phases = [evicted, [*fast, *self._whole(SLOW, request)]]
        return Plan(phases, served_from=ServedFrom.MEDIA)

    def _touch(self, request: Request, blocks: range | list[int]) -> Phase:
        for block in blocks:
            self._slots.move_to_end(block)
        return [(FAST, self._clip(request, block, self._slots[block])) for block in blocks]

    def _admit(self, blocks: list[int]) -> tuple[list[Part], list[Part]]:
        """Give ``blocks`` a slot each; what must be written out first, and the fills."""
        evicted_dirty = []
        fills: list[Part] = []
        for block in blocks:
            if len(self._slots) < self._capacity_blocks:
                slot = len(self._slots)
            else:
                victim, slot = self._slots.popitem(last=False)
                if victim in self._dirty:
                    evicted_dirty.append(victim)
            self._slots[block] = slot
            fill = Request(Operation.WRITE, slot * self._block_bytes, self._block_bytes)
            fills.append((FAST, fill))
        return self._write_out(evicted_dirty), fills

    def _write_out(self, blocks: list[int]) -> list[Part]:
        self._dirty.difference_update(blocks)
        size_bytes = self._block_bytes
        return [
            (SLOW, Request(Operation.WRITE, block * size_bytes, size_bytes)) for block in blocks
        ]

    def _clip(self, request: Request, block: int, at: int) -> Request:
        """The part of ``request`` that lies in ``block``, moved to where block ``at`` is."""
        start_bytes = block * self._block_bytes
        low = max(request.offset_bytes, start_bytes)
        high = min(request.end_bytes, start_bytes + self._block_bytes)
        return part_of(request, at * self._block_bytes + low - start_bytes, high - low)

    def _whole(self, member: int, request: Request) -> list[Part]:
        return [(member, part_of(request, request.offset_bytes, request.length_bytes))]
