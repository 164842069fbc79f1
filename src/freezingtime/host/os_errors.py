# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of the host, in one line for a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def os_errors_as(kind: type[Exception], about: object, cure: str) -> Iterator[None]:
    """Raise an OSError of the block as ``kind``: what it is about, the reason, what would do."""
    try:
        yield
    except OSError as error:
        raise kind(f"{about}: {error.strerror or error}; {cure}") from error
