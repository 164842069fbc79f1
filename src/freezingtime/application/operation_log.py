# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs that have a line for each operation of an application: when it ended, how long it took.

Each kind of log knows how far the end of an operation may be from the time that its line says.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: So much of all logs is read.
BYTES_MAX = 64 << 20
#: What ends later, in a hundred years, is no time.
_END_MAX_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class LogKind:
    """Form in which a program writes such a log."""

    program: str
    file: re.Pattern[str]
    line: re.Pattern[bytes]
    """Groups ``latency``, and the time in two parts: ``time``, and ``us`` of the next second."""
    latency_unit_ns: int
    time_unit_ns: int
    early_ns: int
    """By so much the operation may have ended before the time that the line says."""
    late_ns: int
    """And by so much after it."""


@dataclass(frozen=True, slots=True)
class OperationLog:
    """The operations of one log, in its order."""

    name: str
    kind: LogKind
    line_numbers: array[int]
    ends_ns: array[int]
    """What the lines say, by the guest's CLOCK_REALTIME."""
    latencies_ns: array[int]


#: pgbench -l: client_id transaction_no time script_no time_epoch time_us, and what -R and
#: --max-tries add. In a line of --aggregate-interval the time in seconds comes first, which no
#: client is numbered as. The time is read some instructions behind the end, and cut to us twice.
PGBENCH = LogKind(
    "pgbench",
    re.compile(r"(?:.*/)?pgbench_log\.[0-9]+(?:\.[0-9]+)?", re.DOTALL),
    re.compile(
        rb"[0-9]{1,7} [0-9]{1,18} (?P<latency>[0-9]{1,15}) [0-9]{1,9} "
        rb"(?P<time>[0-9]{9,10}) (?P<us>[0-9]{1,6})[ \n]"
    ),
    latency_unit_ns=1000,
    time_unit_ns=1_000_000_000,
    early_ns=10_000,
    late_ns=2000,
)
#: fio's write_lat_log with log_unix_epoch: time in ms, latency in ns, direction, block size, and
#: more. The time is the sum of two that were cut to ms. A mean over log_avg_msec has no block size.
FIO = LogKind(
    "fio",
    re.compile(r"(?:.*/)?[^/]+_lat(?:\.[0-9]+)?\.log", re.DOTALL),
    re.compile(
        rb"(?P<time>[0-9]{12,13}), (?P<latency>[0-9]{1,18}), [0-9], [1-9][0-9]{0,9}"
        rb"(?:, [^\n]{1,40})?(?P<us>)\n"
    ),
    latency_unit_ns=1,
    time_unit_ns=1_000_000,
    early_ns=0,
    late_ns=2_000_000,
)
_KINDS = (PGBENCH, FIO)
#: Where fio's log has no date.
_FIO_ADVICE = "fio's log counts from its own start; have fio write dates with log_unix_epoch=1"
_FIO_SINCE_START = re.compile(rb"[0-9]{1,11}, [0-9]+, [0-9], ")


def kind_of(name: str) -> LogKind | None:
    """The kind of log that a file is by its name; None: it is none."""
    return next((kind for kind in _KINDS if kind.file.fullmatch(name)), None)


def read_operations(path: Path, name: str, kind: LogKind) -> OperationLog:
    """Read a log, whatever else is in it. A guest has written it.

    Raises:
        OSError: it cannot be read.
    """
    numbers, ends_ns, latencies_ns = array("q"), array("q"), array("q")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if found := kind.line.match(line):
                end_ns = int(found["time"]) * kind.time_unit_ns + 1000 * int(found["us"] or 0)
                if end_ns > _END_MAX_NS:
                    continue
                numbers.append(number)
                ends_ns.append(end_ns)
                latencies_ns.append(int(found["latency"]) * kind.latency_unit_ns)
    return OperationLog(name, kind, numbers, ends_ns, latencies_ns)


def require_size(paths: Iterable[Path]) -> None:
    """Require that some logs together are not too large to be read.

    Raises:
        OSError: one is not there.
        ValueError: they are too large.
    """
    if sum(path.stat().st_size for path in paths) > BYTES_MAX:
        raise ValueError(f"logs of more than {BYTES_MAX >> 20} MiB; use --sampling-rate")


def read_logs(directory: Path, names: Sequence[str]) -> tuple[list[OperationLog], list[str]]:
    """Read the logs among some files below a directory, and say why others have no operation.

    Raises:
        OSError: one cannot be read.
        ValueError: they are too large.
    """
    found = [(name, kind) for name in names if (kind := kind_of(name))]
    require_size(directory / name for name, _ in found)
    logs = [read_operations(directory / name, name, kind) for name, kind in found]
    notes = [
        f"{log.name}: {_FIO_ADVICE}"
        for log in logs
        if not log.ends_ns and log.kind is FIO and _counts_from_start(directory / log.name)
    ]
    return [log for log in logs if log.ends_ns], notes


def has_operations(directory: Path, names: Sequence[str]) -> bool:
    """Whether one of some files is a log whose first line is an operation with its date.

    Raises:
        OSError: one cannot be read.
    """
    for name in names:
        if kind := kind_of(name):
            with (directory / name).open("rb") as file:
                if kind.line.match(file.readline(1000)):
                    return True
    return False


def _counts_from_start(path: Path) -> bool:
    with path.open("rb") as file:
        return _FIO_SINCE_START.match(file.readline(1000)) is not None
