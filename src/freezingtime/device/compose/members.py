# SPDX-License-Identifier: GPL-2.0-or-later
"""Members of a composition: a named device, or a model in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, ClassVar, TypeAlias

from freezingtime.device.base import Device
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, SizeBytes, key
from freezingtime.disk_traits import DiskTraits

Chunk: TypeAlias = Annotated[SizeBytes, key("bytes on one device before the next", least=512)]


class Member(Parameters, frozen=True, kw_only=True):
    """A member: a name, or a model and its parameters."""

    device: Annotated[str, key("a catalogue entry, a file or a class")] | None = None
    model: Annotated[str, key("or a model in place")] | None = None
    parameters: Annotated[Table, key("and its parameters")] | None = None

    def check(self, table: Table) -> None:
        if self.device is None and self.model is None:
            raise table.error("device", 'is missing; write device = "NAME", or model = ...')
        if self.device is not None and (self.model is not None or self.parameters is not None):
            other = "parameters" if self.model is None else "model"
            raise table.error(other, "give either device, or model and parameters")


class SizedMember(Member, frozen=True, kw_only=True):
    """A member with a size of its own."""

    size_bytes: Annotated[SizeBytes, key("its share of the whole", least=512)]


class MemberTable(Table):
    """The table of a member; who makes it reads it."""

    declared: ClassVar[type[Member]] = Member


class SizedMemberTable(MemberTable):
    """The table of a member with a size."""

    declared = SizedMember


def member_of(table: Table) -> Member:
    """Parse the table of a member.

    Raises:
        InputError: it is not right.
    """
    return table.read(table.declared if isinstance(table, MemberTable) else Member)


class Composition(ModelParameters, frozen=True):
    """A device made of devices."""

    @property
    def tables(self) -> Sequence[MemberTable]:
        """A table for each member."""
        raise NotImplementedError

    def row_bytes(self) -> int | None:
        """Bytes best written at once, if that is known."""
        return None

    def make_members(self, making: Making, sizes_bytes: Iterable[int | None]) -> list[Device]:
        """The members, of these sizes."""
        return [
            making.make_member(table, making.seed * 31 + number, size_bytes)
            for number, (table, size_bytes) in enumerate(
                zip(self.tables, sizes_bytes, strict=True), start=1
            )
        ]

    def traits(
        self, _device_class: str, member_traits: Callable[[Table], DiskTraits]
    ) -> DiskTraits:
        return _together([member_traits(table) for table in self.tables], self.row_bytes())


class Members(Composition, frozen=True, kw_only=True):
    """Members that are all of the same kind."""

    least: ClassVar[int] = 1
    """How many there must be."""
    member: Annotated[tuple[MemberTable, ...], key("the devices; one is enough with `count`")] = ()
    count: Annotated[int, key("number of devices, all like the one `member`", least=1, most=64)] = 1

    @property
    def tables(self) -> Sequence[MemberTable]:
        return self.member * self.count if len(self.member) == 1 else self.member

    def check(self, table: Table) -> None:
        if len(self.tables) < self.least:
            raise table.error(
                "member", f"needs at least {self.least} members ([[member]], or count = N)"
            )


class StripedMembers(Members, frozen=True, kw_only=True):
    """Members that hold a chunk each, in turn; ``parity_count`` of a row's hold no data."""

    parity_count: ClassVar[int] = 0
    chunk_bytes: Chunk

    def make_equal_members(self, making: Making) -> list[Device]:
        """The members, each of its share of the whole."""
        count, size_bytes = len(self.tables), making.size_bytes
        if size_bytes is not None:
            size_bytes = -(-size_bytes // (count - self.parity_count) // 4096) * 4096
        return self.make_members(making, [size_bytes] * count)

    def row_bytes(self) -> int | None:
        row_bytes = self.chunk_bytes * (len(self.tables) - self.parity_count)
        return row_bytes if row_bytes < 2**31 else None


def _together(members: Sequence[DiskTraits], row_bytes: int | None) -> DiskTraits:
    rates = [traits.rpm for traits in members]
    turning = max((rate for rate in rates if rate), default=0)
    logical_bytes = max(traits.logical_block_bytes for traits in members)
    granularities = [traits.discard_granularity_bytes or 0 for traits in members]
    if row_bytes is None and len(members) == 1:
        row_bytes = members[0].optimal_io_bytes
    return DiskTraits(
        logical_block_bytes=logical_bytes,
        physical_block_bytes=max(traits.physical_block_bytes for traits in members),
        # Not to turn is said only if each of them says it.
        rpm=turning if turning or None not in rates else None,
        discards=all(traits.discards for traits in members),
        discard_granularity_bytes=max(granularities) or None,
        write_cache=any(traits.write_cache for traits in members),
        optimal_io_bytes=row_bytes if row_bytes and row_bytes % logical_bytes == 0 else None,
    )
