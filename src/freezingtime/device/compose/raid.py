# SPDX-License-Identifier: GPL-2.0-or-later
"""RAID-5 and RAID-6: rotating parity, with read-modify-write for small writes.

Layout: left-symmetric, as Linux md's default (md(4)): parity moves one member to the left
from row to row, and data follows it. A write that covers a whole row writes data and
parity at once. A smaller one reads first what the new parity needs: either the old data
and parity (read-modify-write), or the row's other data (reconstruct-write), whichever is
fewer reads; Chen, Lee, Gibson, Katz, Patterson, "RAID: High-Performance, Reliable
Secondary Storage", ACM Computing Surveys 1994, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from freezingtime.device.base import Device
from freezingtime.device.compose.composite import CompositeDevice, Part, Phase, Plan, part_of
from freezingtime.device.compose.members import Chunk, StripedMembers
from freezingtime.device.model_parameters import Making
from freezingtime.request import Operation, Request


class Raid5Params(StripedMembers, frozen=True, kw_only=True):
    """Members of which one in each row holds parity."""

    parity_count = 1
    least = 3
    chunk_bytes: Chunk = 512 * 1024

    def make(self, making: Making) -> Device:
        return ParityRaid(self.make_equal_members(making), self.chunk_bytes, self.parity_count)


class Raid6Params(Raid5Params, frozen=True, kw_only=True):
    """Members of which two in each row hold parity."""

    parity_count = 2
    least = 4


class ParityRaid(CompositeDevice):
    """``parity_count`` is 1 for RAID-5, 2 for RAID-6."""

    def __init__(self, members: Sequence[Device], chunk_bytes: int, parity_count: int) -> None:
        super().__init__(members)
        if len(members) < parity_count + 2:
            raise ValueError(f"needs at least {parity_count + 2} members")
        self._chunk_bytes = chunk_bytes
        self._parity_count = parity_count
        self._data_count = len(members) - parity_count

    def plan(self, request: Request) -> Plan:
        if request.operation is Operation.FLUSH:
            return Plan([self.everywhere(request)])
        reads: list[Part] = []
        writes: list[Part] = []
        for row, pieces in self._rows(request).items():
            if request.operation is Operation.READ:
                reads += self._data_parts(request, row, pieces)
            else:
                row_reads, row_writes = self._row_write(request, row, pieces)
                reads += row_reads
                writes += row_writes
        return Plan([reads, writes])

    def _rows(self, request: Request) -> dict[int, dict[int, tuple[int, int]]]:
        """For each row, for each data chunk touched: the bytes (from, to) inside it."""
        rows: dict[int, dict[int, tuple[int, int]]] = {}
        offset_bytes = request.offset_bytes
        while offset_bytes < request.end_bytes:
            chunk, inside_bytes = divmod(offset_bytes, self._chunk_bytes)
            take_bytes = min(self._chunk_bytes - inside_bytes, request.end_bytes - offset_bytes)
            row, column = divmod(chunk, self._data_count)
            rows.setdefault(row, {})[column] = (inside_bytes, inside_bytes + take_bytes)
            offset_bytes += take_bytes
        return rows

    def _parity_members(self, row: int) -> list[int]:
        width = len(self.members)
        first = (width - 1 - row) % width
        return [(first + number) % width for number in range(self._parity_count)]

    def _data_member(self, row: int, column: int) -> int:
        width = len(self.members)
        return (self._parity_members(row)[-1] + 1 + column) % width

    def _part(self, kind: Request, row: int, member: int, span: tuple[int, int]) -> Part:
        offset_bytes = row * self._chunk_bytes + span[0]
        return member, part_of(kind, offset_bytes, span[1] - span[0])

    def _data_parts(
        self, kind: Request, row: int, pieces: dict[int, tuple[int, int]]
    ) -> list[Part]:
        return [
            self._part(kind, row, self._data_member(row, column), span)
            for column, span in pieces.items()
        ]

    def _row_write(
        self, request: Request, row: int, pieces: dict[int, tuple[int, int]]
    ) -> tuple[Phase, Phase]:
        span = (min(low for low, _ in pieces.values()), max(high for _, high in pieces.values()))
        read = Request(Operation.READ, 0, 0)
        parity = self._parity_members(row)
        writes = self._data_parts(request, row, pieces)
        writes += [self._part(request, row, member, span) for member in parity]
        if len(pieces) == self._data_count and set(pieces.values()) == {(0, self._chunk_bytes)}:
            return [], writes
        others = [
            (column, missing)
            for column in range(self._data_count)
            if (missing := _missing(pieces.get(column), span)) is not None
        ]
        if len(others) < len(pieces) + len(parity):
            reads = [
                self._part(read, row, self._data_member(row, column), missing)
                for column, missing in others
            ]
        else:
            reads = self._data_parts(read, row, pieces)
            reads += [self._part(read, row, member, span) for member in parity]
        return reads, writes


def _missing(piece: tuple[int, int] | None, span: tuple[int, int]) -> tuple[int, int] | None:
    """Return the part of ``span`` that a column's new data does not cover (its hull), or None."""
    if piece is None:
        return span
    if piece == span:
        return None
    low = span[0] if piece[0] > span[0] else piece[1]
    high = span[1] if piece[1] < span[1] else piece[0]
    return (low, high)
