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
from typing import Annotated

from msgspec import field
from msgspec.structs import asdict

from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, SizeBytes, key
from freezingtime.disk_traits import DiskTraits
from freezingtime.errors import InputError

#: The table's key in a description.
DISK_TABLE = "disk"

_MODEL_NAME_LENGTH = 40


class DiskTable(Parameters, frozen=True, kw_only=True):
    """Table ``[disk]``: traits that do not follow from the rest."""

    logical_block_bytes: Annotated[SizeBytes, key("unit of addresses")] | None = None
    physical_block_bytes: (
        Annotated[SizeBytes, key("physical unit; 4KiB over 512B: 512e")] | None
    ) = None
    rpm: Annotated[int, key("revolutions per minute; 0: not rotational")] | None = field(
        default=None, name="rotation_rate"
    )
    write_cache: (
        Annotated[bool, key("whether acknowledged writes are safe only after a flush")] | None
    ) = None
    discards: Annotated[bool, key("whether it supports discard")] | None = field(
        default=None, name="discard"
    )
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
    described = {
        **asdict(traits),
        "physical_block_bytes": max(traits.physical_block_bytes, own.logical_block_bytes or 0),
        "model_name": _short_name(summary),
        **{name: value for name, value in asdict(own).items() if value is not None},
    }
    for name in ("discard_granularity_bytes", "optimal_io_bytes", "model_name"):
        described[name] = described[name] or None
    try:
        return DiskTraits(**described)
    except InputError as error:
        raise table.error(DISK_TABLE, str(error)) from error


def _short_name(summary: str) -> str:
    """A model's name in a device's summary: up to the first comma, in ASCII."""
    name = re.sub(r"[^ -~]", "", summary.split(",")[0])
    return name[:_MODEL_NAME_LENGTH].strip()
