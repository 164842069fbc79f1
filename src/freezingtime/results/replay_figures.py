# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of a replay on one device, as `replay` prints them and the store of results has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from freezingtime.errors import InputError
from freezingtime.host.json_document import parse_document
from freezingtime.results.latency_summary import LatencySummary, summarize_each, worth_showing
from freezingtime.simulate.overload import Overload, find_overload
from freezingtime.simulate.replay import Replayed
from freezingtime.trace.readers import Reading

#: Its name beside a record, in the store of results.
FIGURES_NAME = "replay.json"
_FORMAT = 1


class KeptReading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reading of a trace without the file's name: the same content may have another."""

    summary: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, reading: Reading) -> Self:
        """Keep a reading."""
        prefix = f"{reading.path}: "
        return cls(reading.summary.removeprefix(prefix), reading.notes)

    def lines(self, path: Path, *, only_notes: bool) -> list[str]:
        """The lines of :class:`~freezingtime.trace.readers.Reading`, of the file at ``path``."""
        texts = self.notes if only_notes else (self.summary, *self.notes)
        return [f"{path}: {text}" for text in texts]


class ReplayFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures of a replay on one device. Nothing in them is of the host."""

    format: int = _FORMAT
    device: str
    duration_ns: int
    by_operation: Sequence[LatencySummary]
    """Of all requests together, and of each operation."""
    statistics: dict[str, int | float]
    faults: Sequence[tuple[str, int]]
    """Each rule of faults, and how many requests it hit."""
    unreached: Sequence[str]
    """Changes whose time had not come when the last request completed."""
    overload: Overload | None
    reading: KeptReading | None = None
    """None: a workload, which is not read from a file."""

    @classmethod
    def of(cls, replayed: Replayed, reading: Reading | None = None) -> Self:
        """Make the figures of a replay."""
        return cls(
            device=replayed.device,
            duration_ns=replayed.simulation.duration_ns,
            by_operation=summarize_each(replayed.simulation),
            statistics=replayed.statistics,
            faults=list(replayed.faults),
            unreached=list(replayed.unreached),
            overload=find_overload(replayed.simulation),
            reading=None if reading is None else KeptReading.of(reading),
        )

    @property
    def summaries(self) -> Sequence[LatencySummary]:
        """Of all requests together and, if there are several, of each operation."""
        return worth_showing(self.by_operation)

    def as_dict(self, host_s: float | None) -> dict[str, Any]:
        """For JSON; ``host_s`` is what the simulation took, None if there was none."""
        return {
            "device": self.device,
            "duration_ns": self.duration_ns,
            "host_s": None if host_s is None else round(host_s, 6),
            "summaries": [summary.as_dict() for summary in self.summaries],
            "statistics": self.statistics,
            "faults": [{"rule": rule, "hits": count} for rule, count in self.faults],
            "overload": None if self.overload is None else self.overload.as_dict(),
        }


def read_replay_figures(directory: Path) -> ReplayFigures:
    """Read the figures that lie beside a record.

    Raises:
        InputError: they cannot be read, or are damaged.
    """
    path = directory / FIGURES_NAME
    try:
        return parse_document(path.read_bytes(), ReplayFigures, _FORMAT)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: is damaged: {error}") from error
