# SPDX-License-Identifier: GPL-2.0-or-later
"""blktrace's binary trace, as the text that blkparse makes of it by default.

blktrace writes a file for each CPU, ``NAME.blktrace.CPU``; any of them represents all, as a single
one is only a part of the requests. Events are put into order of time. Packet commands, and what
concerns no request, are left out.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import numpy as np

from freezingtime.errors import InputError
from freezingtime.trace import blktrace_layout as layout
from freezingtime.trace.readers.lines import SECTOR_BYTES
from freezingtime.units import NS_PER_S

_CPU_FILE = re.compile(r"(?P<stem>.+\.blktrace\.)\d+")
_PAYLOAD_LENGTH = struct.Struct("<46xH")
_SLICE = 1 << 14


def as_text(path: Path, content: BinaryIO) -> TextIO:
    """The events of the file at ``path``, which is open as ``content``, and of its other CPUs.

    Raises:
        InputError: one is damaged, or cannot be read.
    """
    events = [_events(path, content)]
    for sibling in _siblings(path):
        try:
            with sibling.open("rb") as other:
                events.append(_events(sibling, other))
        except OSError as error:
            raise InputError(f"{sibling}: {error.strerror}; it belongs to {path}") from error
    joined = np.concatenate(events)
    joined = joined[np.argsort(joined["time"], kind="stable")]
    raw = cast(io.RawIOBase, io.BufferedReader(_Lines(_text(joined))))
    return io.TextIOWrapper(cast(BinaryIO, raw), encoding="ascii")


class _Lines(io.RawIOBase):
    """A file of what an iterator gives."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._parts, "").encode()
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _siblings(path: Path) -> list[Path]:
    """The files of the other CPUs."""
    match = _CPU_FILE.fullmatch(path.name)
    if match is None:
        return []
    pattern = re.compile(re.escape(match["stem"]) + r"\d+")
    found = (file for file in path.parent.iterdir() if pattern.fullmatch(file.name))
    return sorted(file for file in found if file != path and file.stat().st_size)


def _events(path: Path, content: BinaryIO) -> np.ndarray:
    """Return all events of one file, without their payloads."""
    events = bytearray()
    size_bytes = layout.EVENT.itemsize
    while len(event := content.read(size_bytes)) == size_bytes:
        events += event
        (payload_bytes,) = _PAYLOAD_LENGTH.unpack(event)
        if payload_bytes:
            content.read(payload_bytes)
    # A killed tracer may leave a partial event, which is useless.
    found = np.frombuffer(events, layout.EVENT)
    wrong = np.flatnonzero(found["magic"] != layout.MAGIC)
    if len(wrong):
        raise InputError(
            f"{path}: is damaged: event {wrong[0] + 1} is not of blktrace version 7; "
            f"try 'blkparse -i {path}'"
        )
    return found


def _text(events: np.ndarray) -> Iterator[str]:
    names = ("action", "device", "cpu", "sequence", "time", "pid", "sector", "bytes", "error")
    for start in range(0, len(events), _SLICE):
        part = events[start : start + _SLICE]
        columns = (part[name].tolist() for name in names)
        yield "".join(_line(*values) for values in zip(*columns, strict=True))


def _line(
    action: int,
    device: int,
    cpu: int,
    sequence: int,
    time_ns: int,
    pid: int,
    sector: int,
    length_bytes: int,
    error: int,
) -> str:
    """One event as blkparse prints it; nothing for one of no request."""
    categories = action >> layout.CATEGORY_SHIFT
    letter = layout.LETTERS.get(action & (1 << layout.CATEGORY_SHIFT) - 1)
    if categories & (layout.NOTIFY | layout.PACKET) or letter is None:
        return ""
    major, minor = device >> layout.DEVICE_MINOR_BITS, device & (1 << layout.DEVICE_MINOR_BITS) - 1
    seconds, fraction = divmod(time_ns, NS_PER_S)
    count = length_bytes // SECTOR_BYTES
    place = f"{sector} + {count} " if count else (f"{sector} " if letter in "CR" else "")
    # Only 16 bits of a negative error are kept.
    end = f"[{error - (1 << 16) if error >> 15 else error}]" if letter in "CR" else f"[{pid}]"
    return (
        f"{major},{minor} {cpu} {sequence} {seconds}.{fraction:09d} {pid} {letter} "
        f"{_rwbs(categories, length_bytes)} {place}{end}\n"
    )


def _rwbs(categories: int, length_bytes: int) -> str:
    """The letters of a request, in blkparse's order (``fill_rwbs``)."""
    letters = "F" if categories & layout.FLUSH else ""
    if categories & layout.DISCARD:
        letters += "D"
    elif categories & layout.WRITE:
        letters += "W"
    else:
        letters += "R" if length_bytes else "N"
    letters += "F" if categories & layout.FUA else ""
    letters += "A" if categories & layout.AHEAD else ""
    letters += "S" if categories & layout.SYNC else ""
    return letters + ("M" if categories & layout.META else "")
