# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache directory: where it is, who may change it now, and how changes appear at once.

The cache can be rebuilt. Writers hold its lock; readers
needs none, since a directory is built under a temporary name and renamed into place. So
nothing but taking a lock needs a cache that can be written to.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from freezingtime.errors import InputError, RunError
from freezingtime.store.lock_holder import describe_holder

_log = logging.getLogger(__name__)

_UNFINISHED_PREFIX = ".unfinished-"
_LOCK_POLL_S = 0.05
_TELL_PERIOD_S = 1.0
#: Who has just been killed may still be at work on a directory for as long as this.
_REMOVE_DEADLINE_S = 10.0
_FULL = (errno.ENOSPC, errno.EDQUOT)

#: Called with the lock's holder: at first, and again about once a second.
Waiting = Callable[[str], None]


def cache_directory() -> Path:
    """The cache's root, ``$XDG_CACHE_HOME/freezingtime``, which may not be there yet.

    Raises InputError when it is there and may not be read, as after ``su`` or ``sudo -u``, which
    leave HOME as it was.
    """
    root = platformdirs.user_cache_path("freezingtime")
    try:
        os.scandir(root).close()
    except PermissionError as error:
        raise InputError(
            f"cannot read the cache directory {root} ({error.strerror}): "
            "set XDG_CACHE_HOME to a directory that you own"
        ) from error
    except OSError:
        pass  # it does not exist yet; creating it reports errors
    return root


def require_writable_cache() -> Path:
    """The cache's root, created if need be.

    Raises InputError when it cannot be created or written to.
    """
    root = cache_directory()
    _make(root)
    try:
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError as error:
        raise _not_writable(root, error.strerror or str(error)) from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(directory, error.strerror or str(error)) from error


def _not_writable(directory: Path, reason: str) -> InputError:
    return InputError(
        f"cannot write to the cache directory {directory} ({reason}): "
        "set XDG_CACHE_HOME to a writable directory"
    )


class _LogOnce:
    """Logs whom a lock waits for, once for each."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, text: str) -> None:
        if text != self._said:
            _log.warning("%s", text)
            self._said = text


@contextmanager
def exclusive_lock(path: Path, waiting: Waiting | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes; it ends with this process at latest.

    While another process holds it this one waits, for as long as that one lives: ``waiting`` is
    told for whom, and may raise to give up. Without it, that is logged.

    Raises InputError when the lock file may not be written to.
    """
    _make(path.parent)
    try:
        # Not truncated, since that would wipe out the holder's process id.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _not_writable(path.parent, error.strerror or str(error)) from error
    try:
        _acquire(fd, path, waiting or _LogOnce())
        with suppress(OSError):  # a note for those who wait, for which the disk may be too full
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def _acquire(fd: int, path: Path, waiting: Waiting) -> None:
    told_s = -_TELL_PERIOD_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now_s = time.monotonic()
            if now_s - told_s >= _TELL_PERIOD_S:
                told_s = now_s
                waiting(f"waiting for {describe_holder(fd)}, which holds {path}")
        time.sleep(_LOCK_POLL_S)


@contextmanager
def unfinished_directory(parent: Path) -> Iterator[Path]:
    """A new directory in ``parent`` to build in; what :func:`publish` did not take is removed.

    The caller holds the cache's lock: what earlier, killed builders left is removed too.

    Raises RunError when the disk that it is on becomes full.
    """
    with _full_disk_named(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in unfinished_in(parent):
            _remove_leftover(leftover)
        building = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=parent))
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)


def unfinished_in(parent: Path) -> Iterable[Path]:
    """Return the directories that killed builders have left in ``parent``."""
    return parent.glob(f"{_UNFINISHED_PREFIX}*")


def _remove_leftover(directory: Path) -> None:
    """Remove what a builder has left, who may have died this very moment."""
    deadline_s = time.monotonic() + _REMOVE_DEADLINE_S
    while True:
        try:
            shutil.rmtree(directory)
            return
        except FileNotFoundError:
            if not directory.exists():
                return
        except OSError as error:
            # Harmless but for its space: nobody else ever reads it.
            if error.errno != errno.ENOTEMPTY or time.monotonic() > deadline_s:
                _log.warning("cannot remove %s, left by a killed build: %s", directory, error)
                return
        time.sleep(_LOCK_POLL_S)


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Raise an OSError of the block as a RunError: "cannot WHAT", why, and what would do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot {what} ({error}): free space, or set XDG_CACHE_HOME to another directory"
        ) from error


@contextmanager
def _full_disk_named(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RunError(
            f"cannot write to the cache directory {directory} ({error.strerror}): "
            "free space, or set XDG_CACHE_HOME to a directory on a larger disk"
        ) from error


def publish(built: Path, final: Path) -> None:
    """Make the directory ``built`` appear as ``final``, whole and at once.

    Both are in one file system. A ``final`` that exists is replaced.
    """
    if final.exists():
        withdraw(final)
    # mkdtemp makes private directories; published ones follow the user's umask.
    umask = os.umask(0)
    os.umask(umask)
    built.chmod(0o777 & ~umask)
    built.rename(final)


def withdraw(directory: Path) -> None:
    """Remove a published ``directory`` atomically for its users."""
    doomed = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=directory.parent))
    directory.rename(doomed / directory.name)
    shutil.rmtree(doomed)
