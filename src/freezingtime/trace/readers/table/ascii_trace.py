# SPDX-License-Identifier: GPL-2.0-or-later
"""The ASCII traces of MQSim and of DiskSim: ``arrival device address size type``.

Both are five numbers divided by blanks, address and size in sectors of 512 bytes. MQSim's arrival
is whole ns (MQSim reads a unit but uses none), its type 0 writes and 1 reads; DiskSim's arrival is
ms, with or without decimals, and its type is flags in hexadecimal, the lowest of which reads.
Which of the two it is, decimals tell, or the pace: whole numbers that as ns would come faster than
a million per second are ms. Sources: MQSim, src/host/ASCII_Trace_Definition.h; DiskSim 4.0,
disksim_iotrace.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from freezingtime.request import Operation
from freezingtime.trace.readers.hints import TIME_UNITS
from freezingtime.trace.readers.lines import Lines, TraceRequest

_COLUMNS = ("arrival", "device", "address", "size", "type")
_LINE = re.compile(r"(?P<whole>\d+)(?P<fraction>\.\d+)?\s+\d+\s+\d+\s+\d+\s+[0-9a-fA-F]{1,8}")
_OPERATIONS = {"0": Operation.WRITE, "1": Operation.READ}
_FLAGS = re.compile(r"[0-9a-fA-F]{1,8}")
_READ_FLAG = 1
# The mean gap between requests from which on whole numbers are taken for ns.
_NS_GAP_MIN = 1000
_DIGITS_MAX = 20


def recognizes_mqsim(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines is MQSim's."""
    return _unit(lines) == "ns"


def recognizes_disksim(lines: Sequence[str]) -> bool:
    """Return whether a file that begins with these lines is DiskSim's."""
    return _unit(lines) == "ms"


def parse_mqsim(lines: Lines) -> Iterator[TraceRequest]:
    """Read the records of a trace of MQSim's."""
    return _parse(lines, "ns", "MQSim's; DiskSim's ms: --format disksim", _mqsim_operation)


def parse_disksim(lines: Lines) -> Iterator[TraceRequest]:
    """Read the records of a trace of DiskSim's."""
    return _parse(lines, "ms", "DiskSim's; MQSim's ns: --format mqsim", _disksim_operation)


def _unit(lines: Sequence[str]) -> str | None:
    """The unit of arrival times; None: this is something else."""
    matches = [_LINE.fullmatch(line) for line in lines]
    if not matches or matches[0] is None:
        return None
    found = [match for match in matches if match is not None]
    if any(match["fraction"] for match in found):
        return "ms"
    times = [int(match["whole"][:_DIGITS_MAX]) for match in found]
    gap = (max(times) - min(times)) / max(1, len(times) - 1)
    return "ms" if 0 < gap < _NS_GAP_MIN else "ns"


def _parse(
    lines: Lines, unit: str, whose: str, operation: Callable[[Lines, str], Operation]
) -> Iterator[TraceRequest]:
    digits = lines.hints.time_digits
    if digits is None:
        digits = TIME_UNITS[unit]
        lines.facts.append(f"arrival in {unit}, {whose}")
    for line in lines:
        arrival, device, address, size, code = lines.split(line, None, _COLUMNS)
        if digits == 0:
            arrival_ns = lines.whole("arrival", arrival)
        else:
            arrival_ns = lines.time_ns("arrival", arrival, digits)
        yield TraceRequest(
            device,
            arrival_ns,
            operation(lines, code),
            *lines.range_sectors(("address", address), ("size", size)),
        )


def _mqsim_operation(lines: Lines, code: str) -> Operation:
    return lines.operation("type", code, _OPERATIONS)


def _disksim_operation(lines: Lines, code: str) -> Operation:
    if not _FLAGS.fullmatch(code):
        raise lines.error("flags", code, "must be a hexadecimal number")
    return Operation.READ if int(code, 16) & _READ_FLAG else Operation.WRITE
