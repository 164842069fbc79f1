# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured so far: a file with a line for each guest, to which one process adds."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class GuestMeasured(msgspec.Struct, frozen=True):
    """What one guest has measured."""

    numbers: Sequence[int]
    """Of the rebuilds."""
    phases_ns: Mapping[str, Sequence[int]]
    """Guest time of each phase, in ns, by the name of what was run."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: str
    guest: GuestMeasured


class Measurements(contextlib.AbstractContextManager["Measurements"]):
    """Measurements in a file that is this process's while it is open.

    A line that was not written to its end, by who was killed meanwhile, is taken away.
    """

    def __init__(self, path: Path, identity: str) -> None:
        """Open, or begin, a file of measurements; ``identity`` is of all that decides them."""
        self._identity = identity
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.guests = self._read(path)
        except BlockingIOError:
            self._file.close()
            raise SystemExit(f"{path}: another process adds to it") from None
        except SystemExit:
            self._file.close()
            raise

    @property
    def numbers(self) -> set[int]:
        """Return the numbers of all rebuilds that were measured."""
        return {number for guest in self.guests for number in guest.numbers}

    def add(self, guest: GuestMeasured) -> None:
        """Keep what a guest has measured, written through to the disk."""
        self._file.write(msgspec.json.encode(_Line(self._identity, guest)) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.guests.append(guest)

    def _read(self, path: Path) -> list[GuestMeasured]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        guests = []
        for number, text in enumerate(whole.splitlines(), start=1):
            try:
                line = msgspec.json.decode(text, type=_Line)
            except msgspec.MsgspecError as error:
                raise SystemExit(f"{path}, line {number}: is no measurement: {error}") from error
            if line.identity != self._identity:
                raise SystemExit(
                    f"{path}, line {number}: was measured with other code, another guest or "
                    "another compiler; name another file"
                )
            guests.append(line.guest)
        return guests

    def __exit__(self, *_: object) -> None:
        self._file.close()
