# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime gate`: a job as it is now beside a baseline, for CI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.guest.run import job_script
from freezingtime.cli.options import (
    AllowCodeOption,
    JobOption,
    QuietOption,
    ScriptOption,
    command_app,
)
from freezingtime.cli.results.compare import EXIT_FAILED_IF, FailIfOption, FormatOption, present
from freezingtime.errors import InputError
from freezingtime.explore.sweep.names import NOT_VARIED
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument, Option, Values, list_options
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command

EXIT_NOT_COMPARABLE = 3

_DIFFERENCES_SHOWN = 10
_MACHINE = Only(tuple(name for name in list_options(RunOptions) if name not in NOT_VARIED))


@takes_options(then={"script": "disks", "job": "script"})
def gate_command(
    command: Annotated[Sequence[str], Argument("-- COMMAND", "The job, as `run` takes it.")] = (),
    script: ScriptOption = None,
    job: JobOption = None,
    *,
    baseline: Annotated[
        Path,
        Option(
            "DIR",
            "Run directory to compare with: of `gate --update`, or `run --out`.",
            values=Values.RUN,
        ),
    ],
    fail_if: FailIfOption = (),
    output: FormatOption = (),
    options: Annotated[RunOptions, _MACHINE],
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
    """Compare a job as it is now with a baseline, and fail if it got worse.

    Takes one or more conditions (`--fail-if`), unless it is to `--update` the baseline. A job whose
    result is in the store is not run again. The exit status is 1 if a condition is
    met, or one of the two runs cannot be judged by; 3: they are not comparable, since packages,
    kernel, QEMU or agent differ; `--update` makes a new baseline.

    Example: `freezingtime gate --baseline baseline --disk aws-gp3,mount=/data
    --fail-if "guest_time > +1%" -- /data/test.sh`
    """
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.cli.results.sweep_display import Display
    from freezingtime.explore.gate import (
        require_run_directory,
        run_candidate,
        software_differences,
        write_baseline,
    )
    from freezingtime.explore.sweep.run_request import RunRequest
    from freezingtime.results.compare import unfit_reasons
    from freezingtime.results.condition import parse_condition
    from freezingtime.results.exports.formats import parse_outputs
    from freezingtime.results.judged import judge
    from freezingtime.results.recorded_run import open_recorded_run
    from freezingtime.store.results.result_store import ResultStore, default_store

    conditions = [parse_condition(text) for text in fail_if]
    outputs = parse_outputs(output)
    chosen = job_script(command, script, job)
    if chosen == Command():
        raise InputError("give a COMMAND behind '--', --script FILE or --job DIR")
    if not update:
        require_run_directory(baseline)
        if not conditions:
            raise InputError("give at least one --fail-if, such as --fail-if 'guest_time > +1%'")
    request = RunRequest(options, chosen, job)
    results = default_store() if store is None else ResultStore(store)
    with ReplayProgress(quiet=quiet) as progress:
        path, was_known = run_candidate(request, results, Display(progress), refresh=refresh)
    if not quiet:
        say(f"the candidate was {'found in the store' if was_known else 'run'}: {path}")
    candidate = open_recorded_run(path, say)
    if update:
        write_baseline(path, baseline, list(unfit_reasons(candidate)))
        say(f"{baseline} is the baseline now")
        return 0
    [judged] = judge(open_recorded_run(baseline, say), [candidate], conditions)
    differences = software_differences(judged.comparison)
    for each in differences[:_DIFFERENCES_SHOWN]:
        say(f"not comparable: {each.key} is {each.a} in the baseline, and {each.b} now")
    if (left_out := len(differences) - _DIFFERENCES_SHOWN) > 0:
        say(f"not comparable: {left_out} more differences")
    present([judged], outputs)
    if differences:
        return EXIT_NOT_COMPARABLE
    return 0 if judged.has_passed else EXIT_FAILED_IF


# What follows COMMAND is COMMAND's own, as with sudo or env.
app = command_app(gate_command, allow_interspersed_args=False)
