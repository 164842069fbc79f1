# SPDX-License-Identifier: GPL-2.0-or-later
"""Saving the state of a stopped machine to a file, and restoring it; why that may fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from freezingtime.errors import RunError
from freezingtime.host.patience import Patience

#: Hands an open file to QEMU, under a name.
HandOver: TypeAlias = Callable[[int, str], None]

#: Of no progress: how long it takes depends on the memory in use.
_SAVE_DEADLINE_S = 120.0
_PROBE_BYTES = 1 << 20
_POLL_S = 0.005
#: The version since which it opens a file itself; older ones are handed it, which new ones refuse.
_FILE_SINCE = (8, 2)
#: What an older QEMU calls the file.
_STATE = "state"


def begin_to_restore(
    execute: Callable[..., Mapping[str, Any]], hand_over: HandOver, path: Path
) -> None:
    """Let the machine that ``execute`` runs QMP commands on read its state from a file.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            uri = _uri_of(execute, hand_over, file.fileno(), path)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    execute("migrate-incoming", uri=uri)


def save_state(execute: Callable[..., Mapping[str, Any]], hand_over: HandOver, path: Path) -> None:
    """Save the machine that ``execute`` runs QMP commands on.

    Raises:
        RunError: QEMU could not, or took too long.
    """
    execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    try:
        with path.open("wb") as file:
            uri = _uri_of(execute, hand_over, file.fileno(), path)
    except OSError as error:
        raise _cannot_save(path, error.strerror or str(error)) from error
    execute("migrate", uri=uri)
    patience, saved_bytes = Patience(_SAVE_DEADLINE_S), 0
    while (state := execute("query-migrate"))["status"] != "completed":
        if state["status"] in ("failed", "cancelled"):
            raise _cannot_save(path, state.get("error-desc", "QEMU gave no reason"))
        if (now_saved_bytes := _saved_bytes(state)) > saved_bytes:
            saved_bytes = now_saved_bytes
            patience.renew()
        if patience.is_over:
            raise RunError(
                f"saving the machine to {path} has made no progress for {_SAVE_DEADLINE_S:.0f} s; "
                f"{saved_bytes} bytes are saved"
            )
        time.sleep(_POLL_S)


def _uri_of(
    execute: Callable[..., Mapping[str, Any]], hand_over: HandOver, file: int, path: Path
) -> str:
    """What QEMU calls a file that is open: it starts no program to read or write it."""
    numbers = execute("query-version")["qemu"]
    if (numbers["major"], numbers["minor"]) >= _FILE_SINCE:
        return f"file:{path}"
    hand_over(file, _STATE)
    return f"fd:{_STATE}"


def _saved_bytes(migration: Mapping[str, Any]) -> int:
    """Return the bytes saved according to ``query-migrate``; 0 before anything is."""
    return int(migration.get("ram", {}).get("transferred", 0))


def _cannot_save(path: Path, reason: str) -> RunError:
    """QEMU may know less than the file does; that is found out by writing."""
    try:
        with path.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return RunError(
            f"cannot save the machine to {path} ({error.strerror}): free space, "
            "or set XDG_CACHE_HOME to a directory on a larger disk"
        )
    return RunError(f"cannot save the machine to {path}: {reason}")
