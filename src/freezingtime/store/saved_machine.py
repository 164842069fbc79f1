# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that users saved at the end of a job, by name, in the cache.

One is a directory with QEMU's state, what has changed on the root disk, and what has changed
on each of the user's disks; whatever fits it goes on from there. Unlike the snapshots of
booted machines they are kept until they are removed, and one that is damaged is lost.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freezingtime.disk_traits import NO_TRAITS, DiskTraits
from freezingtime.errors import InputError, RunError, did_you_mean
from freezingtime.frontend import DEFAULT_QUEUES, Frontend, Queues
from freezingtime.host.json_document import parse_document, write_document
from freezingtime.store.cache import (
    cache_directory,
    exclusive_lock,
    publish,
    require_writable_cache,
    unfinished_directory,
    withdraw,
)
from freezingtime.store.checksums import DamagedError, check_files, write_checksums
from freezingtime.store.machine_identity import KvmBoot, MachineIdentity
from freezingtime.store.snapshot import Snapshot
from freezingtime.store.unusable import Unusable
from freezingtime.store.use_lock import hold, while_unused

_DESCRIPTION = "saved.json"
_FORMAT = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class BaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file under a disk, as it was."""

    size_bytes: int
    mtime_ns: int


class SavedDisk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the user's disks; ``base`` is None if all of it is in the snapshot."""

    name: str
    size_bytes: int
    base: BaseFile | None = None
    frontend: str = Frontend.VIRTIO_BLK
    write_cache: bool = True
    queues: Queues = DEFAULT_QUEUES
    traits: DiskTraits = NO_TRAITS
    """The traits it reported, on which the guest relies."""


class MachineDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity and disks of a saved machine; only the same, with the same sizes, restores it."""

    machine: MachineIdentity
    guest: str
    """The name of its image."""
    qemu_version: str
    """As reported by QEMU."""
    saved_ns: int
    """The guest time at which it was saved."""
    disks: tuple[SavedDisk, ...]
    booted: KvmBoot | None = None
    """The KVM under which the guest was booted; None: it was under TCG."""
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class SavedMachine:
    """A machine in the cache; ``directory`` belongs to the cache."""

    directory: Path
    description: MachineDescription

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def snapshot(self) -> Snapshot:
        """Return the snapshot that the machine is restored from."""
        return Snapshot(self.directory, self.description.saved_ns, has_disks=True)

    def disk_changes_path(self, number: int) -> Path:
        """Return the path of the changes of the user's disk of that number, from 1."""
        return disk_changes_path(self.directory, number)

    def device_state_path(self, number: int) -> Path:
        """Return the path of the device's state of the disk of that number; the root disk has 0."""
        return device_state_path(self.directory, number)

    def check(self, cleanup: contextlib.ExitStack) -> None:
        """Verify the snapshot, and keep it until ``cleanup``.

        Raises:
            InputError: it is damaged, or has just been removed.
        """
        if not hold(self.directory / _DESCRIPTION, cleanup):
            raise InputError(f"--from {self.name}: the snapshot was removed meanwhile")
        try:
            check_files(self.directory)
        except DamagedError as error:
            raise InputError(
                f"--from {self.name}: the snapshot is damaged ({error}), and cannot be rebuilt: "
                f"remove it with 'freezingtime snapshot remove {self.name}', "
                "and save it again"
            ) from error

    @property
    def stored_bytes(self) -> int:
        """Return the bytes that the machine occupies in the cache."""
        return sum(file.stat().st_size for file in self.directory.iterdir())


def disk_changes_path(directory: Path, number: int) -> Path:
    """Return the path of a disk's changes in the directory of a saved machine."""
    return directory / f"disk{number}-changes"


def device_state_path(directory: Path, number: int) -> Path:
    """Return the path of the state of a disk's device in the directory of a saved machine."""
    return directory / f"disk{number}-device"


def require_free_name(name: str) -> None:
    """Raise InputError unless a machine can be saved under ``name``."""
    if not _NAME.fullmatch(name):
        raise InputError(f"--save {name}: write up to 63 letters, digits, '.', '_' or '-'")
    require_writable_cache()  # now, not when the job has been done
    if (_saved() / name).exists():
        raise InputError(
            f"--save {name}: a snapshot with this name exists; choose another, "
            f"or remove it with 'freezingtime snapshot remove {name}'"
        )


def save_machine(
    name: str, description: MachineDescription, write_files: Callable[[Snapshot], None]
) -> SavedMachine:
    """Keep a machine under ``name``, whole or not at all; ``write_files`` writes what it is.

    Raises:
        RunError: there is one of that name by now, or the cache takes no more.
    """
    final = _saved() / name
    with exclusive_lock(_saved() / ".lock"):
        if final.exists():
            raise RunError(f"--save {name}: another run saved a snapshot with this name meanwhile")
        try:
            with unfinished_directory(_saved()) as building:
                write_files(Snapshot(building, description.saved_ns, has_disks=True))
                write_document(building / _DESCRIPTION, description)
                write_checksums(building)
                publish(building, final)
        except OSError as error:
            raise RunError(f"--save {name}: cannot write to {_saved()} ({error})") from error
    return SavedMachine(final, description)


def find_saved(name: str) -> SavedMachine:
    """The machine called ``name``; its description is whole, the rest is yet to be checked.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    if not _NAME.fullmatch(name) or not (_saved() / name).is_dir():
        raise _unknown(name)
    loaded = _load(_saved() / name)
    if isinstance(loaded, Unusable):
        raise InputError(f"the snapshot {name} cannot be used: {loaded.advice}")
    return loaded


def is_saved(name: str) -> bool:
    """Whether there is a machine of that name, be it damaged."""
    return (_saved() / name).is_dir()


def list_saved() -> tuple[list[SavedMachine], list[Unusable]]:
    """All saved machines, by name: those that can be used, and the others."""
    loaded = [_load(path) for path in sorted(_saved().glob("[!.]*")) if path.is_dir()]
    usable = [each for each in loaded if isinstance(each, SavedMachine)]
    return usable, [each for each in loaded if isinstance(each, Unusable)]


def remove_saved(name: str) -> None:
    """Remove the machine called ``name``, damaged or not.

    Raises:
        InputError: there is none, or a run is using it.
    """
    with exclusive_lock(_saved() / ".lock"):
        if not _NAME.fullmatch(name) or not (_saved() / name).is_dir():
            raise _unknown(name)
        with while_unused(_saved() / name / _DESCRIPTION) as is_unused:
            if not is_unused:
                raise InputError(
                    f"snapshot remove {name}: in use by a run; wait until the run ends"
                )
            withdraw(_saved() / name)


def _unknown(name: str) -> InputError:
    names = [saved.name for saved in list_saved()[0]]
    known = ", ".join(names) or "none"
    return InputError(
        f"there is no snapshot {name!r}, only: {known}; {did_you_mean(name, names)}"
        "'run --save' makes one"
    )


def _load(directory: Path) -> SavedMachine | Unusable:
    try:
        text = (directory / _DESCRIPTION).read_bytes()
        machine = SavedMachine(directory, parse_document(text, MachineDescription, _FORMAT))
        check_files(directory, [_DESCRIPTION])
    except (OSError, ValueError, InputError, DamagedError) as error:
        return Unusable.because(error, directory, f"freezingtime snapshot remove {directory.name}")
    return machine


def _saved() -> Path:
    return cache_directory() / "saved"
