# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's iolog, versions 2 and 3 (``write_iolog``; fio's manual, "Trace file format").

Version 3 stamps each line with microseconds since the start; fio leaves out a ``wait`` there.
Version 2 has no times but those of its ``wait`` lines. The manual calls them microseconds since
the ``wait`` before; what fio 3.33 does, and we after it, is to wait until so many *milliseconds*
after its start (``read_iolog_get`` of its iolog.c). ``sync`` and ``datasync`` are flushes;
``add``, ``open`` and ``close`` take no time.
"""

from __future__ import annotations

from collections.abc import Iterator

from freezingtime.request import Operation
from freezingtime.trace.readers.lines import Lines, TraceRequest
from freezingtime.units import MAX_VALUE

_HEADERS = {"fio version 2 iolog": 2, "fio version 3 iolog": 3}
_FILE_ACTIONS = ("add", "open", "close")
_OPERATIONS = {
    "read": Operation.READ,
    "write": Operation.WRITE,
    "trim": Operation.DISCARD,
    "sync": Operation.FLUSH,
    "datasync": Operation.FLUSH,
}
_COLUMNS = ("filename", "action", "offset", "length")
_WAIT = "wait"
_NS_PER_US = 1000
_NS_PER_MS = 10**6


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return first_line in _HEADERS


def parse(lines: Lines) -> Iterator[TraceRequest]:
    """Read the records; a version 2 log without ``wait`` lines has all at time 0."""
    texts = iter(lines)
    first_line = next(texts, "")
    if first_line not in _HEADERS:
        raise lines.error("first line", first_line, f"must be one of: {', '.join(_HEADERS)}")
    return _parse_2(lines, texts) if _HEADERS[first_line] == 2 else _parse_3(lines, texts)


def _parse_2(lines: Lines, texts: Iterator[str]) -> Iterator[TraceRequest]:
    now_ns = 0
    wait_count = late_count = 0
    for line in texts:
        fields = line.split()
        if fields[1:2] == [_WAIT]:
            _, _, wait, _ = lines.split(line, None, _COLUMNS)
            until_ns = _NS_PER_MS * lines.whole("offset", wait, most=MAX_VALUE // _NS_PER_MS)
            wait_count += 1
            late_count += until_ns < now_ns
            now_ns = max(now_ns, until_ns)
        else:
            yield from _record(lines, line, fields, now_ns, _COLUMNS)
    if wait_count:
        lines.facts.append("waits are ms since the start, as fio replays them")
    if late_count:
        lines.note(
            f"{late_count} of {wait_count} waits end before the previous one, and do not wait"
        )


def _parse_3(lines: Lines, texts: Iterator[str]) -> Iterator[TraceRequest]:
    for line in texts:
        stamp, *fields = line.split()
        now_ns = _NS_PER_US * lines.whole("timestamp", stamp)
        if fields[1:2] == [_WAIT]:
            lines.leave_out("waits, as fio does in version 3")
        else:
            yield from _record(lines, line, fields, now_ns, ("timestamp", *_COLUMNS))


def _record(
    lines: Lines, line: str, fields: list[str], now_ns: int, columns: tuple[str, ...]
) -> Iterator[TraceRequest]:
    """The request of one line, if it is one; ``fields`` are without the time stamp."""
    if len(fields) == 2 and fields[1] in _FILE_ACTIONS:
        return
    # The manual does not say that a sync needs a range; fio writes one.
    if len(fields) == 2 and _OPERATIONS.get(fields[1]) is Operation.FLUSH:
        yield TraceRequest(fields[0], now_ns, Operation.FLUSH, 0, 0)
        return
    file, action, offset, length = lines.split(line, None, columns)[-len(_COLUMNS) :]
    operation = lines.operation("action", action, _OPERATIONS)
    if operation is Operation.FLUSH:
        yield TraceRequest(file, now_ns, operation, 0, 0)
    else:
        span = lines.range_bytes(("offset", offset), ("length", length))
        yield TraceRequest(file, now_ns, operation, *span)
