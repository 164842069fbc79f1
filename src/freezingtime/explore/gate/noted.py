# SPDX-License-Identifier: GPL-2.0-or-later
"""Baselines by commit: which results of a store a command had at a commit.

``gates/COMMIT/COMMAND.json`` in the store, where ``COMMAND`` is the digest of the command as it was
written: the same command finds it, whatever has become of the job meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from freezingtime.errors import InputError, RunError
from freezingtime.host.json_document import parse_document
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.replaced_file import replaced
from freezingtime.store.results.key import canonical
from freezingtime.store.results.result_store import ResultStore

_FORMAT = 1
_DIRECTORY = "gates"


class NotedGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of a file."""

    format: int = _FORMAT
    command: dict[str, Any]
    """As it was written, for people."""
    results: list[str]
    """The keys of the results, of one phase after the other."""


def note_results(
    store: ResultStore, commit: str, command: Mapping[str, Any], keys: Sequence[str]
) -> None:
    """Note what a command gave at a commit.

    Raises:
        RunError: the store takes no more.
    """
    path = _path(store, commit, command)
    text = msgspec.json.encode(NotedGate(command=dict(command), results=list(keys)))
    with os_errors_as(RunError, path, "free space, or name another store"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            file.write(msgspec.json.format(text, indent=2) + b"\n")


def noted_results(
    store: ResultStore, commit: str, command: Mapping[str, Any]
) -> Sequence[str] | None:
    """The keys that a command had at a commit; None: nobody has noted any.

    Raises:
        InputError: what is noted is damaged.
    """
    path = _path(store, commit, command)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name another store") from error
    try:
        return parse_document(text, NotedGate, _FORMAT).results
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); remove it") from error


def remove_stale_notes(store: ResultStore) -> int:
    """Remove notes of results that the store has no more; returns how many.

    Raises:
        RunError: one cannot be removed.
    """
    removed = 0
    for path in sorted((store.root / _DIRECTORY).glob("*/*.json")):
        try:
            keys = parse_document(path.read_bytes(), NotedGate, _FORMAT).results
        except (OSError, ValueError):
            continue  # the gate that needs it says what is wrong
        if all(store.place(key).is_dir() for key in keys):
            continue
        with os_errors_as(RunError, path, "prune as the user who owns the store"):
            path.unlink(missing_ok=True)
            removed += 1
            with suppress(OSError):  # the commit has others
                path.parent.rmdir()
    return removed


def _path(store: ResultStore, commit: str, command: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(canonical(command).encode()).hexdigest()
    return store.root / _DIRECTORY / commit / f"{digest}.json"
