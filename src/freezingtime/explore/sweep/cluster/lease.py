# SPDX-License-Identifier: GPL-2.0-or-later
"""Leases on a file system that several hosts share: who is at work on what.

A lease is a file ``NAME.GENERATION``, made with O_EXCL, which NFS does as well; there are no locks.
Its holder touches it now and then. Others watch: a file whose time of change stays what it was for
as long as its holder has written into it has expired, by the watcher's own monotonic clock. So no
two hosts' clocks are ever compared. Who takes an expired lease over makes the next generation, and
only one can. Who was thought dead, and was not, finishes for nothing; that does no harm.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

#: How often a lease is touched while it lasts.
_TOUCHES = 6
#: How often others' leases are looked at, and how seldom at least.
_LOOKS = 10
_LOOK_MAX_S = 2.0
_CONTENT_BYTES_MAX = 4096


class _Content(msgspec.Struct):
    """What a lease says, for those who watch it, and for people."""

    lease_s: float
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held."""

    name: str
    generation: int


@dataclass(slots=True)
class _Sighting:
    """A lease of somebody else's as it was seen to change last."""

    mtime_ns: int
    since_s: float
    """By this host's monotonic clock."""


@dataclass(slots=True)
class Leases:
    """The leases in a directory, as one process sees and holds them. A context manager."""

    directory: Path
    lease_s: float
    """After how long without a sign of life a lease of this process is another's to take."""
    clock: Callable[[], float] = time.monotonic
    _held: dict[str, Lease] = field(default_factory=dict)
    _seen: dict[str, _Sighting] = field(default_factory=dict)
    _ends: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Of ``_held``, which the thread that touches reads."""

    def __enter__(self) -> Leases:
        """Begin to touch what is held, in the directory that the plan has made."""
        threading.Thread(target=self._touch_all, name="leases", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for name in list(self._held):
            self.release(name)

    def claim(self, name: str) -> Lease | None:
        """Take a lease that nobody has, or that has expired; None: somebody is at work on it.

        Raises OSError.
        """
        generation = self._last_generation(name)
        if generation is not None and not self._has_expired(f"{name}.{generation}"):
            return None
        lease = Lease(name, 0 if generation is None else generation + 1)
        content = _Content(self.lease_s, socket.gethostname(), os.getpid())
        try:
            fd = os.open(self._path(lease), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        except FileExistsError:
            return None
        try:
            os.write(fd, msgspec.json.encode(content) + b"\n")
        except OSError:  # a full disk: nobody is to wait for who says so and ends
            self._path(lease).unlink()
            raise
        finally:
            os.close(fd)
        with self._lock:
            self._held[name] = lease
        return lease

    def release(self, name: str) -> None:
        """Give a lease back, and remove those before it, whose holders are gone."""
        with self._lock:
            lease = self._held.pop(name)
        for generation in range(lease.generation + 1):
            with contextlib.suppress(OSError):  # taken over, or the file system is gone: it expires
                self._path(Lease(name, generation)).unlink()

    @property
    def look_s(self) -> float:
        """Return the time between looks at the leases of others."""
        return min(_LOOK_MAX_S, self.lease_s / _LOOKS)

    @property
    def held(self) -> frozenset[str]:
        """Return the names of the leases that this process holds."""
        return frozenset(self._held)

    def count_others(self) -> int:
        """The number of leases that other processes hold."""
        with contextlib.suppress(OSError):
            return max(0, sum(1 for _ in self.directory.iterdir()) - len(self._held))
        return 0

    def _path(self, lease: Lease) -> Path:
        return self.directory / f"{lease.name}.{lease.generation}"

    def _last_generation(self, name: str) -> int | None:
        """The newest generation; only a lease that has expired once has more than one."""
        generation = None
        for path in self.directory.glob(f"{name}.*"):
            suffix = path.suffix.removeprefix(".")
            if suffix.isdecimal():
                generation = max(generation or 0, int(suffix))
        return generation

    def _has_expired(self, file_name: str) -> bool:
        try:
            # Opened anew each time: only then does NFS ask its server for the time of change.
            with (self.directory / file_name).open("rb") as file:
                mtime_ns = os.fstat(file.fileno()).st_mtime_ns
                content = file.read(_CONTENT_BYTES_MAX)
        except FileNotFoundError:
            return False  # given back just now; the next look will show
        now_s, seen = self.clock(), self._seen.get(file_name)
        if seen is None or seen.mtime_ns != mtime_ns:
            self._seen[file_name] = _Sighting(mtime_ns, now_s)
            return False
        return now_s - seen.since_s > _lease_s(content, self.lease_s)

    def _touch_all(self) -> None:
        while not self._ends.wait(self.lease_s / _TOUCHES):
            with self._lock:
                held = list(self._held.values())
            for lease in held:
                with contextlib.suppress(OSError):  # taken over; or it expires, which does no harm
                    os.utime(self._path(lease))


def _lease_s(content: bytes, default_s: float) -> float:
    """How long a lease lasts; one that its holder has not written yet, as long as ours."""
    try:
        return msgspec.json.decode(content, type=_Content).lease_s
    except msgspec.DecodeError:
        return default_s
