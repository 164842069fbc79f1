# SPDX-License-Identifier: GPL-2.0-or-later
"""A gate of one test: its baseline, and the failure that says what has changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from freezingtime.api.result import warn, warn_of
from freezingtime.api.runs import Job, job_of
from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError, did_you_mean
from freezingtime.explore.gate.gate import Gate, GateSettings
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.sweep import SweepObserver
from freezingtime.results.condition import parse_condition
from freezingtime.results.exports.json_document import to_json
from freezingtime.results.judged import (
    JudgedComparison,
    changed_metrics,
    difference_row,
    differing_rows,
    failure_text,
    verdict,
)
from freezingtime.runs.options import RunOptions
from freezingtime.simulate.options import ReplayOptions
from freezingtime.store.results.result_store import ResultStore, default_store
from freezingtime.trace.readers import Reading

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_ROWS_MAX = 20

#: What a gate takes beside the options of a run or replay.
_OWN = ("disks", "fail_if", "phases", "name", "workload", "trace", "seed")


class GateOfTest:
    """The fixture ``freezingtime_gate``: a function, called once or, with names, several times."""

    def __init__(
        self,
        test: str,
        baseline: Path,
        store: Path | None,
        *,
        updates: bool,
        noted: Callable[[dict[str, Any]], None],
    ) -> None:
        self._test = test
        self._baseline = baseline
        self._store = default_store() if store is None else ResultStore(store)
        self._updates = updates
        self._noted = noted
        self._names: set[str] = set()

    def __call__(
        self,
        job: Job | None = None,
        *,
        disks: Sequence[Disk | str] = (),
        fail_if: str | Sequence[str] = (),
        phases: int = 1,
        name: str = "",
        workload: str | None = None,
        trace: str | Path | None = None,
        **options: Any,
    ) -> None:
        """Run a job as :func:`freezingtime.run` takes it, or replay, and compare with the baseline.

        ``options`` are those of :func:`freezingtime.run`, or :func:`freezingtime.replay`. ``name``
        tells several gates of one test apart.

        The test fails, with the comparison as its message, if a condition is met, there is no
        baseline, or the two cannot be compared.

        Raises:
            InputError: something is not right.
            RunError: the run failed, or its figures are not valid.
        """
        if name in self._names:
            raise InputError(f"freezingtime_gate: {name!r} was gated in this test; give it a name=")
        self._names.add(name)
        request = _request(job, disks, workload, None if trace is None else Path(trace), options)
        texts = [fail_if] if isinstance(fail_if, str) else fail_if
        settings = GateSettings(
            store=self._store,
            phases=phases,
            conditions=[parse_condition(text) for text in texts],
        )
        gate = Gate(lambda _: request, None, settings, _Quiet(), lambda *_: None, warn)
        label = "::".join(filter(None, [self._test, name]))
        place = self._baseline / _NOT_IN_NAMES.sub("-", label).strip("-")
        if self._updates:
            gate.update(place)
            self._noted({"name": label, "verdict": "updated", "shown": []})
            return
        if not place.exists():
            pytest.fail(
                f"there is no baseline {place}; make it with --freezingtime-update", pytrace=False
            )
        judged, _ = gate.judge(place)
        self._noted(_noted(label, judged))
        if not judged.has_passed:
            pytest.fail(_message(judged), pytrace=False)


class _Quiet(SweepObserver):
    """Says only what the user should see."""

    def notify(self, notice: str) -> None:
        warn(notice)

    def on_reading(self, reading: Reading) -> None:
        warn_of(reading)


def _request(
    job: Job | None,
    disks: Sequence[Disk | str],
    workload: str | None,
    trace: Path | None,
    options: dict[str, Any],
) -> SweepRequest:
    if (job is None) == (workload is None and trace is None):
        raise InputError("freezingtime_gate: give either a job, or a workload or a trace")
    if job is not None:
        _require_known(options, RunOptions)
        script, directory = job_of(job)
        return RunRequest(RunOptions(disks=tuple(disks), **options), script, directory)
    seed = options.pop("seed", 0)
    _require_known(options, ReplayOptions)
    return ReplayRequest(disks, workload, trace, ReplayOptions(**options), seed)


def _require_known(options: dict[str, Any], declared: type[RunOptions | ReplayOptions]) -> None:
    known = [each.name for each in fields(declared) if each.name not in ("out", "save")]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, [*known, *_OWN])
            raise InputError(
                f"freezingtime_gate: {name}: is no option here; {hint}available: {', '.join(known)}"
            )


def _noted(label: str, judged: JudgedComparison) -> dict[str, Any]:
    spreads = {str(spread.key): spread.row()[:4] for spread in judged.spreads}
    shown = spreads or {
        str(found.key): difference_row(found)
        for condition in judged.conditions
        for found in condition.figures(judged.comparison)
        if not judged.refusals
    }
    verdicts = {True: "passed", False: "FAILED"}
    return {
        "name": label,
        "verdict": verdicts[judged.has_passed],
        "shown": list(shown.values()),
        "comparison": json.loads(to_json([judged])),
    }


def _message(judged: JudgedComparison) -> str:
    """The comparison, for a person: first why it fails."""
    comparison = judged.comparison
    lines = [f"FAILED {failure_text(failure)}" for failure in judged.failures]
    lines += [f"UNFIT {reason}" for reason in judged.unfit[:_ROWS_MAX]]
    lines += [f"{comparison.a.path} -> {comparison.b.path}: {verdict(comparison)}"]
    lines += [
        f"first differing requests: {disk} {number}: {what} {a} -> {b}"
        for request in comparison.first_differing
        for disk, number, what, a, b in differing_rows(request)
    ]
    changed = [difference_row(found) for found in changed_metrics(comparison)]
    lines += [f"{name}: {a} -> {b}, {change}" for name, a, b, change in changed[:_ROWS_MAX]]
    lines += [f"{each.key}: {each.a} -> {each.b}" for each in comparison.plan[:_ROWS_MAX]]
    return "\n".join(lines)
