# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared locks on directories of the cache, so that none in use is removed.

A user holds a shared lock (flock) on one of the directory's files, its remover an
exclusive one. Both end with their process at latest.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def hold(path: Path, cleanup: contextlib.ExitStack) -> bool:
    """Lock the entry that ``path`` represents until ``cleanup``; False if it is being removed."""
    try:
        file = cleanup.enter_context(path.open("rb"))
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # It may have been removed, and made anew, since it was opened.
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError, BlockingIOError):
        return False


@contextlib.contextmanager
def while_unused(path: Path) -> Iterator[bool]:
    """Yield whether ``path`` is unused; if so, it stays unused within the block."""
    with contextlib.ExitStack() as opened:
        try:
            # For writing, as some file systems (NFS) want for an exclusive lock.
            file = opened.enter_context(path.open("r+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass  # nothing to lock, so nobody holds it
        except BlockingIOError:
            yield False
            return
        yield True
