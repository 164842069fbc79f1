# SPDX-License-Identifier: GPL-2.0-or-later
"""Target of a measurement: a file or block device, checked before anything touches it.

Refused is what is mounted or otherwise in use, what would be overwritten without permission,
and what would be measured without the device behind it being asked: holes in files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.units import format_size_bytes

#: Fewer bytes would measure a cache.
SIZE_MIN_BYTES = 16 << 20

_MOUNTS = Path("/proc/self/mountinfo")
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A file or block device that may be measured."""

    path: Path
    what: str
    """What it is, as far as the host knows."""
    size_bytes: int
    is_created: bool = False
    """It is not there yet: it is made for the measurement, and removed after it."""


@contextlib.contextmanager
def opened_target(
    path: Path, *, write: bool, overwrite: bool, create_bytes: int | None
) -> Iterator[Target]:
    """Check a target, and keep others from mounting a block device meanwhile.

    ``overwrite`` permits overwriting existing data; ``create_bytes`` creates a new file.

    Raises:
        InputError: it may not or cannot be measured.
    """
    if create_bytes is not None:
        yield _new_file(path, create_bytes)
        return
    with os_errors_as(InputError, path, "name a file or block device, or add --create SIZE"):
        mode = path.stat().st_mode
    if not stat.S_ISBLK(mode) and not stat.S_ISREG(mode):
        raise InputError(f"{path}: is neither a file nor a block device")
    if write and not overwrite:
        content = "a block device's content" if stat.S_ISBLK(mode) else "what is in the file"
        raise InputError(
            f"{path}: writing would destroy {content}; add --overwrite, or name a new file with "
            "--create SIZE"
        )
    open_checked = _block_device if stat.S_ISBLK(mode) else _file
    with open_checked(path, write) as target:
        if target.size_bytes < SIZE_MIN_BYTES:
            least = format_size_bytes(SIZE_MIN_BYTES)
            raise InputError(f"{path}: has {target.size_bytes} bytes; {least} is the minimum")
        yield target


def _new_file(path: Path, size_bytes: int) -> Target:
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: already exists; --create needs a new file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be created; name a file in a writable directory")
    if size_bytes < SIZE_MIN_BYTES:
        raise InputError(f"--create: must be at least {format_size_bytes(SIZE_MIN_BYTES)}")
    free_bytes = shutil.disk_usage(path.parent).free
    if size_bytes + _SPARE_BYTES > free_bytes:
        raise InputError(f"--create: {path.parent} has only {free_bytes} bytes free")
    return Target(path, _what(path.parent.stat().st_dev), size_bytes, is_created=True)


@contextlib.contextmanager
def _block_device(path: Path, write: bool) -> Iterator[Target]:
    number = path.stat().st_rdev
    place = _mounted_at(number)
    if place is not None:
        raise InputError(f"{path}: is mounted at {place}; unmount it")
    flags = os.O_RDWR if write else os.O_RDONLY
    with _opened(path, flags | os.O_EXCL | os.O_DIRECT) as fd:
        yield Target(path, _what(number), os.lseek(fd, 0, os.SEEK_END))


@contextlib.contextmanager
def _file(path: Path, write: bool) -> Iterator[Target]:
    with _opened(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_DIRECT) as fd:
        _require_idle(path, fd)
        size_bytes = os.fstat(fd).st_size
        if size_bytes and os.lseek(fd, 0, os.SEEK_HOLE) < size_bytes:
            raise InputError(
                f"{path}: has holes, and reading them asks no device; write the file full, or "
                "name a new one with --create SIZE"
            )
        target = Target(path, _what(path.stat().st_dev), size_bytes)
    yield target


def _require_idle(path: Path, fd: int) -> None:
    """Only the sole opener of a file gets a lease (fcntl(2), "Leases")."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EBUSY):
            raise InputError(f"{path}: is open in another process; close it there") from error
        return  # another user's file, or a file system without leases: unknown
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    try:
        fd = os.open(path, flags)
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "is in use: mounted, or part of a volume, an array or swap; free it"
    if error.errno == errno.EINVAL:
        return "does not support direct I/O, and would measure the page cache"
    return f"{error.strerror}; name one that you have access to"


def remove_created(target: Target) -> None:
    """Remove a file that was made for the measurement.

    Raises:
        RunError: it cannot be removed.
    """
    if target.is_created:
        try:
            target.path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot remove {target.path}: {error.strerror}") from error


def _what(number: int) -> str:
    """A block device in words: its model or name, and what file system is on it."""
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    name = block.resolve().name if block.exists() else "not a block device"
    with contextlib.suppress(OSError):
        name = f"{(block / 'device' / 'model').read_text().strip()} {name}"
    mounts = [
        fields for fields in _mounts() if fields[2] == f"{os.major(number)}:{os.minor(number)}"
    ]
    kinds = {fields[fields.index("-") + 1] for fields in mounts}
    return f"{name}, {', '.join(sorted(kinds))}" if kinds else name


def _mounted_at(number: int) -> str | None:
    wanted = f"{os.major(number)}:{os.minor(number)}"
    return next((fields[4] for fields in _mounts() if fields[2] == wanted), None)


def _mounts() -> list[list[str]]:
    """The lines of mountinfo (proc(5)): device number in field 3, place in 5, type behind "-"."""
    try:
        return [line.split() for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return []
