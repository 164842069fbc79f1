"""CSV whose columns are named by a header line, as SNIA's block traces have it.

The header is the first line, or is given by the user for a file without one. Names are
compared without case, blanks, ``_`` and ``-``; columns of other names are passed over.
Where a name says no unit, a time is in seconds, as in the SYSTOR '17 traces (``Timestamp,
Response,IOType,LUN,Offset,Size``), and offset and size are in bytes; ``timestamp_us`` and
its kin, ``lba`` and ``sectors`` (512 bytes) say others. A type of 0 reads and 1 writes,
as in the CBS traces of Zhang et al., "OSCA", USENIX ATC 2020. ``fua``, 0 or 1, is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.lines import SECTOR_BYTES, Lines, Record

# A time in units of 10**digits ns.
TIME_DIGITS = {
    "timestamp": 9,
    "time": 9,
    "timestamps": 9,
    "times": 9,
    "timestampms": 6,
    "timestampus": 3,
    "timestampns": 0,
    "arrivalns": 0,
    "filetime": 2,
}
OPERATION_NAMES = ("iotype", "type", "operation", "op", "opcode", "rw")
_OFFSET_UNITS_BYTES = {"offset": 1, "offsetbytes": 1, "lba": SECTOR_BYTES, "sector": SECTOR_BYTES}
LENGTH_UNITS_BYTES = {"size": 1, "length": 1, "lengthbytes": 1, "sectors": SECTOR_BYTES}
DISK_NAMES = ("disk", "lun", "volume", "volumeid", "device", "deviceid", "disknumber")
_FUA_NAMES = ("fua",)
_FUA = {"0": False, "1": True}
OPERATIONS = {
    **dict.fromkeys(("r", "read", "rs"), Operation.READ),
    **dict.fromkeys(("w", "write", "ws"), Operation.WRITE),
    **dict.fromkeys(("f", "flush", "sync"), Operation.FLUSH),
    **dict.fromkeys(("d", "discard", "trim", "unmap"), Operation.DISCARD),
    "write_zeroes": Operation.WRITE_ZEROES,
    "0": Operation.READ,
    "1": Operation.WRITE,
}


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where things stand in a line, and in which units."""

    names: Sequence[str]
    time: int
    time_digits: int
    operation: int
    offset: int
    offset_unit_bytes: int
    length: int
    length_unit_bytes: int
    disk: int | None
    fua: int | None


def recognizes(first_line: str) -> bool:
    """Whether a file that begins with this line is of this format."""
    return _missing(plain_names(first_line)) is None


def parser(header: str | None) -> Callable[[Lines], Iterator[Record]]:
    """A parser for files with a header line, or for those that ``header`` describes."""

    def parse(lines: Lines) -> Iterator[Record]:
        texts = iter(lines)
        first_line = next(texts, "") if header is None else header
        missing = _missing(plain_names(first_line))
        if missing is not None and header is not None:
            raise InputError(f"--format csv:{header}: {missing}")
        if missing is not None:
            raise lines.error("header", first_line, missing)
        return _records(lines, texts, _locate(first_line))

    return parse


def plain_names(header: str) -> list[str]:
    """The names of a header line, as the tables here have them."""
    return [
        name.lower().replace("_", "").replace("-", "").replace(" ", "").strip('"')
        for name in header.split(",")
    ]


def _missing(names: Sequence[str]) -> str | None:
    """What a header lacks, or None."""
    for what, known in (
        ("time", TIME_DIGITS),
        ("operation", OPERATION_NAMES),
        ("offset", _OFFSET_UNITS_BYTES),
        ("size", LENGTH_UNITS_BYTES),
    ):
        if not any(name in known for name in names):
            return f"has no column of {what}; it is one of: {', '.join(known)}"
    return None


def _locate(header: str) -> _Columns:
    names = plain_names(header)

    def first(known: Sequence[str]) -> int:
        return next(index for index, name in enumerate(names) if name in known)

    def maybe(known: Sequence[str]) -> int | None:
        return next((index for index, name in enumerate(names) if name in known), None)

    time, offset = first(list(TIME_DIGITS)), first(list(_OFFSET_UNITS_BYTES))
    length = first(list(LENGTH_UNITS_BYTES))
    return _Columns(
        names=header.split(","),
        time=time,
        time_digits=TIME_DIGITS[names[time]],
        operation=first(OPERATION_NAMES),
        offset=offset,
        offset_unit_bytes=_OFFSET_UNITS_BYTES[names[offset]],
        length=length,
        length_unit_bytes=LENGTH_UNITS_BYTES[names[length]],
        disk=maybe(DISK_NAMES),
        fua=maybe(_FUA_NAMES),
    )


def _records(lines: Lines, texts: Iterator[str], columns: _Columns) -> Iterator[Record]:
    for line in texts:
        fields = lines.split(line, ",", columns.names)
        yield _record(lines, fields, columns)


def _record(lines: Lines, fields: Sequence[str], columns: _Columns) -> Record:
    def named(index: int) -> tuple[str, str]:
        return columns.names[index], fields[index].strip()

    disk = "" if columns.disk is None else fields[columns.disk].strip()
    arrival_ns = lines.time_ns(*named(columns.time), columns.time_digits)
    name, word = named(columns.operation)
    operation = lines.operation(name, word.lower(), OPERATIONS)
    if operation is Operation.FLUSH:
        return Record(disk, arrival_ns, operation, 0, 0)
    span = lines.range_bytes(
        named(columns.offset),
        named(columns.length),
        offset_unit_bytes=columns.offset_unit_bytes,
        length_unit_bytes=columns.length_unit_bytes,
    )
    fua = False if columns.fua is None else _fua(lines, *named(columns.fua))
    return Record(disk, arrival_ns, operation, *span, fua)


def _fua(lines: Lines, name: str, text: str) -> bool:
    if text not in _FUA:
        raise lines.error(name, text, "must be 0 or 1")
    return _FUA[text]
