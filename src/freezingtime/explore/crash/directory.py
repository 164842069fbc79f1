# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of an exploration: the recorded job, and the outcomes so far.

Its files are listed in :mod:`freezingtime.trace.explored.crash_files`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from freezingtime._version import __version__
from freezingtime.errors import InputError
from freezingtime.explore.crash.recovery.outcome import RecoveryOutcome
from freezingtime.explore.work_directory import WorkDirectory
from freezingtime.trace.explored.crash_files import (
    EXPLORATION_FORMAT,
    EXPLORED_NAME,
    FAILURES_NAME,
    JOB_NAME,
    REQUEST_NAME,
    SCRATCH_NAME,
    STATES_NAME,
    ExploredDocument,
)
from freezingtime.trace.run_directory import DOCUMENT_NAME

Key = tuple[str, str]
"""A state's fingerprint, and what had been acknowledged."""


def state_key(fingerprint: int, acked: bytes) -> Key:
    """Return the key of a state: equal ones have one outcome."""
    return f"{fingerprint:032x}", hashlib.sha256(acked).hexdigest()[:16]


class ExplorationDirectory(WorkDirectory):
    """An exploration's directory, locked. A context manager."""

    noun = "an exploration"
    redo = "explore again"
    begun_names = (REQUEST_NAME,)

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        """``is_new``: it is made if it is not there.

        Raises:
            InputError: it cannot be used, or another exploration uses it.
        """
        super().__init__(path, is_new=is_new)
        self.outcomes: dict[Key, RecoveryOutcome] = {}

    @property
    def job_path(self) -> Path:
        """The run directory of the job."""
        return self.path / JOB_NAME

    @property
    def has_job(self) -> bool:
        """Whether the job has been recorded to its end."""
        return (self.job_path / DOCUMENT_NAME).exists()

    @property
    def scratch_path(self) -> Path:
        """The directory of :meth:`scratch`."""
        return self.path / SCRATCH_NAME

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory for files that nobody needs afterwards; one that was left is removed.

        Raises:
            RunError: it cannot be made.
        """
        path = self.scratch_path
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        except OSError as error:
            raise self._full(error) from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def begin(self, identity: dict[str, Any]) -> None:
        """Begin an exploration, or go on with one that is there.

        Raises:
            InputError: another one is there, or it is damaged.
            RunError: it cannot be written.
        """
        file = self.path / REQUEST_NAME
        own = {"format": EXPLORATION_FORMAT, "version": __version__, **identity}
        there = self.read_identity() if file.exists() else None
        self._begin(own, there)
        if there is None:
            self._write_document(file, own)
        (self.path / EXPLORED_NAME).unlink(missing_ok=True)
        self.outcomes = dict(self._read_outcomes())

    def read_identity(self) -> dict[str, Any]:
        """The identity of the exploration that is there.

        Raises:
            InputError: there is none, or it is damaged.
        """
        return self.read_document(self.path / REQUEST_NAME)

    def keep(self, key: Key, outcome: RecoveryOutcome) -> None:
        """Keep an outcome: a run that is interrupted goes on behind it.

        Raises:
            RunError: it cannot be written.
        """
        self.outcomes[key] = outcome
        line = json.dumps({"fingerprint": key[0], "acked": key[1], **asdict(outcome)})
        try:
            with (self.path / STATES_NAME).open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            raise self._full(error) from error

    def failure_path(self, number: int, name: str | None = None) -> Path:
        """The file of a failure, or of one of its disks."""
        file = f"{number}.json" if name is None else f"{number}-{name}.raw"
        return self.path / FAILURES_NAME / file

    def write_explored(self, document: ExploredDocument) -> None:
        """Write what was found, once all of it has been explored.

        Raises:
            RunError: it cannot be written.
        """
        self._write_document(self.path / EXPLORED_NAME, asdict(document))

    def write_failure(self, number: int, document: dict[str, Any]) -> None:
        """Write what is needed to replay a failure.

        Raises:
            RunError: it cannot be written.
        """
        self._write_document(self.failure_path(number), document)

    def read_failure(self, number: int) -> dict[str, Any]:
        """Read what :meth:`write_failure` wrote.

        Raises:
            InputError: there is no such failure, or it is damaged.
        """
        return self.read_document(self.failure_path(number))

    def _read_outcomes(self) -> Iterator[tuple[Key, RecoveryOutcome]]:
        try:
            lines = (self.path / STATES_NAME).read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self.path / STATES_NAME}: {error.strerror}") from error
        if lines.pop():  # the line that was being written
            self._cut_rest()
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
                key = (str(found.pop("fingerprint")), str(found.pop("acked")))
                found["output"], found["console"] = tuple(found["output"]), tuple(found["console"])
                yield key, RecoveryOutcome(**found)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise InputError(
                    f"{self.path / STATES_NAME}: line {number} is damaged; remove the file"
                ) from error

    def _cut_rest(self) -> None:
        path = self.path / STATES_NAME
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
