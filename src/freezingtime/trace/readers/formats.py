"""The formats by name, and which one a file is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from freezingtime.errors import InputError
from freezingtime.trace.readers import blkparse, fio_iolog, mqsim, msr, named_csv
from freezingtime.trace.readers.lines import Lines, Record


@dataclass(frozen=True, slots=True)
class Format:
    """How to know a format by a file's first line, and how to read it."""

    recognizes: Callable[[str], bool]
    parse: Callable[[Lines], Iterator[Record]]


# Asked in this order. Only the first format of a kind of file is ever found by its content.
_FORMATS = {
    "iolog": Format(fio_iolog.recognizes, fio_iolog.parse),
    "blkparse": Format(blkparse.recognizes, blkparse.parser("D")),
    "blkparse-queue": Format(blkparse.recognizes, blkparse.parser("Q")),
    "msr": Format(msr.recognizes, msr.parse),
    "csv": Format(named_csv.recognizes, named_csv.parser(header=None)),
    "mqsim": Format(mqsim.recognizes, mqsim.parse),
}
#: Our own record of a run, which is no text.
RECORD_FORMAT = "record"
FORMAT_NAMES = (RECORD_FORMAT, *_FORMATS)
_CSV_PREFIX = "csv:"


def format_named(name: str) -> Format:
    """The format of text that the user asked for; ``csv:HEADER`` is CSV without a header line.

    Raises:
        InputError: there is no such format.
    """
    if name.startswith(_CSV_PREFIX):
        header = name.removeprefix(_CSV_PREFIX)
        return Format(named_csv.recognizes, named_csv.parser(header))
    if name not in _FORMATS:
        known = ", ".join(FORMAT_NAMES)
        raise InputError(f"--format {name}: unknown format; there is: {known}, csv:HEADER")
    return _FORMATS[name]


def format_of(file: str, first_line: str) -> Format:
    """The format of a file that begins with ``first_line``.

    Raises:
        InputError: none knows it.
    """
    for candidate in _FORMATS.values():
        if candidate.recognizes(first_line):
            return candidate
    known = ", ".join(FORMAT_NAMES)
    raise InputError(
        f"{file}: no format begins with {first_line[:60]!r}; name one with --format: "
        f"{known}, or csv:HEADER with the columns' names"
    )
