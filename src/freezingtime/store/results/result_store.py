# SPDX-License-Identifier: GPL-2.0-or-later
"""Results by content: a directory for each key, whole from the moment it is there.

================================  ==================================================
``results/KE/KEY/key.json``       what was run, of which ``KEY`` is the SHA-256
``results/KE/KEY/result.json``    its figures, and digests of all that must not differ
``results/KE/KEY/run/``           the run directory, or the record of a replay
``results/KE/KEY/checksums.json`` checksums of all of that
================================  ==================================================

A result is built beside the others, written through to the disk, and renamed into its place. Many
processes and machines may use one store at once: the first to finish a result has its own kept,
and whoever else computes it must have got the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from freezingtime.errors import InputError, RunError
from freezingtime.host.json_document import parse_document, write_document
from freezingtime.store.cache import cache_directory
from freezingtime.store.checksums import CHECKSUMS, DamagedError, check_files, write_checksums
from freezingtime.store.results.key import ResultKey

_KEY, _RESULT, _RUN = "key.json", "result.json", "run"
_UNFINISHED_PREFIX = ".unfinished-"
_FORMAT = 1
_SHARD_DIGITS = 2
_EXISTS = (errno.ENOTEMPTY, errno.EEXIST)
#: What is left of another host's, or without a lock that could tell whether somebody builds it.
_ABANDONED_S = 2 * 86400

_log = logging.getLogger(__name__)


class StoredFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of ``result.json``."""

    format: int = _FORMAT
    figures: dict[str, int | float]
    """By their names in tables, in the order in which tables have them."""
    units: dict[str, str]
    failure: str | None = None
    """Why the figures are not to be trusted with a decision: the job's exit status, say."""
    identity: dict[str, str]
    """SHA-256 of what every execution must give, to the byte."""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result in the store."""

    directory: Path
    content: StoredFigures

    @property
    def key(self) -> str:
        """Return the digest of its key."""
        return self.directory.name

    @property
    def run_path(self) -> Path:
        """The run directory; of a replay, the directory with its record."""
        return self.run_path_in(self.directory)

    @staticmethod
    def run_path_in(directory: Path) -> Path:
        """The run directory in that of a result."""
        return directory / _RUN


class DifferingResultError(RunError):
    """Raised where another execution of the same gave something else than ``found``."""

    def __init__(self, text: str, found: StoredResult) -> None:
        super().__init__(text)
        self.found = found


@dataclass(frozen=True, slots=True)
class ResultStore:
    """A directory of results, made when the first one is stored."""

    root: Path

    @property
    def _results(self) -> Path:
        return self.root / "results"

    def place(self, digest: str) -> Path:
        """The directory of the result of a key."""
        return self._results / digest[:_SHARD_DIGITS] / digest

    def run_path(self, digest: str) -> Path | None:
        """The run directory of a key's result, if there is one; its content is not looked at."""
        path = StoredResult.run_path_in(self.place(digest))
        return path if path.is_dir() else None

    def refuse_if_no_directory(self) -> None:
        """Raise InputError if something else is there: each result would fail by itself."""
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"the store {self.root}: is not a directory; name another")

    def require_writable(self) -> None:
        """Raise InputError if nothing can be stored: each point would only tell when it is run."""
        with self.building():
            pass

    def find(self, digest: str) -> StoredResult | None:
        """The result of a key, if there is one that is sound as far as its figures go.

        Looked at without a lock, so that a store may be read-only.
        """
        directory = self.place(digest)
        try:
            content = (directory / _RESULT).read_bytes()
        except OSError:
            return None
        try:
            check_files(directory, [_RESULT])
            figures = parse_document(content, StoredFigures, _FORMAT)
        except (DamagedError, ValueError) as error:
            _log.warning("the result in %s is damaged (%s): it counts as none", directory, error)
            return None
        with contextlib.suppress(OSError):  # one that may only be read keeps no account of its use
            os.utime(directory / _RESULT)
        return StoredResult(directory, figures)

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A path for a run directory that :meth:`publish` takes; removed if it has not.

        Raises:
            InputError: the store cannot be written to.
        """
        try:
            self._results.mkdir(parents=True, exist_ok=True)
            directory, lock = _new_directory(self._results)
        except OSError as error:
            raise InputError(
                f"the store {self.root}: cannot be written to ({error.strerror or error}); "
                "name another with --store"
            ) from error
        try:
            yield directory / _RUN
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)

    def publish(
        self, built: Path, key: ResultKey, figures: StoredFigures, *, replace: bool = False
    ) -> StoredResult:
        """Store what was built, whole and at once. With ``replace``, in place of what is there.

        What is there and damaged is replaced in any case.

        Raises:
            DifferingResultError: another execution of the same has other figures.
            RunError: the store takes no more.
        """
        building, final = built.parent, self.place(key.digest)
        try:
            building.joinpath(_KEY).write_text(key.text)
            write_document(building / _RESULT, figures)
            write_checksums(building, _files_below(building))
            _sync(building)
            final.parent.mkdir(exist_ok=True)
            if replace or (final.is_dir() and damage(final) is not None):
                _withdraw(final)
            _move(building, final)
        except OSError as error:
            raise self._full(error) from error
        found = self.find(key.digest)
        if found is None:
            raise RunError(f"{final}: the result vanished while it was being stored")
        require_identical(figures, found)
        return found

    def take(self, building: Path, key: str, what: str) -> None:
        """Store a whole result that another store has written; ``what`` is it for messages.

        Raises:
            InputError: it is damaged, or of another key.
            RunError: the store takes no more.
        """
        problem = damage(building, key)
        if problem is not None:
            raise InputError(f"{what}: is damaged: {problem}; export it again")
        final = self.place(key)
        try:
            _sync(building)
            final.parent.mkdir(exist_ok=True)
            _withdraw(final)  # damaged, or it would have been found
            _move(building, final)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> RunError:
        return RunError(
            f"cannot store a result in {self.root} ({error.strerror or error}): free space, or "
            "name another directory with --store"
        )

    def entries(self) -> Iterator[StoredResult | Path]:
        """Each result; of one that cannot be read, its directory."""
        for directory in sorted(self._results.glob(f"{'?' * _SHARD_DIGITS}/*")):
            try:
                content = (directory / _RESULT).read_bytes()
                yield StoredResult(directory, parse_document(content, StoredFigures, _FORMAT))
            except (OSError, ValueError):
                yield directory

    def remove_leftovers(self) -> None:
        """Remove what processes have left that were killed while they built a result."""
        for leftover in self._results.glob(f"{_UNFINISHED_PREFIX}*"):
            with contextlib.suppress(OSError):
                if _is_abandoned(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)

    def remove(self, directory: Path) -> None:
        """Remove a result, at once for those who look for it. Raises OSError."""
        _withdraw(directory)


def default_store() -> ResultStore:
    """Return the store in the cache."""
    return ResultStore(cache_directory())


def damage(directory: Path, key: str | None = None) -> str | None:
    """Return the damage of a result, all of whose files are read; None: there is none.

    ``key``: the digest of its key; None: the directory's name.
    """
    try:
        check_files(directory, _files_below(directory))
        text = (directory / _KEY).read_bytes()
        parse_document((directory / _RESULT).read_bytes(), StoredFigures, _FORMAT)
    except DamagedError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{_RESULT}: {error}"
    if hashlib.sha256(text).hexdigest() != (directory.name if key is None else key):
        return f"{_KEY}: is of another result"
    return None


def require_identical(figures: StoredFigures, found: StoredResult) -> None:
    """Require that another execution gave what is stored.

    Raises:
        DifferingResultError: it did not; the text names what differs.
    """
    there = found.content.identity
    differing = [
        name
        for name in dict.fromkeys([*there, *figures.identity])
        if there.get(name) != figures.identity.get(name)
    ]
    if differing:
        raise DifferingResultError(
            f"{found.directory}: was run again, and differs in {', '.join(differing)}: something "
            "decides the figures that is not in the key, such as a file that a model of your own "
            "reads; or one of the two hosts is at fault",
            found,
        )


def stored_bytes(directory: Path) -> int:
    """The size of a result's files."""
    return sum((directory / name).stat().st_size for name in _files_below(directory))


def key_text(directory: Path) -> Mapping[str, object]:
    """Read ``key.json``: the plan of a result. Raises OSError, ValueError."""
    document: Mapping[str, object] = msgspec.json.decode((directory / _KEY).read_bytes())
    return document


def used_s(directory: Path) -> float:
    """Return the time of a result's last use, in seconds of the epoch. Raises OSError."""
    return (directory / _RESULT).stat().st_mtime


def _files_below(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != CHECKSUMS
    )


def _new_directory(parent: Path) -> tuple[Path, int]:
    """A new directory, and the lock that says that somebody is at work there."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED_PREFIX}{_host()}-", dir=parent))
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # on some file systems there is none
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if directory.exists():  # it may have been taken for a leftover before it was locked
            return directory, lock
        os.close(lock)


@cache
def _host() -> str:
    """The running kernel: on a file system that several share, a lock may be seen by one only."""
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def _is_abandoned(directory: Path) -> bool:
    if not directory.name.startswith(f"{_UNFINISHED_PREFIX}{_host()}-"):
        return time.time() - directory.stat().st_mtime > _ABANDONED_S
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - directory.stat().st_mtime > _ABANDONED_S
    finally:
        os.close(fd)


def _sync(directory: Path) -> None:
    """Have the host write a directory and all below it to its disk."""
    for place, _, names in os.walk(directory):
        for path in (*(Path(place, name) for name in names), Path(place)):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _move(building: Path, final: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    building.chmod(0o777 & ~umask)
    try:
        building.rename(final)
    except OSError as error:
        if error.errno not in _EXISTS:
            raise
        return  # another process was faster
    fd = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _withdraw(directory: Path) -> None:
    if not directory.exists():
        return
    doomed, lock = _new_directory(directory.parent.parent)
    try:
        with contextlib.suppress(FileNotFoundError):  # somebody else has removed it
            directory.rename(doomed / directory.name)
        shutil.rmtree(doomed, ignore_errors=True)
    finally:
        os.close(lock)
