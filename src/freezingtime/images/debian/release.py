# SPDX-License-Identifier: GPL-2.0-or-later
"""A suite's signed list of its index files: who signed it, how old it is, what it announces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from freezingtime.errors import InputError, RunError

if TYPE_CHECKING:
    from pysequoia import Cert


class ReleaseError(RunError):
    """A list cannot be trusted, or is not the one that was asked for."""


class UnsignedError(ReleaseError):
    """A list is signed with none of the keys."""


class Announced(NamedTuple):
    """Expected size and digest of a file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Release:
    """Content of a suite's signed list."""

    names: frozenset[str]
    """What the suite is called: its code name, and what it is at present."""
    date: datetime
    valid_until: datetime | None
    has_hash_names: bool
    """Whether index files can be had by their SHA-256, while others take their place."""
    files: dict[str, Announced]
    """Index files, by path."""


def read_keyring(path: Path, called: str) -> list[Cert]:
    """The keys of a file, armored or not.

    Raises:
        InputError: it has none; the message calls the file ``called``.
    """
    from pysequoia import Cert  # loads a large library, for building images only

    try:
        if keys := Cert.split_bytes(path.read_bytes()):
            return keys
        reason = "it has none"
    except OSError as error:
        reason = str(error.strerror)
    except RuntimeError as error:
        reason = _first_line(error)
    raise InputError(f"{called}: must be a file with OpenPGP keys ({reason})")


def read_release(signed: bytes, keys: Sequence[Cert]) -> Release:
    """Read a list (InRelease), if one of the keys has signed it.

    Raises:
        UnsignedError: none has, or it is damaged.
        ReleaseError: it is signed, and nothing to go by.
    """
    from pysequoia import verify

    try:
        # Nothing but what is signed counts, whatever stands around it.
        verified = verify(signed, store=lambda _names: list(keys)).bytes or b""
    except RuntimeError as error:
        raise UnsignedError(_first_line(error)) from error
    try:
        return _parse(verified.decode())
    except (KeyError, ValueError) as error:
        raise ReleaseError(f"it is signed, but cannot be read: {error}") from error


def require_current(release: Release, suite: str, now: datetime | None) -> None:
    """Raise ReleaseError if a list is another suite's, or has expired, unless ``now`` is None."""
    if suite not in release.names:
        raise ReleaseError(f"it is the list of {' or '.join(sorted(release.names))}")
    if now is not None and release.valid_until is not None and release.valid_until < now:
        raise ReleaseError(f"it is of {release.date:%Y-%m-%d}, and has expired")


def _parse(text: str) -> Release:
    fields = dict(re.findall(r"^([\w-]+): *(\S.*)$", text, re.MULTILINE))
    # Lists of other digests may stand around the one that counts.
    sums = re.search(r"^SHA256:\n((?: .*\n?)*)", text, re.MULTILINE)
    until = fields.get("Valid-Until")
    names = {fields[key] for key in ("Codename", "Suite") if key in fields}
    return Release(
        names=frozenset(names),
        date=_time(fields["Date"]),
        valid_until=(until and _time(until)) or None,
        has_hash_names=fields.get("Acquire-By-Hash") == "yes",
        files={
            path: Announced(sha256, int(size))
            for sha256, size, path in (line.split() for line in sums[1].splitlines())
        }
        if sums
        else {},
    )


def _time(text: str) -> datetime:
    time = parsedate_to_datetime(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
