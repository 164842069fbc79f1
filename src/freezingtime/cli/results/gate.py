# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime gate`: a job or a replay as it is now beside a baseline, for CI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.options import (
    AllowCodeOption,
    JobOption,
    QuietOption,
    ScriptOption,
    command_app,
)
from freezingtime.cli.results.compare import FailIfOption, FormatOption
from freezingtime.errors import InputError
from freezingtime.explore.gate.names import PHASES_MAX
from freezingtime.explore.sweep.names import NOT_VARIED
from freezingtime.option import Argument, Option, Values, list_options
from freezingtime.runs.options import RunOptions
from freezingtime.simulate.options import ReplayOptions

_MACHINE = Only(tuple(name for name in list_options(RunOptions) if name not in NOT_VARIED))
# Formats are those of the comparison here.
_TRACE = Only(tuple(name for name in list_options(ReplayOptions) if name != "format"))


@takes_options(
    then={
        "script": "disks",
        "job": "script",
        "workload": "job",
        "trace": "workload",
        "trace_format": "trace",
    }
)
def gate_command(
    command: Annotated[Sequence[str], Argument("-- COMMAND", "The job, as `run` takes it.")] = (),
    script: ScriptOption = None,
    job: JobOption = None,
    *,
    baseline: Annotated[
        Path | None,
        Option(
            "PATH",
            "What to compare with: a run directory (of `gate --update`, or `run --out`), the "
            "record of a replay, or an archive FILE.tar (of `gate --update`, or `store export`).",
            values=Values.RUN,
        ),
    ] = None,
    baseline_commit: Annotated[
        str | None,
        Option(
            "REF",
            "Compare with the same command at this commit of the repository that the job lives in: "
            "with what `--update` has noted there, else with job, devices and media as git has "
            "them, which are run if the store has not their result.",
        ),
    ] = None,
    fail_if: FailIfOption = (),
    phases: Annotated[
        int,
        Option(
            "NUMBER",
            "Run so many replicas of each side that differ in what nobody means to gate (start of "
            "the job, seed, its programs' address space), and fail only by a change beyond "
            "their spread. 10 or more; 1: exactly the job.",
            minimum=1,
            maximum=PHASES_MAX,
        ),
    ] = 1,
    output: FormatOption = (),
    workload: Annotated[
        str | None, Option("LINE", "Instead of a job: a workload, as `replay` takes it.")
    ] = None,
    trace: Annotated[Path | None, Option("FILE", "Instead of a job: replay a trace.")] = None,
    options: Annotated[RunOptions, _MACHINE],
    replays: Annotated[ReplayOptions, _TRACE],
    trace_format: Annotated[
        str | None,
        Option("FORMAT", "The trace's format. Default: detected.", values=Values.TRACE_FORMAT),
    ] = None,
    update: Annotated[
        bool, Option("", "Make the job as it is now the baseline, instead of comparing.")
    ] = False,
    store: Annotated[
        Path | None, Option("DIR", "The store of results. Default: in the cache.")
    ] = None,
    refresh: Annotated[bool, Option("", "Run the job also if the store has its result.")] = False,
    quiet: QuietOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Compare a job or a replay as it is now with a baseline, and fail if it got worse.

    Takes one or more conditions (`--fail-if`), unless it is to `--update` the baseline. What the
    store has is not run again. The exit status is 1 if a condition is
    met, or one of the runs cannot be judged by; 3: they are not comparable, since packages,
    kernel, QEMU or agent differ; `--update` makes a new baseline.

    Example: `freezingtime gate --baseline-commit origin/main --disk aws-gp3,mount=/data
    --fail-if "guest_time > +1%" --script test.sh`
    """
    from freezingtime.cli.results.gate_run import GateSubject, run_gate
    from freezingtime.explore.gate.gate import GateSettings
    from freezingtime.results.condition import parse_condition
    from freezingtime.results.exports.formats import parse_outputs
    from freezingtime.store.results.result_store import ResultStore, default_store

    conditions = [parse_condition(text) for text in fail_if]
    outputs = parse_outputs(output)
    where = baseline_commit if baseline is None else baseline
    if where is None or None not in (baseline, baseline_commit):
        raise InputError("give either --baseline PATH or --baseline-commit REF")
    replays = replace(replays, format=trace_format)
    settings = GateSettings(
        store=default_store() if store is None else ResultStore(store),
        phases=phases,
        conditions=conditions,
        refresh=refresh,
    )
    return run_gate(
        GateSubject(command, script, job, workload, trace, options, replays),
        settings,
        where,
        outputs,
        update=update,
        quiet=quiet,
    )


# What follows COMMAND is COMMAND's own, as with sudo or env.
app = command_app(gate_command, allow_interspersed_args=False)
