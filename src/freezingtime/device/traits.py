# SPDX-License-Identifier: GPL-2.0-or-later
"""Traits of a described device as a disk: its table ``[disk]``, its class, its figures.

::

    [disk]
    logical_block = "4KiB"        # 512B unless said; with physical_block = "4KiB": 512e
    physical_block = "4KiB"
    rotation_rate = 7200          # 0: it does not turn
    write_cache = false           # what is acknowledged is safe from power loss
    discard = false
    discard_granularity = "16KiB"
    optimal_io = "1MiB"
    model_name = "SuperDisk 9"    # the summary up to its first comma

What is not there follows from the rest: hard disks (``model = "disk"``) turn at their ``rpm``,
have physical sectors of their ``sector``, a cache if they have a ``write_cache``, and do not
discard; devices of the classes flash, scm, mobile and volume do not turn; an SSD
(``model = "flash"``) discards mapping units. Compositions have the largest blocks of their
members, turn if one of them does, and discard if all do; a stripe's or RAID's optimal I/O is a
whole row. Of all others nothing is said.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, SizeBytes, key
from freezingtime.disk_traits import DiskTraits
from freezingtime.errors import InputError

#: The table's key in a description.
DISK_TABLE = "disk"

_MODEL_NAME_LENGTH = 40

Value = TypeVar("Value")


class DiskTable(Parameters, frozen=True, kw_only=True):
    """Table ``[disk]``: traits that do not follow from the rest."""

    logical_block_bytes: Annotated[SizeBytes, key("unit of addresses")] | None = None
    physical_block_bytes: (
        Annotated[SizeBytes, key("physical unit; 4KiB over 512B: 512e")] | None
    ) = None
    rotation_rate: Annotated[int, key("revolutions per minute; 0: not rotational")] | None = None
    write_cache: (
        Annotated[bool, key("whether acknowledged writes are safe only after a flush")] | None
    ) = None
    discard: Annotated[bool, key("whether it supports discard")] | None = None
    discard_granularity_bytes: (
        Annotated[SizeBytes, key("granularity of discards; 0: not reported")] | None
    ) = None
    optimal_io_bytes: Annotated[SizeBytes, key("optimal I/O size; 0: not reported")] | None = None
    model_name: (
        Annotated[str, key("its name", missing="the summary up to its first comma")] | None
    ) = None


def describe_traits(table: Table, own: DiskTable, summary: str, traits: DiskTraits) -> DiskTraits:
    """The traits that follow from the model, with what the table ``[disk]`` says.

    Raises:
        InputError: the values do not go together.
    """
    logical_bytes = _or(own.logical_block_bytes, traits.logical_block_bytes)
    least_bytes = max(traits.physical_block_bytes, logical_bytes)
    try:
        return DiskTraits(
            logical_block_bytes=logical_bytes,
            physical_block_bytes=_or(own.physical_block_bytes, least_bytes),
            rpm=_or(own.rotation_rate, traits.rpm),
            discards=_or(own.discard, traits.discards),
            discard_granularity_bytes=_or(
                own.discard_granularity_bytes, traits.discard_granularity_bytes
            )
            or None,
            optimal_io_bytes=_or(own.optimal_io_bytes, traits.optimal_io_bytes) or None,
            model_name=_or(own.model_name, _short_name(summary)) or None,
            write_cache=_or(own.write_cache, traits.write_cache),
        )
    except InputError as error:
        raise table.error(DISK_TABLE, str(error)) from error


def _or(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value


def _short_name(summary: str) -> str:
    """A model's name in a device's summary: up to the first comma, in ASCII."""
    name = re.sub(r"[^ -~]", "", summary.split(",")[0])
    return name[:_MODEL_NAME_LENGTH].strip()
