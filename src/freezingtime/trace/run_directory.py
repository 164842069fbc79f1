# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a run's directory beside its record."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from freezingtime.errors import InputError
from freezingtime.host.document_fault import document_fault

Value = TypeVar("Value")

#: All that is needed to repeat the run, and what came of it.
DOCUMENT_NAME = "run.json"
#: What the job has printed.
STDOUT_NAME = "stdout.txt"
#: Statistics of the devices over guest time; absent if none has any.
STATISTICS_NAME = "statistics.parquet"
#: Where a run in progress takes changes of its devices' parameters.
TUNE_SOCKET_NAME = "tune.sock"
#: Where the files are that came back from the guest.
COLLECTED_DIRECTORY = "collected"
#: Changes whenever a reader of the version before would misread ``run.json``.
DOCUMENT_FORMAT = 1

# What file systems say that cannot lock directories, such as NFS.
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_PARTS = ("versions", "plan", "job", "audit", "totals")


def read_document(directory: Path) -> dict[str, Any] | None:
    """The content of a run's ``run.json``; None if there is none, as of a run that was killed.

    Raises:
        InputError: it is damaged, or of another version.
    """
    path = directory / DOCUMENT_NAME
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged: {document_fault(error)}; repeat the run") from error
    if not isinstance(document, dict) or not all(
        isinstance(document.get(part), dict) for part in _PARTS
    ):
        raise InputError(f"{path}: is damaged: it lacks one of {', '.join(_PARTS)}; repeat the run")
    if document.get("format") != DOCUMENT_FORMAT:
        raise InputError(
            f"{path}: has format {document.get('format')}; this freezingtime reads format "
            f"{DOCUMENT_FORMAT}; use the run's version, "
            f"{document['versions'].get('freezingtime')}"
        )
    return document


def document_value(
    directory: Path, document: Mapping[str, Any], part: str, key: str, kind: type[Value]
) -> Value:
    """A value of a ``run.json``.

    Raises:
        InputError: it is not there, or of another type.
    """
    value = document[part].get(key)
    if not isinstance(value, kind):
        file = directory / DOCUMENT_NAME
        raise InputError(f"{file}: is damaged: {part}.{key} is {value!r}; repeat the run")
    return value


@contextmanager
def locked_run_directory(directory: Path) -> Iterator[None]:
    """Keep other runs from writing into ``directory``, which is there, while the block lasts.

    The lock (flock) is on the directory itself: it leaves no file, and ends with the process. Where
    a file system has no such locks, there is no protection.

    Raises:
        InputError: another run writes there.
        OSError: the directory cannot be opened.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"--out {directory}: another run is still writing there; name another directory"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(fd)
