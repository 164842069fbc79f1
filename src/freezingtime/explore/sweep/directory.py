# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of a sweep: what is swept, and its table. The runs themselves are in the store.

===================  =============================================================
``sweep.json``       what stays the same, what is varied, where the store is
``results.parquet``  a row for each point
===================  =============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freezingtime.errors import InputError
from freezingtime.explore.sweep.names import TABLE_NAME
from freezingtime.explore.sweep.sweep import Sweep
from freezingtime.explore.sweep.table import write_table
from freezingtime.explore.work_directory import WorkDirectory

SWEEP_NAME = "sweep.json"
_FORMAT = 1


class SweepDirectory(WorkDirectory):
    """A sweep's directory, locked. A context manager."""

    noun = "a sweep"
    redo = "remove it, and sweep again"
    begun_names = (SWEEP_NAME, TABLE_NAME)

    def begin(self, swept: Mapping[str, Any], store: Path | None) -> None:
        """Begin a sweep, or go on with the one that is there.

        Raises:
            InputError: another one is there, or it is damaged.
            RunError: it cannot be written.
        """
        file = self.path / SWEEP_NAME
        self._begin(swept, read_sweep(self.path)["sweep"] if file.exists() else None)
        document = {
            "format": _FORMAT,
            "store": None if store is None else str(store.absolute()),
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
    if document.get("format") != _FORMAT:
        raise InputError(
            f"{file}: has format {document.get('format')}; this freezingtime reads format {_FORMAT}"
        )
    return document
