# SPDX-License-Identifier: GPL-2.0-or-later
"""Failures of an exploration: the smallest loss that still fails, its files, its replay."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from freezingtime.errors import InputError, RunError
from freezingtime.explore.crash.cut_recoveries import CutRecoveries
from freezingtime.explore.crash.explore import Exploration, FailedState
from freezingtime.explore.crash.lost.lost_writes import (
    lost_writes,
    named,
    places_by_write,
)
from freezingtime.explore.crash.recovery.candidate import Candidate, ignore_read
from freezingtime.explore.crash.recovery.disk_file import write_disk
from freezingtime.explore.crash.recovery.outcome import RecoveryOutcome
from freezingtime.explore.crash.states import Fate
from freezingtime.trace.explored.crash_files import CrashFailure, CutPoint, FirstCut, LostWrite

#: So many failures, of reasons that differ, are minimised and get their disks as files.
REPORTED_MOST = 10
#: And so many recoveries may be run for each of them.
_TRIALS_MOST = 100


def report_failures(
    exploration: Exploration, cut: CutRecoveries | None = None
) -> list[CrashFailure]:
    """Minimise failures, one of each reason, and write their files.

    Of a reason it is the state that lost least, so that little is left to minimise.

    Raises:
        RunError: a recovery could not be run, or a file not be written.
    """
    by_reason: dict[str, tuple[Exploration, FailedState]] = {}
    for owner in [exploration] if cut is None else cut.owners():
        for failed in owner.failures:
            reason = failed.outcome.reason
            known = by_reason.get(reason)
            if known is None or _lost_count(failed) < _lost_count(known[1]):
                by_reason[reason] = owner, failed
    shown = itertools.islice(by_reason.values(), REPORTED_MOST)
    return [
        _report(exploration, owner, number, _minimised(owner, failed))
        for number, (owner, failed) in enumerate(shown, 1)
    ]


def replay(
    exploration: Exploration, cut: CutRecoveries, number: int
) -> tuple[Candidate, RecoveryOutcome]:
    """Recover from the state of a failure again, whatever is known of it.

    Raises:
        InputError: there is no such failure.
        RunError: it is not the same state any more, or the recovery could not be run.
    """
    document = exploration.directory.read_failure(number)
    try:
        first = document["recovery_of"]
        acked = str(document["acked"]).encode(errors="surrogateescape")
        with contextlib.ExitStack() as cleanup:
            owner = exploration
            if first is not None:
                owner = cut.open(_same_state(exploration, first, acked, number), cleanup)
                cut.keep(cleanup.pop_all())
            candidate = _same_state(owner, document, acked, number)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{exploration.directory.failure_path(number)}: is damaged; explore again"
        ) from error
    outcome, _ = exploration.recoveries.run(candidate, afresh=True)
    return candidate, outcome


def _same_state(
    exploration: Exploration, document: Mapping[str, Any], acked: bytes, number: int
) -> Candidate:
    """The state that a document describes, derived again."""
    point = CutPoint(**document["point"])
    fates = bytes.fromhex(document["fates"])
    ((_, states),) = exploration.states_at([point])
    if len(fates) != len(states.pieces):
        raise RunError(f"failure {number} is not of the recorded job; explore again")
    state = states.state(fates)
    if f"{state.fingerprint:032x}" != document["fingerprint"]:
        raise RunError(f"the state of failure {number} is not what it was; explore again")
    return Candidate(exploration.ground, point, states, state, acked)


def write_images(exploration: Exploration, candidate: Candidate, number: int) -> tuple[str, ...]:
    """Write the disks of a state as sparse files; return their paths.

    Raises:
        RunError: they cannot be written.
    """
    paths = []
    for disk, name in enumerate(exploration.recoveries.names):
        path = exploration.directory.failure_path(number, name)
        medium = candidate.medium(disk, ignore_read)
        try:
            path.parent.mkdir(exist_ok=True)
            write_disk(medium, path)
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror}; free space, or name another --out"
            ) from error
        paths.append(str(path))
    return tuple(paths)


def _minimised(exploration: Exploration, failed: FailedState) -> FailedState:
    """Keep write after write, then piece after piece, as long as it still fails like that."""
    candidate, outcome = failed.candidate, failed.outcome
    pieces, trials = candidate.states.pieces, 0
    for group in [*places_by_write(pieces), *([place] for place in range(len(pieces)))]:
        fates = bytearray(candidate.state.fates)
        if all(fates[place] == Fate.NEW for place in group):
            continue
        for place in group:
            fates[place] = Fate.NEW
        trial = replace(candidate, state=candidate.states.state(bytes(fates)))
        if trials >= _TRIALS_MOST:
            break
        trials += 1
        found = exploration.find_outcome(trial)
        if found.reason == outcome.reason:
            candidate, outcome = trial, found
    return FailedState(candidate, outcome)


def _lost_count(failed: FailedState) -> int:
    fates = failed.candidate.state.fates
    return len(fates) - fates.count(Fate.NEW)


def _report(
    exploration: Exploration, owner: Exploration, number: int, failed: FailedState
) -> CrashFailure:
    candidate, outcome = failed.candidate, failed.outcome
    images = write_images(exploration, candidate, number)
    first = None
    if owner.parent is not None:
        parent = owner.parent
        first = FirstCut(
            parent.point,
            parent.point.time_ns - exploration.span.start_ns,
            _lost(exploration, parent),
            parent.state.fates.hex(),
            f"{parent.state.fingerprint:032x}",
        )
    failure = CrashFailure(
        number,
        candidate.point,
        candidate.point.time_ns - owner.span.start_ns,
        outcome.reason,
        outcome.output,
        outcome.console,
        _lost(exploration, candidate),
        len(candidate.states.pieces),
        images,
        first,
    )
    exploration.directory.write_failure(
        number,
        {
            **asdict(failure),
            "fates": candidate.state.fates.hex(),
            "fingerprint": f"{candidate.state.fingerprint:032x}",
            "acked": candidate.acked.decode(errors="surrogateescape"),
            "values": [fate.name.lower() for fate in sorted(set(exploration.request.fates))],
        },
    )
    return failure


def _lost(exploration: Exploration, candidate: Candidate) -> tuple[LostWrite, ...]:
    recoveries = exploration.recoveries
    return named(
        tuple(lost_writes(candidate, recoveries.names)),
        candidate,
        recoveries.names,
        recoveries.file_systems,
        exploration.request.options,
        exploration.directory.scratch_path,
    )
