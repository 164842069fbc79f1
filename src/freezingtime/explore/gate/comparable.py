# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether two executions can be compared at all: what runs the job must be the same."""

from __future__ import annotations

from collections.abc import Iterator

from freezingtime.results.plan_difference import plan_differences
from freezingtime.results.recorded_run import RecordedRun

#: Keys of ``run.json``: what runs the job, of which a difference is no change of the job.
_SOFTWARE = (
    *("versions.kernel", "versions.image", "versions.packages."),
    *("versions.qemu", "versions.qemu_sha256", "versions.agent"),
)


def incomparable_reasons(baseline: RecordedRun, candidate: RecordedRun) -> Iterator[str]:
    """Return why the figures of two say nothing of each other, one line for each difference."""
    kinds = [_kind(run) for run in (baseline, candidate)]
    if kinds[0] != kinds[1]:
        yield f"the baseline is {kinds[0]}, and the candidate {kinds[1]}"
        return
    if not (baseline.is_repeatable and candidate.is_repeatable):
        yield "one of them was run under --clock kvm, where no two runs are alike"
    for each in plan_differences(baseline, candidate):
        if each.key.startswith(_SOFTWARE):
            yield f"{each.key} is {each.a} in the baseline, and {each.b} now"


def _kind(run: RecordedRun) -> str:
    return "the record of a replay" if run.document is None else "a run"
