"""The cache directory: where it is, who may change it now, and how changes appear at once.

What is cached can be rebuilt. Whoever changes the cache holds its lock; whoever reads it
needs none, since a directory is built under a temporary name and renamed into place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import platformdirs

from freezingtime.errors import InputError, RunError

_UNFINISHED_PREFIX = ".unfinished-"
_LOCK_POLL_S = 0.05


def cache_directory() -> Path:
    """The cache's root, created if need be: ``$XDG_CACHE_HOME/freezingtime``.

    Raises InputError when it cannot be created or written to.
    """
    root = platformdirs.user_cache_path("freezingtime")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(root, error.strerror or str(error)) from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise _not_writable(root, "permission denied")
    return root


def _not_writable(root: Path, reason: str) -> InputError:
    return InputError(
        f"cannot write to the cache directory {root} ({reason}): "
        "set XDG_CACHE_HOME to a directory that you may write to"
    )


@contextmanager
def exclusive_lock(path: Path, timeout_s: float = 600.0) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes; it ends with this process at latest.

    Raises RunError when another process still holds it after ``timeout_s`` of host time,
    InputError when the lock file may not be written to.
    """
    try:
        # Appending, since opening for writing would wipe out the holder's process id.
        opened = path.open("a+", encoding="ascii")
    except OSError as error:
        raise _not_writable(path.parent, str(error)) from error
    with opened as lock_file:
        _acquire(lock_file, path, timeout_s)
        lock_file.truncate(0)
        lock_file.write(str(os.getpid()))
        lock_file.flush()
        yield


def _acquire(lock_file: TextIO, path: Path, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise _lock_timeout(lock_file, path, timeout_s) from None
        time.sleep(_LOCK_POLL_S)


def _lock_timeout(lock_file: TextIO, path: Path, timeout_s: float) -> RunError:
    lock_file.seek(0)
    holder = lock_file.read().strip() or "unknown"
    return RunError(
        f"{path} has been locked by another process (id {holder}) for more than "
        f"{timeout_s:g} s: wait until it is done, or end it, and try again"
    )


@contextmanager
def unfinished_directory(parent: Path) -> Iterator[Path]:
    """A new directory in ``parent`` to build in; what :func:`publish` did not take is removed.

    The caller holds the cache's lock: what earlier, killed builders left is removed too.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in parent.glob(f"{_UNFINISHED_PREFIX}*"):
        shutil.rmtree(leftover)
    building = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=parent))
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def publish(built: Path, final: Path) -> None:
    """Make the directory ``built`` appear as ``final``, whole and at once.

    Both are in one file system. A ``final`` that exists is replaced.
    """
    if final.exists():
        withdraw(final)
    # mkdtemp makes private directories; what is published follows the user's umask.
    umask = os.umask(0)
    os.umask(umask)
    built.chmod(0o777 & ~umask)
    built.rename(final)


def withdraw(directory: Path) -> None:
    """Remove a published ``directory`` so that nobody sees it half removed."""
    doomed = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=directory.parent))
    directory.rename(doomed / directory.name)
    shutil.rmtree(doomed)
