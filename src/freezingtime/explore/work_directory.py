# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of many runs: locked, what is asked for written down, and continued or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from freezingtime.errors import InputError, RunError
from freezingtime.host.document_fault import document_fault
from freezingtime.host.replaced_file import replaced
from freezingtime.trace.run_directory import locked_run_directory


class WorkDirectory:
    """A directory that holds one piece of work, locked. A context manager.

    A block that ends with InputError leaves the place as it was before work was begun: the command
    that is put right would otherwise find other work there.
    """

    noun: ClassVar[str]
    """What the work is called in messages, with its article."""
    redo: ClassVar[str]
    """What to do where a document of the work is damaged."""
    begun_names: ClassVar[tuple[str, ...]]
    """The files that there may be before the first run has ended."""

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        """``is_new``: it is made if it is not there.

        Raises:
            InputError: it cannot be used, or others use it.
        """
        self.path = path
        self._cleanup = ExitStack()
        self._was_made = is_new and not path.exists()
        self._has_begun = False
        try:
            if is_new:
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
        if self._has_begun and {path.name for path in self.path.iterdir()} <= {*self.begun_names}:
            for name in self.begun_names:
                (self.path / name).unlink(missing_ok=True)
        if self._was_made:
            with suppress(OSError):  # it has what is not to be lost
                self.path.rmdir()

    def _begin(self, asked: Mapping[str, Any], there: Mapping[str, Any] | None) -> None:
        """Begin what is asked for, or go on with what is there, if that is the same.

        Raises:
            InputError: other work is there, or other files.
        """
        if there is not None:
            own = json.loads(json.dumps(asked))
            differing = [name for name in own if there.get(name) != own[name]]
            if differing or own.keys() != there.keys():
                raise InputError(
                    f"--out {self.path}: has {self.noun} with another {(differing or ['form'])[0]}"
                    "; name another directory, or remove it"
                )
        elif any(self.path.iterdir()):
            raise InputError(
                f"--out {self.path}: is not empty, and has no {self.noun.partition(' ')[2]}; name "
                "another directory"
            )
        else:
            self._has_begun = True

    def _write_document(self, path: Path, document: Mapping[str, Any]) -> None:
        """Write JSON that is there complete or not at all.

        Raises:
            RunError: it cannot be written.
        """
        try:
            path.parent.mkdir(exist_ok=True)
            with replaced(path) as file:
                file.write(json.dumps(document, indent=2).encode() + b"\n")
        except OSError as error:
            raise self._full(error) from error

    @classmethod
    def read_document(cls, path: Path) -> dict[str, Any]:
        """Read what :meth:`_write_document` wrote.

        Raises:
            InputError: it is not there, or damaged.
        """
        try:
            document = json.loads(path.read_text())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; name the --out of {cls.noun}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: is damaged: {document_fault(error)}; {cls.redo}") from error
        if not isinstance(document, dict):
            raise InputError(f"{path}: is damaged: it is no table; {cls.redo}")
        return document

    def _full(self, error: OSError) -> RunError:
        return RunError(
            f"cannot write to {self.path}: {error.strerror or error}; free space, or name another "
            "--out"
        )
