# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors for a run's files that Arrow cannot read, or that lack columns or keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from freezingtime.errors import InputError


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn Arrow's error about a damaged file into one line for the user."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: is damaged: {reason[0]}; repeat the run") from error


def require_columns(path: Path, found: pa.Schema, wanted: pa.Schema) -> None:
    """Check that a file has the columns that it was written with.

    Raises:
        InputError: one is missing.
    """
    missing = sorted(set(wanted.names) - set(found.names))
    if missing:
        raise InputError(
            f"{path}: is damaged: it has no column {', '.join(missing)}; repeat the run"
        )
