# SPDX-License-Identifier: GPL-2.0-or-later
"""What a described device says of itself as a disk: its table ``[disk]``, its class, its figures.

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
from collections.abc import Callable, Sequence

from freezingtime.device.parameters import Table
from freezingtime.disk_traits import RPM_LEAST, RPM_MOST, DiskTraits
from freezingtime.errors import InputError

#: The table's key in a description.
DISK_TABLE = "disk"

#: The traits of a member, from its table.
MemberTraits = Callable[[Table], DiskTraits]

_STILL_CLASSES = ("flash", "scm", "mobile", "volume")
_PARITY = {"stripe": 0, "raid5": 1, "raid6": 2}
_SECTOR_BYTES = 4096  # of a hard disk whose description does not say
_CHUNK_BYTES = {"stripe": 64 * 1024, "raid5": 512 * 1024, "raid6": 512 * 1024}
_MODEL_NAME_LENGTH = 40


def check_traits(table: Table) -> None:
    """Read the table ``[disk]`` of a description, if it has one.

    Raises:
        InputError: a value is not right.
    """
    _own_traits(table, "", DiskTraits())


def parse_traits(
    table: Table, summary: str, device_class: str, member_traits: MemberTraits
) -> DiskTraits:
    """The traits of a whole description, whose parameters are right.

    Raises:
        InputError: a value is not right, or the values do not go together.
    """
    return _own_traits(table, summary, model_traits(table, device_class, member_traits))


def model_traits(table: Table, device_class: str, member_traits: MemberTraits) -> DiskTraits:
    """What follows from class, model and parameters."""
    model = table.text("model")
    parameters = table.sub_or_empty("parameters")
    members = _members(model, parameters, member_traits)
    if members:
        return _together(members, _row_bytes(model, parameters, len(members)))
    if model == "disk":
        rpm = min(max(parameters.integer("rpm"), RPM_LEAST), RPM_MOST)
        sector_bytes = parameters.size_bytes("sector", _SECTOR_BYTES)
        return DiskTraits(
            physical_block_bytes=sector_bytes,
            rpm=rpm,
            discards=False,
            write_cache=parameters.boolean("write_cache", True),
        )
    still = 0 if device_class in _STILL_CLASSES else None
    if model != "flash":
        return DiskTraits(rpm=still)
    unit_bytes = parameters.sub_or_empty("mapping").size_bytes("unit", 4096)
    return DiskTraits(rpm=0, discard_granularity_bytes=max(512, unit_bytes))


def _own_traits(table: Table, summary: str, traits: DiskTraits) -> DiskTraits:
    """The traits with what the table ``[disk]`` says."""
    own = table.sub_or_empty(DISK_TABLE)
    logical_bytes = own.size_bytes("logical_block", traits.logical_block_bytes)
    granularity_bytes = own.size_bytes("discard_granularity", traits.discard_granularity_bytes or 0)
    optimal_bytes = own.size_bytes("optimal_io", traits.optimal_io_bytes or 0)
    rpm = own.integer("rotation_rate", traits.rpm or 0)
    try:
        made = DiskTraits(
            logical_block_bytes=logical_bytes,
            physical_block_bytes=own.size_bytes(
                "physical_block", max(traits.physical_block_bytes, logical_bytes)
            ),
            rpm=rpm if "rotation_rate" in own else traits.rpm,
            discards=own.boolean("discard", traits.discards),
            discard_granularity_bytes=granularity_bytes or None,
            optimal_io_bytes=optimal_bytes or None,
            model_name=own.text("model_name", _short_name(summary)) or None,
            write_cache=own.boolean("write_cache", traits.write_cache),
        )
    except InputError as error:
        raise table.error(DISK_TABLE, str(error)) from error
    own.finish()
    return made


def _short_name(summary: str) -> str:
    """A model's name in a device's summary: up to the first comma, in ASCII."""
    name = re.sub(r"[^ -~]", "", summary.split(",")[0])
    return name[:_MODEL_NAME_LENGTH].strip()


def _members(model: str, parameters: Table, member_traits: MemberTraits) -> list[DiskTraits]:
    if model == "cache":
        subs = [parameters.sub("slow"), parameters.sub("fast")]
    elif model == "perturb":
        subs = [parameters.sub("device")]
    else:
        subs = list(parameters.tables("member"))
        count = parameters.integer("count", 1)
        subs = subs * count if len(subs) == 1 else subs
    return [member_traits(sub) for sub in subs if sub is not None]


def _row_bytes(model: str, parameters: Table, member_count: int) -> int | None:
    """What is best written at once: a chunk for each member with data."""
    if model not in _PARITY or member_count <= _PARITY[model]:
        return None
    chunk_bytes = parameters.size_bytes("chunk", _CHUNK_BYTES[model])
    row_bytes = chunk_bytes * (member_count - _PARITY[model])
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
