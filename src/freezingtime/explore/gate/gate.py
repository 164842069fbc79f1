# SPDX-License-Identifier: GPL-2.0-or-later
"""A gate: a job or a replay as it is now beside a baseline, if the two can be compared at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.explore.gate.baseline import find_baseline, write_baseline
from freezingtime.explore.gate.by_commit import BaselineByCommit, MakeRequest
from freezingtime.explore.gate.candidate import Execution, execute_points
from freezingtime.explore.gate.commit import Commit
from freezingtime.explore.gate.comparable import incomparable_reasons
from freezingtime.explore.gate.phases import more_phases, phase_points
from freezingtime.explore.sweep.sweep import SweepObserver
from freezingtime.results.compare import compare, unfit_reasons
from freezingtime.results.condition import Condition
from freezingtime.results.judged import JudgedComparison, judge
from freezingtime.results.phases import judge_phases, require_enough_phases
from freezingtime.results.recorded_run import RecordedRun, open_recorded_run
from freezingtime.store.results.result_store import ResultStore


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Settings of a gate: how it judges, and where it keeps results."""

    store: ResultStore
    phases: int = 1
    conditions: Sequence[Condition] = ()
    refresh: bool = False
    """Whether the candidate is run also if the store has it."""


class Gate:
    """One job or replay, to be gated."""

    def __init__(
        self,
        make_request: MakeRequest,
        job: Path | None,
        settings: GateSettings,
        observer: SweepObserver,
        executed: Callable[[str, Sequence[Execution]], None],
        notify: Callable[[str], None],
    ) -> None:
        """``job`` is the file or directory that it is in; ``executed`` hears where runs come from.

        Raises:
            InputError: it cannot be run.
        """
        self._make_request = make_request
        self._job = job
        self._settings = settings
        self._observer = observer
        self._executed = executed
        self._notify = notify
        self._request = make_request(job)
        self._points = phase_points(self._request, settings.phases)

    def update(self, baseline: Path | Commit) -> None:
        """Make the job as it is now the baseline.

        Raises:
            InputError: it cannot be run, or something else is where the baseline is to be.
            RunError: it failed, or cannot be judged by.
        """
        if isinstance(baseline, Commit):
            baseline.require_checked_out()
        found = self._candidate()
        for each in self._open(found):
            if (reason := next(unfit_reasons(each), None)) is not None:
                raise RunError(f"{each.path}: {reason}; the baseline stays as it was")
        if isinstance(baseline, Commit):
            self._by_commit(baseline).note(found)
        else:
            write_baseline(found, self._settings.store, baseline)

    def judge(self, baseline: Path | Commit) -> tuple[JudgedComparison, bool]:
        """Compare the job as it is now with the baseline; and whether the two can be compared.

        Raises:
            InputError: there is no baseline; the job cannot be run; a condition is not right.
            RunError: one of the two failed, or its figures are not valid.
        """
        settings = self._settings
        with ExitStack() as cleanup:
            if isinstance(baseline, Commit):
                self._require_conditions()
                former = self._by_commit(baseline).find(self._points, self._observer, cleanup)
                self._executed(f"the baseline {baseline}", former)
                baselines = self._open(former)
            else:
                files = self._phases(baseline, find_baseline(baseline, cleanup))
                self._require_conditions()
                baselines = [open_recorded_run(path, self._notify) for path in files]
            candidates = self._open(self._candidate())
            reasons = dict.fromkeys(
                f"not comparable: {reason}"
                for a, b in zip(baselines, candidates, strict=True)
                for reason in incomparable_reasons(a, b)
            )
            if reasons:
                comparison = compare(baselines[0], candidates[0])
                refused = JudgedComparison(comparison, settings.conditions, [], [], list(reasons))
                return refused, False
            if settings.phases > 1:
                return judge_phases(baselines, candidates, settings.conditions), True
            [judged] = judge(baselines[0], candidates, settings.conditions)
            return judged, True

    def _candidate(self) -> list[Execution]:
        settings = self._settings
        found = execute_points(
            self._request, self._points, settings.store, self._observer, refresh=settings.refresh
        )
        self._executed("the candidate", found)
        return found

    def _open(self, executions: Sequence[Execution]) -> list[RecordedRun]:
        return [open_recorded_run(each.path, self._notify) for each in executions]

    def _by_commit(self, commit: Commit) -> BaselineByCommit:
        return BaselineByCommit(
            commit, self._job, self._make_request, self._settings.store, self._notify
        )

    def _phases(self, baseline: Path, files: Sequence[Path]) -> Sequence[Path]:
        """Those of the phases that are compared: as many as are wanted, if there are so many."""
        wanted = self._settings.phases
        if len(files) < wanted:
            raise InputError(
                f"--baseline {baseline}: has {len(files)} of {wanted} phases; make it again with "
                f"--phases {wanted} --update"
            )
        if len(files) > wanted:
            self._notify(more_phases(f"--baseline {baseline}", len(files), wanted))
        return files[:wanted]

    def _require_conditions(self) -> None:
        if not self._settings.conditions:
            raise InputError("give at least one --fail-if, such as --fail-if 'guest_time > +1%'")
        if self._settings.phases > 1:
            require_enough_phases(self._settings.phases, self._settings.conditions)
