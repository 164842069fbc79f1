# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of a sweep: what is swept, and its table. The runs themselves are in the store.

===================  =============================================================
``sweep.json``       what stays the same, what is varied, where the store is
``results.parquet``  a row for each point
===================  =============================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.sweep import Sweep
from freezingtime.explore.sweep.table import write_table
from freezingtime.host.replaced_file import replaced
from freezingtime.trace.run_directory import locked_run_directory

SWEEP_NAME = "sweep.json"
TABLE_NAME = "results.parquet"
_FORMAT = 1


class SweepDirectory:
    """A sweep's directory, locked. A context manager.

    A block that ends with InputError, as a sweep of which no point can be run does, leaves the
    place as it was: the command that is put right would otherwise find another sweep there.
    """

    def __init__(self, path: Path) -> None:
        """Make the directory if it is not there.

        Raises:
            InputError: it cannot be used, or another sweep uses it.
        """
        self.path = path
        self._cleanup = ExitStack()
        self._is_new = not path.exists()
        self._has_begun = False
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._cleanup.enter_context(locked_run_directory(path))
        except OSError as error:
            raise InputError(
                f"--out {path}: cannot be used ({error.strerror or error}); name another directory"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, InputError):
            self._take_back()
        self._cleanup.close()

    def _take_back(self) -> None:
        if self._has_begun:
            for name in (SWEEP_NAME, TABLE_NAME):
                (self.path / name).unlink(missing_ok=True)
        if self._is_new:
            with suppress(OSError):  # somebody has put something there meanwhile
                self.path.rmdir()

    def begin(self, swept: Mapping[str, Any], store: Path | None) -> None:
        """Begin a sweep, or go on with the one that is there.

        Raises:
            InputError: another one is there, or it is damaged.
            RunError: it cannot be written.
        """
        if (self.path / SWEEP_NAME).exists():
            there = read_sweep(self.path)["sweep"]
            own = json.loads(json.dumps(swept))
            if there != own:
                names = [name for name in own if there.get(name) != own[name]]
                raise InputError(
                    f"--out {self.path}: has a sweep with another {(names or ['form'])[0]}; name "
                    "another directory, or remove it"
                )
        elif any(self.path.iterdir()):
            raise InputError(
                f"--out {self.path}: is not empty, and has no sweep; name another directory"
            )
        else:
            self._has_begun = True
        document = {
            "format": _FORMAT,
            "store": None if store is None else str(store.absolute()),
            "sweep": swept,
        }
        try:
            with replaced(self.path / SWEEP_NAME) as file:
                file.write(json.dumps(document, indent=2).encode() + b"\n")
        except OSError as error:
            raise self._full(error) from error

    def write(self, sweep: Sweep) -> None:
        """Write the table, as far as the sweep is.

        Raises:
            RunError: it cannot be written.
        """
        try:
            write_table(self.path / TABLE_NAME, sweep.points, sweep.outcomes)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> RunError:
        return RunError(
            f"cannot write to {self.path}: {error.strerror or error}; free space, or name another "
            "--out"
        )


def read_sweep(path: Path) -> dict[str, Any]:
    """The content of a sweep's file.

    Raises:
        InputError: there is none, it is damaged, or of another version.
    """
    file = path / SWEEP_NAME
    try:
        document = json.loads(file.read_text())
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; name the --out of a sweep") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is damaged: {error}; remove it, and sweep again") from error
    if not isinstance(document, dict) or not isinstance(document.get("sweep"), dict):
        raise InputError(f"{file}: is damaged: it is no sweep; remove it, and sweep again")
    if document.get("format") != _FORMAT:
        raise InputError(
            f"{file}: has format {document.get('format')}; this freezingtime reads format {_FORMAT}"
        )
    return document
