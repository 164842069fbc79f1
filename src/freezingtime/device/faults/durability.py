# SPDX-License-Identifier: GPL-2.0-or-later
"""Durability: the part of a disk's content that survives a power cut.

::

    [durability]
    power_loss_protection = true   # what is acknowledged survives
    ignores_flush = true           # a device that lies: flush and FUA are acknowledged, no more
    torn_unit = "4KiB"             # a write is cut only between units of this size
    atomic_write = "16KiB"         # one that is no larger is all old or all new
    atomic_boundary = "64KiB"      # ... unless it crosses a multiple of this
    cache_size = "16MiB"           # no more is volatile: the oldest is written back for the newest
    drain_after = "5s"             # nothing is volatile for longer

A write is durable once it has completed if the disk has no volatile write cache or protects it;
else once it has completed with FUA, or once a flush has completed that arrived after the write
had completed; or once the cache has written it back by itself. Everything else may be lost or kept,
each unit by itself.

The terms are those of the NVM Express Command Set Specification: AWUPF (atomic_write) and NABSPF
(atomic_boundary).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, SizeBytes, TimeNs, key

#: The table's key in a description.
DURABILITY_TABLE = "durability"

_SECTOR_BYTES = 512
_UNIT_BYTES_MOST = 1 << 30


class DurabilityTable(Parameters, frozen=True, kw_only=True):
    """Table ``[durability]``: what survives a power cut."""

    power_loss_protection: (
        Annotated[
            bool,
            key(
                "whether acknowledged writes survive without a flush",
                missing="as the model has it; `false` where it has no such key",
            ),
        ]
        | None
    ) = None
    ignores_flush: Annotated[
        bool, key("whether flush and FUA are acknowledged without any effect")
    ] = False
    torn_unit_bytes: (
        Annotated[
            SizeBytes,
            key(
                "unit that is written as a whole",
                least=_SECTOR_BYTES,
                most=_UNIT_BYTES_MOST,
                missing="a logical block",
            ),
        ]
        | None
    ) = None
    atomic_write_bytes: (
        Annotated[
            SizeBytes,
            key(
                "largest write that is all old or all new (AWUPF)",
                least=_SECTOR_BYTES,
                most=_UNIT_BYTES_MOST,
                missing="the torn unit",
            ),
        ]
        | None
    ) = None
    atomic_boundary_bytes: Annotated[
        SizeBytes,
        key("writes across its multiples are not atomic (NABSPF); 0: none", most=_UNIT_BYTES_MOST),
    ] = 0
    cache_size_bytes: (
        Annotated[
            SizeBytes,
            key(
                "how much is volatile at most: the oldest is written back for the newest",
                least=_SECTOR_BYTES,
                missing="no limit",
            ),
        ]
        | None
    ) = None
    drain_after_ns: (
        Annotated[
            TimeNs,
            key("time after which a write is written back by itself", least=1, missing="never"),
        ]
        | None
    ) = None

    def check(self, table: Table) -> None:
        for name, size_bytes in (
            ("torn_unit", self.torn_unit_bytes),
            ("atomic_write", self.atomic_write_bytes),
            ("atomic_boundary", self.atomic_boundary_bytes),
            ("cache_size", self.cache_size_bytes),
        ):
            if (size_bytes or 0) % _SECTOR_BYTES:
                raise table.error(name, f"must be a multiple of {_SECTOR_BYTES} bytes")


#: Of a device that says nothing of it.
NO_DURABILITY_TABLE = DurabilityTable()


@dataclass(frozen=True, slots=True)
class Durability:
    """Durability of a disk; sizes in sectors of 512 bytes."""

    is_volatile: bool = True
    """Whether a completed write is durable only after a flush."""
    ignores_flush: bool = False
    torn_unit_sectors: int = 1
    atomic_write_sectors: int = 1
    atomic_boundary_sectors: int = 0
    cache_sectors: int | None = None
    """How much is volatile at most; None: there is no limit."""
    drain_after_ns: int | None = None
    """How long a completed write is volatile at most; None: until it is flushed."""

    def pieces(self, first_sector: int, sector_count: int) -> Iterator[tuple[int, int]]:
        """Split a write into what is lost or kept as a whole: first sector and count of each."""
        end = first_sector + sector_count
        if self._is_atomic(first_sector, sector_count):
            yield first_sector, sector_count
            return
        unit = self.torn_unit_sectors
        while first_sector < end:
            unit_end = min((first_sector // unit + 1) * unit, end)
            yield first_sector, unit_end - first_sector
            first_sector = unit_end

    def _is_atomic(self, first_sector: int, sector_count: int) -> bool:
        if sector_count > self.atomic_write_sectors:
            return False
        boundary = self.atomic_boundary_sectors
        last_sector = first_sector + sector_count - 1
        return not boundary or first_sector // boundary == last_sector // boundary


def durability_of(
    table: DurabilityTable, *, write_cache: bool, logical_block_bytes: int, protects: bool
) -> Durability:
    """The durability of a disk.

    ``write_cache``: whether it has a volatile cache; ``protects``: whether its model says that it
    is protected, which the table overrides.
    """
    own = table.power_loss_protection
    unit_bytes = table.torn_unit_bytes or logical_block_bytes
    cache_bytes = table.cache_size_bytes
    return Durability(
        is_volatile=write_cache and not (protects if own is None else own),
        ignores_flush=table.ignores_flush,
        torn_unit_sectors=unit_bytes // _SECTOR_BYTES,
        atomic_write_sectors=(table.atomic_write_bytes or unit_bytes) // _SECTOR_BYTES,
        atomic_boundary_sectors=table.atomic_boundary_bytes // _SECTOR_BYTES,
        cache_sectors=cache_bytes // _SECTOR_BYTES if cache_bytes is not None else None,
        drain_after_ns=table.drain_after_ns,
    )
