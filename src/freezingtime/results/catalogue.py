# SPDX-License-Identifier: GPL-2.0-or-later
"""The run directories below a directory, each with its headline figures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.results.latency_summary import LatencySummary
from freezingtime.results.recorded_run import RecordedRun, open_recorded_run
from freezingtime.trace.record_reader import Notify
from freezingtime.trace.run_directory import DOCUMENT_NAME


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One run directory; either ``run`` or ``damage`` is there."""

    path: Path
    written: datetime
    """Modification time of ``run.json``: a run itself has no date."""
    run: RecordedRun | None
    damage: str | None
    """Why the run cannot be read, in one line."""

    @property
    def figures(self) -> Sequence[tuple[str, LatencySummary]]:
        """The disks' names, and the figures of each operation on them."""
        if self.run is None:
            return []
        return [
            (disk, summary)
            for disk, (_, *operations) in _not_idle(self.run)
            for summary in operations
        ]


def _not_idle(run: RecordedRun) -> Iterator[tuple[str, list[LatencySummary]]]:
    return ((disk, summaries) for disk, summaries in run.summaries.items() if summaries)


def find_runs(directory: Path) -> list[Path]:
    """The run directories at or below a directory, in the order of their names.

    Raises:
        InputError: there is no such directory.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; name one that contains runs")
    # Unlike Path.rglob(), which raises, os.walk() passes over what is removed meanwhile.
    return sorted(Path(place) for place, _, files in os.walk(directory) if DOCUMENT_NAME in files)


def read_entry(path: Path, notify: Notify) -> CatalogueEntry:
    """Return the catalogue's entry for a run directory, damaged or not."""
    written = datetime.fromtimestamp((path / DOCUMENT_NAME).stat().st_mtime, UTC)
    try:
        run = open_recorded_run(path, notify)
    except InputError as error:
        return CatalogueEntry(path, written, None, str(error))
    return CatalogueEntry(path, written, run, None)
