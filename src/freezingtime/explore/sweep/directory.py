# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of a sweep: what is swept, and its table. The runs themselves are in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from freezingtime.errors import InputError
from freezingtime.explore.sweep.sweep import Sweep
from freezingtime.explore.sweep.table import write_table
from freezingtime.explore.work_directory import WorkDirectory
from freezingtime.store.results.result_store import ResultStore
from freezingtime.trace.explored.sweep_files import SWEEP_FORMAT, SWEEP_NAME, TABLE_NAME
from freezingtime.trace.record_paths import RECORD_NAME
from freezingtime.trace.run_directory import DOCUMENT_NAME


class SweepDirectory(WorkDirectory):
    """A sweep's directory, locked. A context manager."""

    noun = "a sweep"
    redo = "remove it, and sweep again"
    begun_names = (SWEEP_NAME, TABLE_NAME)

    def begin(
        self, swept: Mapping[str, Any], store: Path | None, metrics: Sequence[str] = ()
    ) -> None:
        """Begin a sweep, or go on with the one that is there.

        ``metrics`` are the figures that its report shows if it is asked for no others.

        Raises:
            InputError: another one is there, or it is damaged.
            RunError: it cannot be written.
        """
        file = self.path / SWEEP_NAME
        self._begin(swept, read_sweep(self.path)["sweep"] if file.exists() else None)
        document = {
            "format": SWEEP_FORMAT,
            "store": None if store is None else str(store.absolute()),
            "metrics": list(metrics),
            "sweep": swept,
        }
        self._write_document(file, document)

    def write(self, sweep: Sweep) -> None:
        """Write the table, as far as the sweep is.

        Raises:
            RunError: it cannot be written.
        """
        try:
            write_table(self.path / TABLE_NAME, sweep.points, sweep.outcomes)
        except OSError as error:
            raise self._full(error) from error


def read_sweep(path: Path) -> dict[str, Any]:
    """The content of a sweep's file.

    Raises:
        InputError: there is none, it is damaged, or of another version.
    """
    file = path / SWEEP_NAME
    document = SweepDirectory.read_document(file)
    if not isinstance(document.get("sweep"), dict):
        raise InputError(f"{file}: is damaged: it is no sweep; remove it, and sweep again")
    if document.get("format") != SWEEP_FORMAT:
        raise InputError(
            f"{file}: has format {document.get('format')}; this freezingtime reads format "
            f"{SWEEP_FORMAT}"
        )
    return document


def run_finder(path: Path) -> Callable[[str], Path | None]:
    """Make the function that finds what opens a result: a run directory, or a record.

    Raises:
        InputError: there is no sweep in the directory, or it is damaged.
    """
    root = read_sweep(path).get("store")
    store = None if root is None else ResultStore(Path(root))

    def find(key: str) -> Path | None:
        run_path = None if store is None else store.run_path(key)
        if run_path is None or (run_path / DOCUMENT_NAME).exists():
            return run_path
        return run_path / RECORD_NAME

    return find


def run_link(path: Path) -> Callable[[str], str | None]:
    """Make the function that tells a page of a sweep where the run of a result is.

    Raises:
        InputError: there is no sweep in the directory, or it is damaged.
    """
    find = run_finder(path)

    def link_of(key: str) -> str | None:
        found = find(key)
        if found is None:
            return None
        # A browser shows a directory by its name with a slash; of a record, the one that has it.
        directory = found.parent if found.name == RECORD_NAME else found
        return f"{directory.absolute().as_uri()}/"

    return link_of
