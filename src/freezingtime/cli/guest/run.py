# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime run`: one job in a guest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.options import (
    AllowCodeOption,
    JobOption,
    ScriptOption,
    command_app,
    store_of_single_run,
)
from freezingtime.cli.output.json_stream import print_document
from freezingtime.errors import InputError, RunError
from freezingtime.option import Argument, Option
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command, file_script

if TYPE_CHECKING:
    from freezingtime.cli.guest.progress import RunProgress
    from freezingtime.cli.guest.stored_run import StoredRun

EXIT_INVALID = 3


@takes_options(
    then={
        **{"script": "disks", "job": "script"},
        **{"as_json": "out", "allow_late": "as_json", "quiet": "boot", "verbose": "quiet"},
    }
)
def run_command(
    command: Annotated[
        Sequence[str],
        Argument(
            "-- COMMAND",
            "Command to run in the guest, with its arguments; a single argument with "
            "spaces is a shell command line. In a container image: the arguments of its "
            "entrypoint. Default: the image's own.",
        ),
    ] = (),
    script: ScriptOption = None,
    job: JobOption = None,
    *,
    options: RunOptions,
    as_json: Annotated[
        bool,
        Option("", "Print one JSON document instead, with the job's output in it.", flag="--json"),
    ] = False,
    allow_late: Annotated[
        bool, Option("", "Exit with 0 even if the results are not valid (instead of 3).")
    ] = False,
    quiet: Annotated[
        bool, Option("", "Suppress progress and summary on stderr.", short="-q")
    ] = False,
    verbose: Annotated[
        bool,
        Option(
            "",
            "Also show how much of the time was frozen or warped; `freezingtime explain frozen` "
            "says what that is.",
            short="-v",
        ),
    ] = False,
    store: Annotated[
        Path | None,
        Option(
            "DIR",
            "Keep the result in this store of results, and show it again, instead of running the "
            "job, when nothing has changed that decides it. `cache`: the store in the cache, which "
            "`sweep` and `gate` use.",
        ),
    ] = None,
    refresh: Annotated[
        bool, Option("", "With `--store`: run the job also if the store has its result.")
    ] = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Run a command in a guest whose disks are the devices you name.

    The first disk is `/dev/vda`, the second `/dev/vdb`; by name they are
    `/dev/disk/by-id/virtio-NAME` (`scsi-NAME`, `ata-NAME` or `nvme-NAME` with another frontend).
    The job's output goes to stdout unchanged; progress and summary go to stderr.

    The exit status is the job's; 1: something failed; 2: bad input; 3: the job ended with 0, but
    its results are not valid; 4: the guest died or never became ready; 124: a time limit was
    reached.

    Example: `freezingtime run --disk constant:100us,delay=3ms -- fio --name=t
    --filename=/dev/vda --direct=1 --rw=randread --number_ios=1000 --size=1g`
    """
    from freezingtime.cli.guest.progress import RunProgress
    from freezingtime.cli.guest.summary import print_summary
    from freezingtime.runs.plan import make_plan
    from freezingtime.runs.run import run

    if quiet and verbose:
        raise InputError("--verbose: --quiet suppresses what it would add to; give one of them")
    chosen = job_script(command, script, job)
    plan = make_plan(options, script=chosen, job_directory=job)
    stored = _stored_run(options, chosen, job, store, refresh=refresh)
    with RunProgress(
        quiet=quiet,
        forward_output=not as_json,
        expected_ns=plan.expected_ns,
        verbose=verbose,
    ) as progress:
        try:
            if stored is None:
                result = run(plan, progress, is_tunable=True)
            elif (found := stored.find(progress)) is None:
                result = stored.run(progress, plan.out)
            else:
                return stored.show(found, progress, plan.out, as_json=as_json, quiet=quiet)
        except RunError as error:
            if as_json:
                # Why it failed, and what the job had printed by then.
                _print_document({"error": str(error)}, progress)
            raise
    if as_json:
        _print_document(result.as_dict(), progress)
    if not quiet:
        print_summary(result, verbose=verbose)
    if result.job.exit_status:
        return result.job.exit_status
    return 0 if result.valid or allow_late else EXIT_INVALID


def _stored_run(
    options: RunOptions,
    script: bytes | Command,
    job: Path | None,
    store: Path | None,
    *,
    refresh: bool,
) -> StoredRun | None:
    """The job by way of a store, if one is named."""
    chosen = store_of_single_run(store, refresh=refresh)
    if chosen is None:
        return None
    from freezingtime.cli.guest.stored_run import StoredRun
    from freezingtime.explore.sweep.run_unit import RunUnit

    return StoredRun(RunUnit(options, script, job), chosen, refresh)


def _print_document(document: Mapping[str, Any], progress: RunProgress) -> None:
    """With what the job has printed."""
    print_document(document, {"stdout": progress.stdout, "stderr": progress.stderr}, sys.stdout)


def job_script(command: Sequence[str], script: Path | None, job: Path | None) -> bytes | Command:
    """Return the job of a command line: its command, or the text of its script.

    Raises:
        InputError: several are given, or one cannot be read.
    """
    from freezingtime.vm.job import directory_script

    if bool(command) + (script is not None) + (job is not None) > 1:
        raise InputError("give one of: a COMMAND behind '--', --script FILE, --job DIR")
    if job is not None:
        return directory_script(job)
    if script is not None:
        return file_script(script)
    if len(command) == 1 and len(command[0].split()) > 1:
        return Command(line=command[0])
    return Command(tuple(command))


# What follows COMMAND is COMMAND's own, as with sudo or env.
app = command_app(run_command, allow_interspersed_args=False)
