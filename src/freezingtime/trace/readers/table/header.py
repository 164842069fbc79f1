# SPDX-License-Identifier: GPL-2.0-or-later
"""The header of a CSV: what its columns are called, in which units, and what divides them.

Names are compared without case, blanks, ``_``, ``-`` and brackets, so that ``Time (us)`` is
``time_us``. A time whose name says no unit has none: what is then taken for it, is found out by
:mod:`~freezingtime.trace.readers.table.fields`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from freezingtime.trace.readers.lines import SECTOR_BYTES

_SEPARATORS = (",", ";", "\t", "|")
_UNIT_DIGITS = {
    **dict.fromkeys(("s", "sec", "secs", "seconds"), 9),
    **dict.fromkeys(("ms", "msec"), 6),
    **dict.fromkeys(("us", "usec"), 3),
    **dict.fromkeys(("ns", "nsec"), 0),
}


def _with_units(*bases: str) -> dict[str, int | None]:
    """Names with and without a unit; times are in units of 10**digits ns."""
    named: dict[str, int | None] = dict.fromkeys(bases)
    named.update({f"{base}{unit}": d for base in bases for unit, d in _UNIT_DIGITS.items()})
    return named


#: Names of columns, and the unit in each.
Names: TypeAlias = Mapping[str, int | None]

TIMES: Names = {
    **_with_units("timestamp", "time", "arrival", "arrivaltime", "ts"),
    "filetime": 2,
}
LATENCIES: Names = _with_units("latency", "response", "responsetime")
# The plural of a name, or the name and "s" for seconds: only a separator tells them apart.
_PLURALS = {"timestamps", "times", "arrivals", "responses"}
_PLURAL_MARK = re.compile(r"[ _\-(\[]s[)\]]?$")

OPERATIONS = ("iotype", "type", "operation", "op", "opcode", "rw", "rwbs")
#: What a tracer saw happen to a request; of all its events one is taken.
ACTIONS = ("action",)
OFFSETS: Names = {
    "offset": None,
    "offsetbytes": 1,
    **dict.fromkeys(("lba", "sector", "startsector"), SECTOR_BYTES),
}
LENGTHS: Names = {
    **dict.fromkeys(("size", "length", "len"), None),
    **dict.fromkeys(("sizebytes", "lengthbytes", "bytes", "nbytes"), 1),
    **dict.fromkeys(("sectors", "nsectors", "numsectors", "sectorcount"), SECTOR_BYTES),
}
DISKS = ("disk", "lun", "volume", "volumeid", "device", "deviceid", "disknumber", "asu")
FUA = ("fua",)
#: In our own export, when requests were over: the order of its lines, all by one clock.
ENDS = ("deliveryns",)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its index in a line, and its name in the header."""

    index: int
    name: str
    unit: int | None = None
    """Digits of ns of a time, bytes of a size; None: not in the name."""

    def of(self, fields: list[str]) -> str:
        """Return the column's field of a line."""
        return fields[self.index].strip()


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file."""

    names: list[str]
    separator: str

    def find(self, known: Collection[str]) -> Column | None:
        """The first column of one of these names; with its unit, if the names have some."""
        for index, name in enumerate(self.names):
            plain = plain_name(name)
            if plain in known:
                unit = known[plain] if isinstance(known, Mapping) else None
                if plain in _PLURALS and not _PLURAL_MARK.search(name.lower().strip()):
                    unit = None
                return Column(index, name, unit)
        return None

    def passed_over(self, used: Collection[Column | None]) -> str | None:
        """Describe the columns that are not used; None if all are."""
        indices = {column.index for column in used if column is not None}
        rest = [name for index, name in enumerate(self.names) if index not in indices]
        return f"columns ignored: {', '.join(rest)}" if rest else None


def plain_name(name: str) -> str:
    """Normalise a column's name for the tables here."""
    return re.sub(r"[ _\-()\[\]\"]", "", name.lower())


def parse_header(line: str, missing: Callable[[Header], str | None]) -> Header:
    """Parse a header line with the separator that leaves nothing missing, else with commas."""
    found = [
        Header([name.strip() for name in next(csv.reader([line], delimiter=separator))], separator)
        for separator in _SEPARATORS
    ]
    return next((header for header in found if missing(header) is None), found[0])


def lacking(header: Header, needed: Mapping[str, Collection[str]]) -> str | None:
    """Name the columns of ``needed`` (by purpose) that a header lacks, or return None."""
    for what, known in needed.items():
        if header.find(known) is None:
            return f"has no {what} column; its names are: {', '.join(_short(known))}"
    return None


def _short(known: Collection[str]) -> list[str]:
    """The names without the rarer ways to write their units."""
    endings = ("sec", "secs", "seconds", "msec", "usec", "nsec")
    return [name for name in known if not name.endswith(endings)]
