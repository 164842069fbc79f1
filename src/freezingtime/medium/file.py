# SPDX-License-Identifier: GPL-2.0-or-later
"""A regular file or a block device as medium."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.host.file_formats import QCOW2, FileKind, recognize_open
from freezingtime.medium import fallocate
from freezingtime.medium.base import SECTOR_BYTES, Medium
from freezingtime.medium.file_access import BufferedAccess, DirectAccess, FileAccess
from freezingtime.medium.file_lock import lock
from freezingtime.request import Buffer
from freezingtime.units import format_size_bytes

_ZEROS = bytes(1024 * 1024)


class FileMedium(Medium):
    """The first ``size_bytes`` (all, if None) of the file or block device at ``path``.

    A file in another form, such as qcow2, is refused by its magic, as its bytes are not those of
    the disk in it, and a guest that writes to them destroys it. ``is_raw`` says that they are,
    whatever they look like: a guest may have written such a magic to its raw disk. That is also
    why such a file is never opened as what it looks like: the guest would choose which files of
    the host are its backing files.

    ``direct`` keeps the host's page cache out of the way. While the medium is open, it
    holds advisory locks (:mod:`.file_lock`): shared, or exclusive if ``writable``.

    Raises :class:`InputError` when there is no such file, it may not be opened, is in
    use, is of another type or form, or has no fitting size; nothing is left open then.
    """

    def __init__(
        self,
        path: Path,
        *,
        writable: bool,
        direct: bool = False,
        size_bytes: int | None = None,
        is_raw: bool = False,
    ) -> None:
        self._path = path
        self._absolute_path = path.absolute()  # the working directory may change
        self.writable = writable
        self._fd = _open(path, writable=writable)
        try:
            lock(self._fd, path, writable=writable)
            if not is_raw:
                _refuse_other_forms(self._fd, path)
            self.size_bytes = _usable_size_bytes(self._fd, path, size_bytes)
            self._access = _access(self._fd, path, writable=writable, direct=direct)
        except BaseException:
            os.close(self._fd)
            raise

    def describe(self) -> str:
        return f"file:{self._path}"

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        try:
            return self._access.read(offset_bytes, length_bytes)
        except OSError as error:
            raise self._named(error, f"read {length_bytes} bytes at {offset_bytes}") from error

    def write(self, offset_bytes: int, data: Buffer) -> None:
        try:
            self._access.write(offset_bytes, data)
        except OSError as error:
            raise self._named(error, f"write {len(data)} bytes at {offset_bytes}") from error

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        try:
            if not fallocate.zero_range(self._fd, offset_bytes, length_bytes):
                self._punch_or_write_zeros(offset_bytes, length_bytes)
        except OSError as error:
            raise self._named(error, f"zero {length_bytes} bytes at {offset_bytes}") from error

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        try:
            self._punch_or_write_zeros(offset_bytes, length_bytes)
        except OSError as error:
            raise self._named(error, f"discard {length_bytes} bytes at {offset_bytes}") from error

    def flush(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._named(error, "flush") from error

    def displacement(self) -> str | None:
        try:
            found = self._absolute_path.stat()
        except FileNotFoundError:
            return f"{self.describe()} was deleted while it was in use"
        except OSError as error:
            return f"{self.describe()} no longer exists ({error.strerror})"
        own = os.fstat(self._fd)
        if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
            return f"{self.describe()} was replaced by another file while it was in use"
        if os.lseek(self._fd, 0, os.SEEK_END) < self.size_bytes:
            return f"{self.describe()} was truncated while it was in use"
        return None

    def close(self) -> None:
        self._access.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _punch_or_write_zeros(self, offset_bytes: int, length_bytes: int) -> None:
        if fallocate.punch_hole(self._fd, offset_bytes, length_bytes):
            return
        end_bytes = offset_bytes + length_bytes
        for start_bytes in range(offset_bytes, end_bytes, len(_ZEROS)):
            piece_bytes = min(len(_ZEROS), end_bytes - start_bytes)
            self._access.write(start_bytes, memoryview(_ZEROS)[:piece_bytes])

    def _named(self, error: OSError, action: str) -> OSError:
        return OSError(error.errno, f"{self.describe()}: cannot {action}: {error.strerror}")


def _open(path: Path, *, writable: bool) -> int:
    """Open the file at ``path``; InputError if that cannot be done or it is no disk."""
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
    try:
        mode = path.stat().st_mode
        _check_type(path, mode)
        if writable and stat.S_ISBLK(mode):
            # For a block device this means: not if it is mounted or part of something else.
            flags |= os.O_EXCL
        return os.open(path, flags)
    except OSError as error:
        cure = _open_cure(path, error, writable=writable)
        raise InputError(f"file:{path}: {cure}") from error


def _check_type(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InputError(f"file:{path}: is a directory; name a file or a block device in it")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise InputError(
            f"file:{path}: is neither a regular file nor a block device; name one that is"
        )


def _open_cure(path: Path, error: OSError, *, writable: bool) -> str:
    """Describe what is wrong with the file, and the cure."""
    quoted = shlex.quote(str(path))
    needed = "rw" if writable else "r"
    if error.errno == errno.ENOENT:
        return f"no such file; create it with 'truncate -s 1G {quoted}'"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"permission denied; allow it with 'chmod u+{needed} {quoted}', or use another user"
    if error.errno == errno.EROFS:
        return "is on a read-only file system; omit writable=yes, or use a copy elsewhere"
    if error.errno == errno.EBUSY:
        return "is mounted or part of another device; unmount it, or omit writable=yes"
    return f"cannot be opened ({error.strerror}); name a readable file or block device"


def _refuse_other_forms(fd: int, path: Path) -> None:
    """Refuse a disk image or a compressed file; InputError with the cure."""
    try:
        found = recognize_open(fd, os.lseek(fd, 0, os.SEEK_END))
    except OSError as error:
        raise InputError(f"file:{path}: cannot be read ({error.strerror})") from error
    if found is None or found.kind not in (FileKind.DISK_IMAGE, FileKind.COMPRESSED):
        return
    boot = f", boot it with --guest {shlex.quote(str(path))}" if found is QCOW2 else ""
    raise InputError(
        f"file:{path}: is {found.name}, not a raw image; convert it with "
        f"'{found.command(path)}'{boot}, or, if a guest wrote that to a raw disk, "
        "add format=raw"
    )


def _usable_size_bytes(fd: int, path: Path, wanted_bytes: int | None) -> int:
    """Return the medium's size: what is wanted, if the file is as large, or the file's own."""
    # A block device's stat has no size, but its end can be found by seeking.
    file_bytes = os.lseek(fd, 0, os.SEEK_END)
    quoted = shlex.quote(str(path))
    if file_bytes == 0:
        raise InputError(f"file:{path}: is empty; give it a size with 'truncate -s 1G {quoted}'")
    if wanted_bytes is not None:
        if wanted_bytes > file_bytes:
            raise InputError(
                f"file:{path}: too small for size={format_size_bytes(wanted_bytes)}, "
                f"has {format_size_bytes(file_bytes)}; "
                f"extend it with 'truncate -s {wanted_bytes} {quoted}'"
            )
        return wanted_bytes
    if file_bytes % SECTOR_BYTES:
        raise InputError(
            f"file:{path}: {file_bytes} bytes is not a multiple of {SECTOR_BYTES}; "
            f"pad it with 'truncate -s %{SECTOR_BYTES} {quoted}'"
        )
    return file_bytes


def _access(fd: int, path: Path, *, writable: bool, direct: bool) -> FileAccess:
    if not direct:
        return BufferedAccess(fd)
    try:
        return DirectAccess(fd, writable=writable)
    except OSError as error:
        raise InputError(
            f"file:{path}: no direct I/O on this file system ({error.strerror}); "
            "omit direct=yes, or move the file"
        ) from error
