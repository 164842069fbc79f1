"""Snapshots of a booted machine, stopped at an exact guest time, in the cache.

A snapshot fits only the machine that it was taken of, so its key is a digest of all that
makes the machine: image, QEMU, agent, memory, command line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from freezingtime.machine.cache import (
    Waiting,
    cache_directory,
    exclusive_lock,
    publish,
    unfinished_directory,
    withdraw,
)

_STATE = "state"
_ROOT_CHANGES = "root-changes"
_DESCRIPTION = "snapshot.json"
_KEEP_COUNT = 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A machine's saved state, in a directory, and the guest time at which it was stopped."""

    directory: Path
    ready_ns: int
    has_disks: bool = False
    """Whether the user's disks were plugged in; otherwise they are yet to be."""

    @property
    def state_path(self) -> Path:
        """What QEMU saved."""
        return self.directory / _STATE

    @property
    def root_changes_path(self) -> Path:
        """What has changed on the root disk since the image was built, if the guest has one."""
        return self.directory / _ROOT_CHANGES


def snapshot_key(ingredients: Sequence[str]) -> str:
    """The key of a machine that was made of ``ingredients``."""
    return hashlib.sha256(json.dumps(list(ingredients)).encode()).hexdigest()[:16]


def find_snapshot(key: str) -> Snapshot | None:
    """The snapshot of that key, if it has been taken and is whole."""
    directory = _snapshots() / key
    try:
        description = json.loads((directory / _DESCRIPTION).read_text())
        return Snapshot(directory, int(description["ready_ns"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None


def take_snapshot(
    key: str, boot: Callable[[Snapshot], int], waiting: Waiting | None = None
) -> Snapshot:
    """The snapshot of ``key``; ``boot`` makes it unless another process has by now.

    ``boot`` writes to the paths of the snapshot it is given and returns the guest time.
    ``waiting`` is told, again and again, which process is waited for.
    """
    with exclusive_lock(_snapshots() / ".lock", waiting):
        if existing := find_snapshot(key):
            return existing
        with unfinished_directory(_snapshots()) as building:
            ready_ns = boot(Snapshot(building, 0))
            (building / _DESCRIPTION).write_text(json.dumps({"ready_ns": ready_ns}) + "\n")
            publish(building, _snapshots() / key)
        _prune()
    snapshot = find_snapshot(key)
    if snapshot is None:
        raise RuntimeError(f"snapshot {key} vanished while it was being published")
    return snapshot


def _prune() -> None:
    """Remove the snapshots that were taken longest ago; each takes some 100 MB."""
    taken = sorted(_snapshots().glob(f"*/{_DESCRIPTION}"), key=lambda path: path.stat().st_mtime_ns)
    for description in taken[:-_KEEP_COUNT]:
        withdraw(description.parent)


def _snapshots() -> Path:
    return cache_directory() / "snapshots"
