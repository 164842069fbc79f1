# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a sweep, from which workers on any machine that shares its directory run it.

===========================  =====================================================================
``work/plan.json``           what is run, at which points, and by which keys results are stored
``work/leases/``             who is at work on what, see :mod:`~.lease`
``work/failures/KEY.json``   why a point has no figures; the plan made anew tries these once more
``work/finished``            all points have been run, and are in the table
===========================  =====================================================================

Paths of the user's are from the directory in which the sweep was planned; that, and the store, are
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
_PLAN, _LEASES, _FAILURES, _FINISHED = "plan.json", "leases", "failures", "finished"
_FORMAT = 1
_PART_DIGITS = 16


class PlannedPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A point, and what its result is found by."""

    point: dict[str, str]
    key: str | None
    """None: it cannot be run."""
    reason: str | None = None
    """Why."""
    parts: dict[str, str] = {}
    """Digests of the parts of its key, so that a worker can say which one is another there."""


class _Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int = _FORMAT
    directory: str
    store: str
    code: dict[str, str]
    request: Any
    points: list[PlannedPoint]


class _Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int = _FORMAT
    reason: str


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """A plan that workers share."""

    path: Path
    """The directory of the sweep, absolute."""
    directory: Path
    """The working directory of all that it names."""
    store: ResultStore
    code: Mapping[str, str]
    request: SweepRequest
    points: list[PlannedPoint]

    @property
    def leases_path(self) -> Path:
        """Return the directory of the leases."""
        return self.path / WORK_NAME / _LEASES

    def outcome(self, planned: PlannedPoint) -> PointOutcome | None:
        """The outcome of a point, if it has been run, wherever that was.

        Raises:
            RunError: what is there cannot be read.
        """
        if planned.key is None:
            return PointOutcome.of_error(planned.reason or "cannot be run")
        found = self.store.find(planned.key)
        if found is not None:
            return PointOutcome.of(found.content, planned.key, is_cached=True)
        path = self._failure_path(planned.key)
        try:
            failure = parse_document(path.read_bytes(), _Failure, _FORMAT)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: {error}; remove it") from error
        return PointOutcome.of_error(failure.reason, planned.key)

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


def write_plan(path: Path, sweep: Sweep, request: SweepRequest, store: ResultStore) -> SharedPlan:
    """Write the plan of a sweep whose points have been looked for in the store.

    What failed before is tried once more. Workers of an earlier plan of the same go on.

    Raises:
        RunError: it cannot be written.
    """
    place = path.resolve()
    points = []
    for point, outcome in zip(sweep.points, sweep.outcomes, strict=True):
        if outcome.status is Status.ERROR:
            points.append(PlannedPoint(dict(point), None, outcome.reason))
            continue
        key = request.unit(point).key()
        points.append(PlannedPoint(dict(point), key.digest, parts=key_parts(key)))
    plan = _Plan(
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
        _write_through(work / _PLAN, plan)
    except OSError as error:
        raise RunError(
            f"cannot write to {work}: {error.strerror or error}; free space, or name another --out"
        ) from error
    return _shared(place, plan, request)


def read_plan(path: Path) -> SharedPlan:
    """Read the plan in a sweep's directory.

    Raises:
        InputError: there is none, it is damaged, or of another version.
    """
    place = path.resolve()
    file = place / WORK_NAME / _PLAN
    try:
        plan = parse_document(file.read_bytes(), _Plan, _FORMAT)
        return _shared(place, plan, parse_request(plan.request))
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: has no plan for workers; name the --out of 'freezingtime sweep --plan-only'"
        ) from error
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; name a readable plan") from error
    except ValueError as error:
        raise InputError(f"{file}: {error}; plan the sweep again") from error


def require_same_code(plan: SharedPlan) -> None:
    """Require that the code that decides figures is that of the plan.

    Raises:
        InputError: it is another; the text names what differs.
    """
    here = code_identity()
    for name in dict.fromkeys([*plan.code, *here]):
        there, own = plan.code.get(name), here.get(name)
        if there != own:
            raise InputError(
                f"{plan.path}: was planned with another {name} ({_cut(there)}, here {_cut(own)}), "
                "which may give other figures; install the same on every machine"
            )


def _cut(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _shared(place: Path, plan: _Plan, request: SweepRequest) -> SharedPlan:
    return SharedPlan(
        path=place,
        directory=place / plan.directory,
        store=ResultStore(Path(os.path.normpath(place / plan.store))),
        code=plan.code,
        request=request,
        points=plan.points,
    )


def _write_through(path: Path, document: msgspec.Struct) -> None:
    """Write a document to the disk before it is there under its name. Raises OSError."""
    with replaced(path) as file:
        file.write(msgspec.json.encode(document) + b"\n")
        file.flush()
        os.fsync(file.fileno())
