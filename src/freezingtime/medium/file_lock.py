# SPDX-License-Identifier: GPL-2.0-or-later
"""Locking a medium's file against other users, and respecting theirs.

Two kinds of lock, since neither is seen by whoever takes the other: flock(2), which people's own
scripts take with flock(1), and the bytes that QEMU's tools lock in a disk image (block/file-posix.c
in QEMU). There, a byte from 100 on represents each operation of a process on an image, and one
from 200 on for each that it does not bear from others; all are locked for reading, so that many may
do the same. After taking its locks, a process checks for conflicting ones.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from freezingtime.errors import InputError

_DOES, _BEARS_NOT = 100, 200
#: QEMU's BLK_PERM_CONSISTENT_READ, BLK_PERM_WRITE and BLK_PERM_RESIZE, as numbers of bits.
_READ, _WRITE, _RESIZE = 0, 1, 3

_FLOCK = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, pid
#: What says that the kernel or the file system has no such locks; QEMU goes on without them, too.
_NO_LOCKS = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def lock(fd: int, path: Path, *, writable: bool) -> None:
    """Lock out other writers, and readers too if we write, until ``fd`` is closed.

    Raises:
        InputError: another process has the file, or it cannot be locked.
    """
    in_use = InputError(
        f"file:{path}: another process {'uses' if writable else 'writes to'} it; "
        "wait for it to end, or use a copy of the file"
    )
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        is_free = _lock_as_qemu(fd, writable=writable)
    except BlockingIOError as error:
        raise in_use from error
    except OSError as error:
        raise InputError(
            f"file:{path}: cannot be locked ({error.strerror}); "
            "move it to a file system that supports locks"
        ) from error
    if not is_free:
        raise in_use


def _lock_as_qemu(fd: int, *, writable: bool) -> bool:
    """Take the locks of QEMU's tools; return whether none conflict."""
    does = (_READ, _WRITE) if writable else (_READ,)
    bears_not = (_READ, _WRITE, _RESIZE) if writable else (_WRITE, _RESIZE)
    own = [_DOES + bit for bit in does] + [_BEARS_NOT + bit for bit in bears_not]
    others = [_BEARS_NOT + bit for bit in does] + [_DOES + bit for bit in bears_not]
    try:
        for byte in own:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_RDLCK, byte))
        return all(_is_free(fd, byte) for byte in others)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return True
        raise


def _is_free(fd: int, byte: int) -> bool:
    """Return whether no other process has locked that byte."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, byte))
    kind: int = _FLOCK.unpack(answer)[0]
    return kind == fcntl.F_UNLCK


def _flock(kind: int, byte: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
