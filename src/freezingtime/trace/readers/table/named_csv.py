# SPDX-License-Identifier: GPL-2.0-or-later
"""CSV whose columns are named by a header line, as SNIA's block traces have it.

The header is the first line, or is given by the user for a file without one, or known
(:data:`KNOWN`): :mod:`~freezingtime.trace.readers.table.header` has the names. Columns are divided
by commas, semicolons, tabs or bars. Columns of other names are passed over, and named. ``fua``,
0 or 1, is our own. A column ``action``, as ``blkparse -f`` writes it, says what happened to a
request: only those issued to the driver (D) are taken, or else those queued (Q).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.hints import Hints
from freezingtime.trace.readers.lines import Lines, TraceRequest
from freezingtime.trace.readers.table import header as names
from freezingtime.trace.readers.table.fields import LengthField, OperationField, TimeField
from freezingtime.trace.readers.table.header import Column, Header, lacking, parse_header

_NEEDED: Mapping[str, Collection[str]] = {
    "time": names.TIMES,
    "operation": names.OPERATIONS,
    "offset": names.OFFSETS,
    "size": names.LENGTHS,
}
_FUA = {"0": False, "1": True}
# What happens to a request, in the order in which one is better than the next: D, issued to the
# driver, is what a device sees; Q, queued, is what an application asks for.
_ACTIONS = ("D", "Q")


@dataclass(frozen=True, slots=True)
class KnownCsv:
    """CSV without a header line, whose columns are known."""

    line: re.Pattern[str]
    header: str
    read_code: str | None = None


#: By the name of the format. Sources: the SPC trace file format, revision 1.0.1 (UMass); the
#: README of Alibaba's block traces of 2020; Zhang et al., "OSCA", USENIX ATC 2020, for Tencent's
#: CBS; ``blkparse -f '%T.%9t,%a,%d,%S,%n\\n'``.
KNOWN = {
    "spc": KnownCsv(
        re.compile(r"\d+,\d+,\d+,[rRwW],\d+(\.\d+)?"), "asu,lba,size_bytes,opcode,timestamp_s"
    ),
    "alibaba": KnownCsv(
        re.compile(r"\d+,[RW],\d+,\d+,\d{16}"), "device_id,opcode,offset,length,timestamp_us"
    ),
    "tencent": KnownCsv(
        re.compile(r"\d{10},\d+,\d+,[01],\d+"), "timestamp_s,lba,sectors,iotype,volume_id", "0"
    ),
    "blkparse-csv": KnownCsv(
        re.compile(r"\d+\.\d+, *[A-Z], *[A-Z]+, *\d+, *\d+"), "time_s,action,rwbs,sector,sectors"
    ),
}


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return _missing(parse_header(first_line, _missing)) is None


def parser(header: str | None) -> Callable[[Lines], Iterator[TraceRequest]]:
    """A parser for files with a header line, or for those that ``header`` describes."""

    def parse(lines: Lines) -> Iterator[TraceRequest]:
        texts = iter(lines)
        first_line = next(texts, "") if header is None else header
        found = parse_header(first_line, _missing)
        missing = _missing(found)
        if missing is not None and header is not None:
            raise InputError(f"--format csv:{header}: {missing}")
        if missing is not None:
            raise lines.error("header", first_line, missing)
        return _records(lines, texts, found)

    return parse


def known_parser(known: KnownCsv) -> Callable[[Lines], Iterator[TraceRequest]]:
    """A parser for files of a known header."""

    def parse(lines: Lines) -> Iterator[TraceRequest]:
        lines.hints = Hints(lines.hints.time_digits, lines.hints.read_code or known.read_code)
        return parser(known.header)(lines)

    return parse


def _missing(header: Header) -> str | None:
    """Return the columns a header lacks, or None."""
    needed: dict[str, Collection[str]] = dict(_NEEDED)
    if header.find(names.OPERATIONS) is None:
        needed["operation"] = (*names.OPERATIONS, *names.ACTIONS)
    return lacking(header, needed)


def need(header: Header, known: Collection[str]) -> Column:
    """A column that a header was found to have."""
    column = header.find(known)
    if column is None:
        raise InputError(f"{', '.join(header.names)}: has none of {', '.join(known)}")
    return column


def _records(lines: Lines, texts: Iterator[str], header: Header) -> Iterator[TraceRequest]:
    action = header.find(names.ACTIONS)
    kind = header.find(names.OPERATIONS)
    if kind is None:
        # Another tool's word for the operation.
        kind, action = need(header, names.ACTIONS), None
    time, place, length = (
        need(header, names.TIMES),
        need(header, names.OFFSETS),
        need(header, names.LENGTHS),
    )
    disk, fua = header.find(names.DISKS), header.find(names.FUA)
    if told := header.passed_over((action, kind, time, place, length, disk, fua)):
        lines.facts.append(told)
    lines.is_one_clock = header.find(names.ENDS) is not None
    times, operations = TimeField(time), OperationField(lines, kind, are_letters=action is not None)
    offsets, lengths = LengthField(place), LengthField(length)
    wanted = None if action is None else _wanted_action(lines, header, action)
    for line in texts:
        fields = lines.split(line, header.separator, header.names)
        if action is not None and (happened := action.of(fields)) != wanted:
            lines.leave_out(f"lines with action {happened}; only {wanted} is used")
            continue
        name = "" if disk is None else disk.of(fields)
        arrival_ns = times.ns(lines, fields)
        for operation, is_fua in operations.operations(lines, fields):
            if operation is Operation.FLUSH:
                yield TraceRequest(name, arrival_ns, operation, 0, 0)
                continue
            length_bytes = lengths.length_bytes(lines, fields)
            offset_bytes = offsets.offset_bytes(lines, fields, length_bytes)
            forced = is_fua if fua is None else _fua(lines, fua, fields)
            yield TraceRequest(name, arrival_ns, operation, offset_bytes, length_bytes, forced)
    operations.finish(lines)
    lengths.finish(lines)


def _wanted_action(lines: Lines, header: Header, action: Column) -> str:
    """Choose the event that represents a request, from the beginning of the file."""
    seen = {
        fields[action.index].strip()
        for line in lines.peek()
        if len(fields := line.split(header.separator)) == len(header.names)
    }
    for wanted in _ACTIONS:
        if wanted in seen:
            return wanted
    raise InputError(
        f"{lines.file}: {action.name}: neither D (issued) nor Q (queued) among "
        f"{', '.join(sorted(seen)[:10])}; ignore the column by giving it another "
        "name in --format csv:HEADER, such as x"
    )


def _fua(lines: Lines, column: Column, fields: list[str]) -> bool:
    text = column.of(fields)
    if text not in _FUA:
        raise lines.error(column.name, text, "must be 0 or 1")
    return _FUA[text]
