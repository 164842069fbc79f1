# SPDX-License-Identifier: GPL-2.0-or-later
"""Saving the state of a stopped machine to a file, and why that may fail."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from freezingtime.errors import RunError
from freezingtime.host.patience import Patience

#: Of no progress: how long it takes depends on the memory in use.
_SAVE_DEADLINE_S = 120.0
_PROBE_BYTES = 1 << 20
_POLL_S = 0.005


def save_state(execute: Callable[..., Mapping[str, Any]], path: Path) -> None:
    """Save the machine that ``execute`` runs QMP commands on.

    Raises:
        RunError: QEMU could not, or took too long.
    """
    execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    execute("migrate", uri=f"exec:cat > {shlex.quote(str(path))}")
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


def _saved_bytes(migration: Mapping[str, Any]) -> int:
    """Return the bytes saved according to ``query-migrate``; 0 before anything is."""
    return int(migration.get("ram", {}).get("transferred", 0))


def _cannot_save(path: Path, reason: str) -> RunError:
    """QEMU knows of a broken pipe only; why the other end broke it is found out by writing."""
    try:
        with path.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return RunError(
            f"cannot save the machine to {path} ({error.strerror}): free space, "
            "or set XDG_CACHE_HOME to a directory on a larger disk"
        )
    return RunError(f"cannot save the machine to {path}: {reason}")
