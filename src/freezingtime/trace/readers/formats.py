# SPDX-License-Identifier: GPL-2.0-or-later
"""The formats by name, and which one a file is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from freezingtime.errors import InputError, did_you_mean
from freezingtime.trace.readers.block import biosnoop, blkparse, ftrace
from freezingtime.trace.readers.fio import iolog
from freezingtime.trace.readers.format_names import FORMAT_NAMES
from freezingtime.trace.readers.lines import Lines, TraceRequest
from freezingtime.trace.readers.table import ascii_trace, fiu, msr, named_csv


@dataclass(frozen=True, slots=True)
class Format:
    """A trace format: recognized by a file's first lines, read by a function."""

    name: str
    recognizes: Callable[[Sequence[str]], bool]
    parse: Callable[[Lines], Iterator[TraceRequest]]


def _begins(recognizes: Callable[[str], bool]) -> Callable[[Sequence[str]], bool]:
    """Recognise a format by its first line."""
    return lambda lines: bool(lines) and recognizes(lines[0])


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda line: pattern.fullmatch(line) is not None


# Asked in this order. Only the first format of a kind of file is ever found by its content.
_FORMATS = {
    known.name: known
    for known in (
        Format("iolog", _begins(iolog.recognizes), iolog.parse),
        Format("blkparse", _begins(blkparse.recognizes), blkparse.parser("D")),
        Format("blkparse-queue", _begins(blkparse.recognizes), blkparse.parser("Q")),
        Format("ftrace", _begins(ftrace.recognizes), ftrace.parse),
        Format("biosnoop", _begins(biosnoop.recognizes), biosnoop.parse),
        Format("fiu", _begins(fiu.recognizes), fiu.parse),
        Format("msr", _begins(msr.recognizes), msr.parse),
        Format("csv", _begins(named_csv.recognizes), named_csv.parser(header=None)),
        *(
            Format(name, _begins(_matches(known.line)), named_csv.known_parser(known))
            for name, known in named_csv.KNOWN.items()
        ),
        Format("mqsim", ascii_trace.recognizes_mqsim, ascii_trace.parse_mqsim),
        Format("disksim", ascii_trace.recognizes_disksim, ascii_trace.parse_disksim),
    )
}
#: Our own record of a run, which is no text.
RECORD_FORMAT = "record"
_CSV_PREFIX = "csv:"


def format_by_name(name: str) -> Format:
    """The format of text that the user asked for; ``csv:HEADER`` is CSV without a header line.

    Raises:
        InputError: there is no such format.
    """
    if name.startswith(_CSV_PREFIX):
        header = name.removeprefix(_CSV_PREFIX)
        return Format("csv", _begins(named_csv.recognizes), named_csv.parser(header))
    if name not in _FORMATS:
        known = ", ".join(FORMAT_NAMES)
        raise InputError(
            f"--format {name}: unknown format; {did_you_mean(name, FORMAT_NAMES)}"
            f"available: {known}, csv:HEADER"
        )
    return _FORMATS[name]


def format_of(file: str, lines: Sequence[str]) -> Format:
    """The format of a file that begins with ``lines``.

    Raises:
        InputError: none knows it.
    """
    for candidate in _FORMATS.values():
        if candidate.recognizes(lines):
            return candidate
    known = ", ".join(FORMAT_NAMES)
    first_line = lines[0] if lines else ""
    raise InputError(
        f"{file}: unknown format, begins with {first_line[:60]!r}; name one with --format: "
        f"{known}, or csv:HEADER with the columns' names"
    )
