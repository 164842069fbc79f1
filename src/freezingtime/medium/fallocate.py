# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's fallocate(2), which Python's ``os`` lacks: punch holes and zero ranges.

Both functions return False where the file system or the alignment rules the call out, so
that the caller can write zeros instead, and raise OSError for real failures.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

# From <linux/falloc.h>.
_FALLOC_FL_KEEP_SIZE = 0x01
_FALLOC_FL_PUNCH_HOLE = 0x02
_FALLOC_FL_ZERO_RANGE = 0x10

# A block device with large sectors answers EINVAL to a range of small ones.
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL})


@cache
def _libc() -> ctypes.CDLL:
    """The C library; not looked at before it is used, as others than Linux's have no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    libc.fallocate.restype = ctypes.c_int
    return libc


def punch_hole(fd: int, offset_bytes: int, length_bytes: int) -> bool:
    """Make the range read as zeros and give its space back; False where that cannot be done."""
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    return _fallocate(fd, mode, offset_bytes, length_bytes)


def zero_range(fd: int, offset_bytes: int, length_bytes: int) -> bool:
    """Make the range read as zeros and keep its space; False where that cannot be done."""
    mode = _FALLOC_FL_ZERO_RANGE | _FALLOC_FL_KEEP_SIZE
    return _fallocate(fd, mode, offset_bytes, length_bytes)


def _fallocate(fd: int, mode: int, offset_bytes: int, length_bytes: int) -> bool:
    while _libc().fallocate(fd, mode, offset_bytes, length_bytes) != 0:
        error = ctypes.get_errno()
        if error in _UNSUPPORTED:
            return False
        if error != errno.EINTR:
            raise OSError(error, os.strerror(error))
    return True
