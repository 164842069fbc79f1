# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a booted machine, stopped at an exact guest time, in the cache.

A snapshot fits only the machine that it was taken of; its name is that machine's key. One that
is damaged counts as none: it is taken anew. Those that were not used for longest are removed
when all together take too much.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from freezingtime.store.cache import (
    Waiting,
    cache_directory,
    exclusive_lock,
    publish,
    unfinished_directory,
    withdraw,
)
from freezingtime.store.checksums import DamagedError, check_files, write_checksums
from freezingtime.store.use_lock import hold, while_unused
from freezingtime.units import parse_option, parse_size_bytes

#: Default limit of all snapshots together; this environment variable overrides it.
LIMIT_VARIABLE = "FREEZINGTIME_SNAPSHOT_LIMIT"
DEFAULT_LIMIT = "4GiB"

_STATE = "state"
_ROOT_CHANGES = "root-changes"
_DESCRIPTION = "snapshot.json"
_BLOCK_BYTES = 512

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A machine's saved state, in a directory, and the guest time at which it was stopped."""

    directory: Path
    ready_ns: int
    has_disks: bool = False
    """Whether the user's disks were plugged in; otherwise they are yet to be."""

    @property
    def state_path(self) -> Path:
        """Return the path of QEMU's state."""
        return self.directory / _STATE

    @property
    def root_changes_path(self) -> Path:
        """Return the path of the root disk's changes since the image was built."""
        return self.directory / _ROOT_CHANGES


def has_snapshot(key: str) -> bool:
    """Whether the snapshot of that key has been taken; it may be damaged."""
    return (_snapshots() / key / _DESCRIPTION).exists()


def find_snapshot(key: str, cleanup: contextlib.ExitStack) -> Snapshot | None:
    """The snapshot of that key, if it has been taken and is whole; it stays until ``cleanup``."""
    try:
        return _open(key, cleanup)
    except DamagedError:
        return None  # taking it again reports it


def take_snapshot(
    key: str,
    boot: Callable[[Snapshot], int],
    cleanup: contextlib.ExitStack,
    waiting: Waiting | None = None,
) -> Snapshot:
    """The snapshot of ``key``; ``boot`` makes it unless another process has by now.

    ``boot`` writes to the paths of the snapshot it is given and returns the guest time. The
    snapshot stays until ``cleanup``. ``waiting`` is told, again and again, which process is
    waited for.

    Raises:
        InputError: the limit of what snapshots may take is no size.
    """
    limit_bytes = _limit_bytes()
    with exclusive_lock(_snapshots() / ".lock", waiting):
        try:
            if existing := _open(key, cleanup):
                return existing
        except DamagedError as error:
            _log.warning(
                "the snapshot in %s is damaged (%s): the guest is booted again",
                _snapshots() / key,
                error,
            )
        with unfinished_directory(_snapshots()) as building:
            ready_ns = boot(Snapshot(building, 0))
            (building / _DESCRIPTION).write_text(json.dumps({"ready_ns": ready_ns}) + "\n")
            write_checksums(building)
            publish(building, _snapshots() / key)
        taken = _hold(key, cleanup)
        if taken is None:
            raise RuntimeError(f"snapshot {key} vanished while it was being published")
        _prune(limit_bytes)
    return taken


def _open(key: str, cleanup: contextlib.ExitStack) -> Snapshot | None:
    """The snapshot, checked; None if there is none. Raises DamagedError."""
    with contextlib.ExitStack() as held:
        snapshot = _hold(key, held)
        if snapshot is not None:
            check_files(snapshot.directory)
            cleanup.push(held.pop_all())
    return snapshot


def _hold(key: str, cleanup: contextlib.ExitStack) -> Snapshot | None:
    """The snapshot, in use from now on. Raises DamagedError when it cannot be read."""
    directory = _snapshots() / key
    description = directory / _DESCRIPTION
    if not hold(description, cleanup):
        return None
    # A cache that may only be read keeps no account of its use, nor is anything removed there.
    with contextlib.suppress(OSError):
        os.utime(description)
    try:
        return Snapshot(directory, int(json.loads(description.read_bytes())["ready_ns"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{_DESCRIPTION}: {error}") from error


def _prune(limit_bytes: int) -> None:
    """Remove those used longest ago, until the rest fits; never one that is in use."""
    directories = [path for path in _snapshots().glob("[!.]*") if path.is_dir()]
    sizes_bytes = {path: _stored_bytes(path) for path in directories}
    stored_bytes = sum(sizes_bytes.values())
    for directory in sorted(directories, key=_used_ns):
        if stored_bytes <= limit_bytes:
            return
        with while_unused(directory / _DESCRIPTION) as is_unused:
            if is_unused:
                withdraw(directory)
                stored_bytes -= sizes_bytes[directory]


def _used_ns(directory: Path) -> int:
    description = directory / _DESCRIPTION
    return (description if description.exists() else directory).stat().st_mtime_ns


def _stored_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * _BLOCK_BYTES for path in directory.iterdir())


def _limit_bytes() -> int:
    text = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT
    return parse_option(LIMIT_VARIABLE, text, parse_size_bytes)


def _snapshots() -> Path:
    return cache_directory() / "snapshots"
