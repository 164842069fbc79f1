# SPDX-License-Identifier: GPL-2.0-or-later
"""Summary of how a file was read, which the user is always shown: no guess is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from freezingtime.units import NS_PER_S, counted, largest_time_unit

_DAY_NS = 86400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Reading:
    """The requests of one disk, as they were found in a file."""

    path: Path
    format_name: str
    request_count: int
    span_ns: int | None = None
    """From the first arrival to the last; None: the file has no times."""
    disk: str = ""
    """The file's own name for the disk; empty if it has none."""
    disk_count: int = 1
    """How many disks are in the file, those that were not read included."""
    facts: tuple[str, ...] = ()
    """How it was read: units, order, what was assumed."""
    notes: tuple[str, ...] = ()
    """Surprises for the user: items skipped, sorted, joined."""

    @property
    def summary(self) -> str:
        """All but the notes, in one line."""
        amount = counted(self.request_count, "request")
        if self.span_ns is not None:
            amount += f" over {span_text(self.span_ns)}"
            if self.span_ns:
                amount += f", {_rate_text(self.request_count * NS_PER_S / self.span_ns)}"
        disk = [f"disk {self.disk}"] if self.disk else []
        if self.disk_count > 1:
            disk = [f"disk {self.disk or 'any'} of {self.disk_count}"]
        return f"{self.path}: {self.format_name}: {'; '.join([amount, *disk, *self.facts])}"

    @property
    def note_lines(self) -> tuple[str, ...]:
        """The notes, each in a line that names the file."""
        return tuple(f"{self.path}: {note}" for note in self.notes)

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary, and the notes, line by line."""
        return (self.summary, *self.note_lines)


#: Called for each file that was read.
OnReading: TypeAlias = Callable[[Reading], None]


def ignore_reading(_reading: Reading) -> None:
    """Ignore the reading."""


def span_text(span_ns: float) -> str:
    """A span of time to four digits, in a unit that suits it."""
    is_long = span_ns >= _DAY_NS
    unit, unit_ns = ("days", _DAY_NS) if is_long else largest_time_unit(span_ns)
    return f"{span_ns / unit_ns:.4g} {unit}"


def _rate_text(rate_hz: float) -> str:
    return f"{rate_hz:.4g} per second" if rate_hz < 1000 else f"{rate_hz:.0f} per second"
