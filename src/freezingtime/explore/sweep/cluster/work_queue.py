# SPDX-License-Identifier: GPL-2.0-or-later
"""The queue of a sweep, from which workers on any machine that shares its directory run it.

===========================  =====================================================================
``work/queue.json``           what is run, at which points, and by which keys results are stored
``work/leases/``             who is at work on what, see :mod:`~.lease`
``work/failures/KEY.json``   why a point has no figures; enqueued again, these are tried once more
``work/finished``            all points have been run, and are in the table
===========================  =====================================================================

Paths of the user's are from the directory in which the sweep was enqueued; that, and the store, are
written as they are seen from the sweep's directory, so that every host may mount it elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.cluster.request_document import parse_request, request_document
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.explore.sweep.sweep import Sweep
from freezingtime.explore.sweep.worker import PointOutcome, Status
from freezingtime.host.json_document import parse_document
from freezingtime.host.replaced_file import replaced
from freezingtime.store.results.code import code_identity
from freezingtime.store.results.key import ResultKey, canonical
from freezingtime.store.results.result_store import ResultStore

WORK_NAME = "work"
_QUEUE, _LEASES, _FAILURES, _FINISHED = "queue.json", "leases", "failures", "finished"
_FORMAT = 1
_PART_DIGITS = 16


class QueuedPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A point, and what its result is found by."""

    point: dict[str, str]
    key: str | None
    """None: it cannot be run."""
    reason: str | None = None
    """Why."""
    parts: dict[str, str] = {}
    """Digests of the parts of its key, so that a worker can say which one is another there."""


class _Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int = _FORMAT
    directory: str
    store: str
    code: dict[str, str]
    request: Any
    points: list[QueuedPoint]


class _Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int = _FORMAT
    reason: str


@dataclass(frozen=True, slots=True)
class SharedQueue:
    """Points that workers share."""

    path: Path
    """The directory of the sweep, absolute."""
    directory: Path
    """The working directory of all that it names."""
    store: ResultStore
    code: Mapping[str, str]
    request: SweepRequest
    points: list[QueuedPoint]

    @property
    def leases_path(self) -> Path:
        """Return the directory of the leases."""
        return self.path / WORK_NAME / _LEASES

    def outcome(self, queued: QueuedPoint) -> PointOutcome | None:
        """The outcome of a point, if it has been run, wherever that was.

        Raises:
            RunError: what is there cannot be read.
        """
        if queued.key is None:
            return PointOutcome.of_error(queued.reason or "cannot be run")
        found = self.store.find(queued.key)
        if found is not None:
            return PointOutcome.of(found.content, queued.key, is_cached=True)
        path = self._failure_path(queued.key)
        try:
            failure = parse_document(path.read_bytes(), _Failure, _FORMAT)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: {error}; remove it") from error
        return PointOutcome.of_error(failure.reason, queued.key)

    def is_done(self, key: str) -> bool:
        """Whether a point has been run, as far as the names of files tell."""
        return self.store.place(key).exists() or self._failure_path(key).exists()

    def note_failure(self, key: str, reason: str) -> None:
        """Write down why a point has no figures. Raises OSError."""
        _write_through(self._failure_path(key), _Failure(reason=reason))

    @property
    def is_finished(self) -> bool:
        """Whether all points have been run, and are in the table."""
        return (self.path / WORK_NAME / _FINISHED).exists()

    def note_finished(self) -> None:
        """Write down that the table has all points. Raises OSError."""
        (self.path / WORK_NAME / _FINISHED).touch()

    def _failure_path(self, key: str) -> Path:
        return self.path / WORK_NAME / _FAILURES / f"{key}.json"


def key_parts(key: ResultKey) -> dict[str, str]:
    """The digest of each part of a key's plan."""
    return {
        name: hashlib.sha256(canonical({name: part}).encode()).hexdigest()[:_PART_DIGITS]
        for name, part in key.plan.items()
    }


def write_queue(path: Path, sweep: Sweep, request: SweepRequest, store: ResultStore) -> SharedQueue:
    """Enqueue a sweep whose points have been looked for in the store.

    What failed before is tried once more. Workers of an earlier queue of the same go on.

    Raises:
        RunError: it cannot be written.
    """
    place = path.resolve()
    points = []
    for point, outcome in zip(sweep.points, sweep.outcomes, strict=True):
        if outcome.status is Status.ERROR:
            points.append(QueuedPoint(dict(point), None, outcome.reason))
            continue
        key = request.unit(point).key()
        points.append(QueuedPoint(dict(point), key.digest, parts=key_parts(key)))
    queue = _Queue(
        directory=os.path.relpath(Path.cwd(), place),
        store=os.path.relpath(store.root.resolve(), place),
        code=dict(code_identity()),
        request=request_document(request),
        points=points,
    )
    work = place / WORK_NAME
    try:
        shutil.rmtree(work / _FAILURES, ignore_errors=True)
        (work / _FINISHED).unlink(missing_ok=True)
        store.root.mkdir(parents=True, exist_ok=True)
        for name in (_LEASES, _FAILURES):
            (work / name).mkdir(parents=True, exist_ok=True)
        _write_through(work / _QUEUE, queue)
    except OSError as error:
        raise RunError(
            f"cannot write to {work}: {error.strerror or error}; free space, or name another --out"
        ) from error
    return _shared(place, queue, request)


def read_queue(path: Path) -> SharedQueue:
    """Read the queue in a sweep's directory.

    Raises:
        InputError: there is none, it is damaged, or of another version.
    """
    place = path.resolve()
    file = place / WORK_NAME / _QUEUE
    try:
        queue = parse_document(file.read_bytes(), _Queue, _FORMAT)
        return _shared(place, queue, parse_request(queue.request))
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: has no queue for workers; name the --out of 'freezingtime sweep --enqueue'"
        ) from error
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; name a readable directory") from error
    except ValueError as error:
        raise InputError(f"{file}: {error}; enqueue the sweep again") from error


def require_same_code(queue: SharedQueue) -> None:
    """Require that the code that decides figures is that of the queue.

    Raises:
        InputError: it is another; the text names what differs.
    """
    here = code_identity()
    for name in dict.fromkeys([*queue.code, *here]):
        there, own = queue.code.get(name), here.get(name)
        if there != own:
            raise InputError(
                f"{queue.path}: was enqueued with another {name} ({_cut(there)}, here "
                f"{_cut(own)}), which may give other figures; install the same on every machine"
            )


def _cut(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _shared(place: Path, queue: _Queue, request: SweepRequest) -> SharedQueue:
    return SharedQueue(
        path=place,
        directory=place / queue.directory,
        store=ResultStore(Path(os.path.normpath(place / queue.store))),
        code=queue.code,
        request=request,
        points=queue.points,
    )


def _write_through(path: Path, document: msgspec.Struct) -> None:
    """Write a document to the disk before it is there under its name. Raises OSError."""
    with replaced(path) as file:
        file.write(msgspec.json.encode(document) + b"\n")
        file.flush()
        os.fsync(file.fileno())
